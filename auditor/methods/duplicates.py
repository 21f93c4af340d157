"""Near duplicates: features AND pixels must agree. N samples."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Pairs:
    """P pairs of images."""

    left: Array
    """(P,) int64, each below its `right`; sorted by pixel difference, then left, then right."""
    right: Array
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
    flat = thumbs.reshape(len(thumbs), -1)
    difference, contrast = np.zeros(len(left)), np.zeros(len(flat))
    for at in range(0, len(flat), BLOCK):
        block = flat[at : at + BLOCK].astype(np.float64)
        contrast[at : at + BLOCK] = np.abs(block - block.mean(axis=1, keepdims=True)).mean(axis=1)
    for at in range(0, len(left), BLOCK):
        i, j = left[at : at + BLOCK], right[at : at + BLOCK]
        difference[at : at + BLOCK] = np.abs(flat[i].astype(np.float64) - flat[j]).mean(axis=1)
    confirmed = (difference <= pixels) & (difference <= CONTRAST * np.minimum(contrast[left], contrast[right]))
    order = np.lexsort((right, left, difference))
    order = order[confirmed[order]]
    return Pairs(left[order], right[order], apart[order], difference[order])


def families(pairs: Pairs, count: int) -> Array:
    """(N,) int64: images joined by pairs have one number, the lowest position among them; -1 without a duplicate."""
    joined = coo_array((np.ones(len(pairs.left)), (pairs.left, pairs.right)), shape=(count, count))
    _, number = connected_components(joined, directed=False)
    _, lowest, inverse, sizes = np.unique(number, return_index=True, return_inverse=True, return_counts=True)
    return np.where(sizes[inverse] > 1, lowest[inverse], -1).astype(np.int64)
