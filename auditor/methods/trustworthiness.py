"""How far a map's neighbourhoods can be trusted. N points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditor.ops.points import Points
from auditor.types import Array

NEIGHBOURS = 12
BLOCK = 512


def most_neighbours(count: int, k: int = NEIGHBOURS) -> int:
    """k, lowered until it is below half the points, as the formula needs; 0 for fewer than 3 points."""
    return max(0, min(k, (count - 1) // 2))


def trustworthiness(features: Array, near: Sequence[Array], *, k: int, rows: Array | None = None) -> Array:
    """(M,q) trustworthiness (Venna, Kaski 2001) of each of `rows` (q,; by default all) in each of M maps; a map's is their mean.

    1 - 2 / (k (2N - 3k - 1)) sum over the k neighbours j in the map of max(0, r(j) - k), r(j) the rank of j by distance from
    the row in `features` (N,D), 1 for the nearest; of equal distances each has the lowest rank. `near`: for each map (N,>=k)
    neighbours, nearest first. k below N/2. Memory: BLOCK x N numbers.
    """
    points = Points.of(features)
    count = len(points)
    rows = np.arange(count) if rows is None else rows
    if not 0 < k < count / 2:
        raise ValueError(f"expected 0 < k < {count}/2 neighbours, got {k}")
    penalty = np.zeros((len(near), len(rows)))
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        distances = points.distances(block)
        for number, indices in enumerate(near):
            own = np.take_along_axis(distances, indices[block, :k], axis=1)
            for place in range(k):
                before = np.count_nonzero(distances < own[:, place, None], axis=1)
                penalty[number, start : start + BLOCK] += np.maximum(0, before + 1 - k)
    return 1 - penalty * (2 / (k * (2 * count - 3 * k - 1)))


def shared(one: Array, other: Array) -> Array:
    """(N,) share of each row of `one` (N,k), k >= 1 different indices, that is in the same row of `other` (N,k)."""
    found = np.stack([(other == column[:, None]).any(axis=1) for column in one.T])
    return np.asarray(found.mean(axis=0))
