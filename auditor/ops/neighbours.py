"""Exact nearest neighbours by one blocked matrix product, safe where points almost coincide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auditor.types import Array

BLOCK = 1024
"""Rows a block; its distances take BLOCK x N numbers, and BLOCK x BLOCK across two sets."""
CLOSE = 1e-5
"""Below this share of |x|^2 + |y|^2 a squared distance from the product has lost digits that float32 would show."""
PAIRS = 1 << 22
"""Numbers held at once while close pairs are worked out one by one."""


@dataclass(frozen=True)
class Points:
    """N points of D dimensions whose distances are asked for block by block."""

    data: Array
    """(N,D) float64, centred: smaller norms, so less to cancel."""
    norms: Array
    """(N,) squared."""
    equal: Array
    """(N,) int64: equal points have one number; -1 for what equals none of those it is compared with."""
    mean: Array
    """(D,) that was taken off."""
    numbers: dict[bytes, int]
    """Of each different point."""

    @classmethod
    def of(cls, features: Array) -> Points:
        """Of `features` (N,D). Raises ValueError for a NaN or infinity."""
        data = finite(features)
        numbers: dict[bytes, int] = {}
        equal = [numbers.setdefault(row.tobytes(), len(numbers)) for row in data + 0.0]  # + 0.0: -0.0 is 0.0
        mean = data.mean(axis=0) if len(data) else np.zeros(data.shape[1:])
        return cls(*measured(data - mean), np.array(equal, dtype=np.int64), mean, numbers)

    def beside(self, others: Array) -> Points:
        """Further points `others` (M,D), to be compared with these. Raises ValueError for a NaN or infinity."""
        data = finite(others)
        equal = np.array([self.numbers.get(row.tobytes(), -1) for row in data + 0.0], dtype=np.int64)
        return Points(*measured(data - self.mean), equal, self.mean, self.numbers)

    def distances(self, rows: Array) -> Array:
        """(B,N) float32 distances of the points `rows` (B,) to all: infinite to the point itself, 0 to those equal to it."""
        apart = self.apart(rows, self)
        apart[np.arange(len(rows)), rows] = np.inf
        return apart

    def apart(self, rows: Array, others: Points) -> Array:
        """(B,M) float32 distances of the points `rows` (B,) to M others: 0 to those equal to it.

        |x|^2 + |y|^2 - 2xy cancels where x and y almost coincide: such pairs are worked out from x - y.
        """
        size = self.norms[rows, None] + others.norms[None]
        squares = size - 2 * (self.data[rows] @ others.data.T)
        same = self.equal[rows, None] == others.equal[None]
        left, right = np.nonzero((squares < CLOSE * size) & ~same)
        step = max(1, PAIRS // max(1, self.data.shape[1]))
        for at in range(0, len(left), step):
            i, j = left[at : at + step], right[at : at + step]
            between = self.data[rows[i]] - others.data[j]
            squares[i, j] = np.einsum("pd,pd->p", between, between)
        squares[same] = 0
        return np.asarray(np.sqrt(np.maximum(squares, 0, out=squares), out=squares), dtype=np.float32)


def finite(features: Array) -> Array:
    """(N,D) float64. Raises ValueError for a NaN or infinity."""
    data = np.asarray(features, dtype=np.float64)
    broken = int(np.count_nonzero(~np.isfinite(data).all(axis=1)))
    if broken:
        raise ValueError(f"expected finite features, got NaN or infinity in {broken} of {len(data)} rows")
    return data


def measured(data: Array) -> tuple[Array, Array]:
    """(N,D) and the (N,) squared norms."""
    return data, np.einsum("nd,nd->n", data, data)


def knn(features: Array, k: int) -> tuple[Array, Array]:
    """The k nearest others of each row of `features` (N,D) by Euclidean distance: indices (N,k) int64, distances (N,k) float32.

    k is lowered to N-1. Distances are those of float64 rounded to float32; where two are then equal the lower index comes first.
    Equal rows are at 0 exactly. Memory: BLOCK x N numbers beside the features. Raises ValueError for a NaN or infinity.
    """
    points = Points.of(features)
    count = len(points.data)
    k = max(0, min(k, count - 1))
    indices, distances = np.zeros((count, k), dtype=np.int64), np.zeros((count, k), dtype=np.float32)
    for start in range(0, count if k else 0, BLOCK):
        rows = np.arange(start, min(start + BLOCK, count))
        indices[rows], distances[rows] = nearest(points.distances(rows), k)
    return indices, distances


def across(features: Array, others: Array, k: int) -> tuple[Array, Array]:
    """The k nearest of `others` (M,D) to each row of `features` (N,D), as `knn`: indices (N,k) int64, distances (N,k) float32.

    k is lowered to M. Memory: `features` in float64, and BLOCK x BLOCK numbers; `others` are read BLOCK at a time. Raises
    ValueError for a NaN or infinity.
    """
    points = Points.of(features)
    count = len(points.data)
    k = max(0, min(k, len(others)))
    indices, distances = np.zeros((count, k), dtype=np.int64), np.full((count, k), np.inf, dtype=np.float32)
    for start in range(0, len(others) if k else 0, BLOCK):
        block = points.beside(others[start : start + BLOCK])
        numbers = np.arange(start, start + len(block.data))
        for begin in range(0, count, BLOCK):
            rows = np.arange(begin, min(begin + BLOCK, count))
            known = np.concatenate([indices[rows], np.broadcast_to(numbers, (len(rows), len(numbers)))], axis=1)
            best, distances[rows] = nearest(np.concatenate([distances[rows], points.apart(rows, block)], axis=1), k)
            indices[rows] = np.take_along_axis(known, best, axis=1)
    return indices, distances


def nearest(distances: Array, k: int) -> tuple[Array, Array]:
    """Columns (B,k) int64 and values (B,k) of the k smallest of each row of (B,N), rising; equal values by column."""
    columns = np.argpartition(distances, k - 1, axis=1)[:, :k].astype(np.int64)
    bound = np.take_along_axis(distances, columns, axis=1).max(axis=1)
    tied = np.count_nonzero(distances <= bound[:, None], axis=1) > k  # then the partition chose among equals by chance
    for row in np.flatnonzero(tied):
        among = np.flatnonzero(distances[row] <= bound[row])
        columns[row] = among[np.argsort(distances[row, among], kind="stable")[:k]]
    columns.sort(axis=1)
    values = np.take_along_axis(distances, columns, axis=1)
    order = np.argsort(values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)
