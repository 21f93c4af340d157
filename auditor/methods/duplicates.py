"""Near duplicates, within a set and across two: features AND pixels must agree. N samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from auditor.types import Array

SCALE_NEIGHBOUR = 10
"""The neighbour whose median distance is the yardstick of the features."""
CONTRAST = 0.1
"""Share of an image's own contrast that the difference may have: what is nearly blank is not all alike."""
BLOCK = 4096
Thumbnails = Callable[[Array], Array]
"""Positions (n,) -> (n,...) thumbnails."""


@dataclass(frozen=True)
class Pairs:
    """P pairs of images."""

    left: Array
    """(P,) int64; within one set each is below its `right`. Sorted by pixel difference, then left, then right."""
    right: Array
    """(P,) int64: across two sets, of the other one."""
    distance: Array
    """(P,) feature distance, in medians of the distance to the 10th neighbour."""
    difference: Array
    """(P,) mean absolute difference of the thumbnails, in 1/255."""


def yardstick(distances: Array) -> float:
    """The median distance to the 10th (or last) neighbour, from (N,k) rising, k >= 1."""
    return float(np.median(distances[:, min(SCALE_NEIGHBOUR, distances.shape[1]) - 1]))


def candidates(indices: Array, distances: Array, share: float) -> tuple[Array, Array, Array]:
    """(left, right, distance) of the pairs of the graph (N,k) at most `share` yardsticks apart, each once, left < right."""
    unit = yardstick(distances)
    rows, places = np.nonzero(distances <= share * unit)
    ends = np.stack([rows, indices[rows, places]])
    pairs, first = np.unique(np.sort(ends, axis=0), axis=1, return_index=True)
    apart = distances[rows, places][first].astype(np.float64)
    return pairs[0], pairs[1], np.divide(apart, unit, out=np.zeros_like(apart), where=unit > 0)


def near_duplicates(indices: Array, distances: Array, thumbs: Array, *, share: float, pixels: float) -> Pairs:
    """Pairs at most `share` yardsticks apart in the features whose thumbnails (N,...) differ by at most `pixels`/255 and by at
    most a tenth of the contrast (mean absolute deviation from the mean) of either.
    """
    left, right, apart = candidates(indices, distances, share)
    return confirmed(left, right, apart, thumbs, thumbs, pixels=pixels)


def copies(
    indices: Array, distances: Array, unit: float, mine: Thumbnails, theirs: Thumbnails, *, share: float, pixels: float
) -> Pairs:
    """Pairs across two sets by the same rule. `indices`, `distances` (N,k): the nearest of the other set; `unit`: the yardstick.

    `mine` and `theirs` give the thumbnails of positions in either set; only those of candidates are asked for.
    """
    left, places = np.nonzero(distances <= share * unit)
    right, apart = indices[left, places], distances[left, places].astype(np.float64)
    apart = np.divide(apart, unit, out=np.zeros_like(apart), where=unit > 0)
    if not len(left):
        return Pairs(left, right, apart, apart)
    (own, at), (other, there) = (np.unique(ends, return_inverse=True) for ends in (left, right))
    found = confirmed(at, there, apart, mine(own), theirs(other), pixels=pixels)
    return Pairs(own[found.left], other[found.right], found.distance, found.difference)


def confirmed(left: Array, right: Array, apart: Array, thumbs: Array, others: Array, *, pixels: float) -> Pairs:
    """Those of the pairs (P,) of `thumbs` (N,...) and `others` (M,...) whose pixels agree."""
    one, two = thumbs.reshape(len(thumbs), -1), others.reshape(len(others), -1)
    difference = np.zeros(len(left))
    for at in range(0, len(left), BLOCK):
        i, j = left[at : at + BLOCK], right[at : at + BLOCK]
        difference[at : at + BLOCK] = np.abs(one[i].astype(np.float64) - two[j]).mean(axis=1)
    least = np.minimum(contrast(one)[left], contrast(two)[right])
    order = np.lexsort((right, left, difference))
    order = order[((difference <= pixels) & (difference <= CONTRAST * least))[order]]
    return Pairs(left[order], right[order], apart[order], difference[order])


def contrast(flat: Array) -> Array:
    """(N,) mean absolute deviation of each row of (N,F) from its mean."""
    found = np.zeros(len(flat))
    for at in range(0, len(flat), BLOCK):
        block = flat[at : at + BLOCK].astype(np.float64)
        found[at : at + BLOCK] = np.abs(block - block.mean(axis=1, keepdims=True)).mean(axis=1)
    return found


def families(pairs: Pairs, count: int) -> Array:
    """(N,) int64: images joined by pairs have one number, the lowest position among them; -1 without a duplicate."""
    joined = coo_array((np.ones(len(pairs.left)), (pairs.left, pairs.right)), shape=(count, count))
    _, number = connected_components(joined, directed=False)
    _, lowest, inverse, sizes = np.unique(number, return_index=True, return_inverse=True, return_counts=True)
    return np.where(sizes[inverse] > 1, lowest[inverse], -1).astype(np.int64)
