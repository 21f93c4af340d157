"""Exact nearest neighbours by one blocked matrix product, safe where points almost coincide."""

from __future__ import annotations

import numpy as np

from auditor.ops.points import Points, blocks, rooted, settle, turned
from auditor.ops.room import Room, in_memory
from auditor.types import Array

CROWDED, TURNS = 0.2, 16
"""Share of a block's pairs from which all are sorted, not only those that may count; blocks after which what waits is sorted."""
WAITING = 1 << 21
"""Distances that wait to be sorted, of all points together."""


class Found:
    """The k nearest so far of B points, of points that come in rising order; what may count waits until there is much of it."""

    def __init__(self, indices: Array, distances: Array, most: int) -> None:
        """Both (B,k), to be written to; no more than about `most` distances wait."""
        self.k, self.turns, self.held = indices.shape[1], 0, 0
        self.most = min(most, indices.size)
        self.indices, self.distances = indices, distances
        self.distances[:] = np.inf
        """As `indices`, which rise; infinite where fewer than k are known."""
        self.limit = np.full(len(indices), np.inf)
        """(B,) squared distance from which on a point that comes now does not count: of equals the earlier stays."""
        self.waiting: list[tuple[Array, Array, Array]] = []

    def see(self, squares: Array, first: int, *, across: bool = False) -> None:
        """Squared distances (B,M) of the points to others, numbered from `first` on; `across`: (M,B)."""
        limit = self.limit[None] if across else self.limit[:, None]
        hits = np.flatnonzero(squares < limit)
        if len(hits) > CROWDED * squares.size:
            self.sort()
            columns = np.arange(first, first + squares.shape[0 if across else 1])
            self.merge(np.broadcast_to(columns, (len(self.limit), len(columns))), rooted(squares.T if across else squares))
            return
        high, low = np.divmod(hits, squares.shape[1])
        rows, columns = (low, high) if across else (high, low)
        self.waiting.append((rows, columns + first, rooted(squares.ravel()[hits])))
        self.held, self.turns = self.held + len(hits), self.turns + 1
        if self.held > self.most or self.turns == TURNS:
            self.sort()

    def sort(self) -> None:
        """Sort in what waits."""
        rows, columns, apart = (np.concatenate(parts) for parts in zip(*self.waiting, strict=True)) if self.held else (EMPTY,) * 3
        self.waiting, self.held, self.turns = [], 0, 0
        if not len(rows):
            return
        order = np.argsort(rows.astype(np.int16 if len(self.limit) < 1 << 15 else np.int64), kind="stable")
        rows = rows[order]
        counts = np.bincount(rows, minlength=len(self.limit))
        place = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
        indices = np.zeros((len(counts), counts.max()), dtype=np.int64)
        distances = np.full(indices.shape, np.inf, dtype=np.float32)
        indices[rows, place], distances[rows, place] = columns[order], apart[order]
        self.merge(indices, distances)

    def merge(self, indices: Array, distances: Array) -> None:
        """Keep the k nearest of those known and of (B,M) later ones."""
        known, apart = np.concatenate([self.indices, indices], axis=1), np.concatenate([self.distances, distances], axis=1)
        columns = least(apart, self.k)
        self.indices[:], self.distances[:] = (np.take_along_axis(values, columns, axis=1) for values in (known, apart))
        self.limit = self.distances.max(axis=1).astype(np.float64) ** 2

    def end(self) -> None:
        """Put them in order, nearest first."""
        self.sort()
        order = np.argsort(self.distances, axis=1, kind="stable")
        self.indices[:], self.distances[:] = (np.take_along_axis(v, order, axis=1) for v in (self.indices, self.distances))


EMPTY = np.zeros(0, dtype=np.int64)


def knn(features: Array, k: int, *, room: Room = in_memory) -> tuple[Array, Array]:
    """The k nearest others of each row of `features` (N,D) by Euclidean distance: indices (N,k) int64, distances (N,k) float32.

    k is lowered to N-1. Distances are those of float64 rounded to float32; where two are then equal the lower index comes first.
    Equal rows are at 0 exactly. Memory: BLOCK x BLOCK numbers, HELD of tables, WAITING that are to be sorted into the result.
    Raises ValueError for a NaN or infinity. `room`: what the result is written to.
    """
    points = Points.of(features)
    count = len(points)
    k = max(0, min(k, count - 1))
    indices, distances = room((count, k), np.int64), room((count, k), np.float32)
    if k == 0:
        return indices, distances
    spread = blocks(count)
    most = WAITING // len(spread)
    found = [Found(indices[rows[0] : rows[-1] + 1], distances[rows[0] : rows[-1] + 1], most) for rows in spread]
    held = np.empty(len(spread[0]) ** 2)
    for number, rows in enumerate(spread):
        own = points.table(rows[0], rows[-1] + 1)
        left = turned(own)
        for other in range(number, len(spread)):
            columns = spread[other]
            theirs = points.table(columns[0], columns[-1] + 1)
            squares = held[: len(rows) * len(columns)].reshape(len(rows), len(columns))
            np.matmul(left, theirs.T, out=squares)
            if other == number:
                np.fill_diagonal(squares, np.inf)
            settle(squares, (own, theirs), (points.prints[rows], points.prints[columns]))
            found[number].see(squares, columns[0])
            if other != number:  # its points have now seen all that come before `rows`, so these come next
                found[other].see(squares, rows[0], across=True)
        found[number].end()
    return indices, distances


def across(features: Array, others: Array, k: int, *, room: Room = in_memory) -> tuple[Array, Array]:
    """The k nearest of `others` (M,D) to each row of `features` (N,D), as `knn`: indices (N,k) int64, distances (N,k) float32.

    k is lowered to M. Memory and `room`: as `knn`. Raises ValueError for a NaN or infinity.
    """
    points = Points.of(features)
    beside = points.beside(others)
    count, k = len(points), max(0, min(k, len(beside)))
    indices, distances = room((count, k), np.int64), room((count, k), np.float32)
    for rows in blocks(count) if k else ():
        own = points.rows(rows)
        left, found = turned(own), Found(indices[rows[0] : rows[-1] + 1], distances[rows[0] : rows[-1] + 1], WAITING)
        for columns in blocks(len(beside)):
            theirs = beside.table(columns[0], columns[-1] + 1)
            squares = left @ theirs.T
            settle(squares, (own, theirs), (points.prints[rows], beside.prints[columns]))
            found.see(squares, columns[0])
        found.end()
    return indices, distances


def nearest(distances: Array, k: int) -> tuple[Array, Array]:
    """Columns (B,k) int64 and values (B,k) of the k smallest of each row of (B,N), rising; equal values by column."""
    columns = least(distances, k)
    values = np.take_along_axis(distances, columns, axis=1)
    order = np.argsort(values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def least(distances: Array, k: int) -> Array:
    """Columns (B,k) int64, rising, of the k smallest of each row of (B,N); of equal values the first columns."""
    columns = np.argpartition(distances, k - 1, axis=1)[:, :k].astype(np.int64)
    bound = np.take_along_axis(distances, columns, axis=1).max(axis=1)
    tied = np.count_nonzero(distances <= bound[:, None], axis=1) > k  # then the partition chose among equals by chance
    for row in np.flatnonzero(tied):
        among = np.flatnonzero(distances[row] <= bound[row])
        columns[row] = among[np.argsort(distances[row, among], kind="stable")[:k]]
    columns.sort(axis=1)
    return columns
