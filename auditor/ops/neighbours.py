"""Exact nearest neighbours by one blocked matrix product, safe where points almost coincide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auditor.types import Array

BLOCK = 512
"""Rows a block: of each two blocks the distances are worked out once, and read from both sides."""
CLOSE = 1e-5
"""Below this share of |x|^2 + |y|^2 a squared distance from the product has lost digits that float32 would show."""
PAIRS = 1 << 22
"""Numbers held at once while close pairs are worked out one by one."""
CROWDED, TURNS = 0.2, 16
"""Share of a block's pairs from which all are sorted, not only those that may count; blocks after which what waits is sorted."""


@dataclass(frozen=True)
class Points:
    """N points of D dimensions whose distances are asked for block by block."""

    table: Array
    """(N,D+2) float64: the point, centred (smaller norms, so less to cancel), its squared norm, and 1."""
    equal: Array
    """(N,) int64: equal points have one number; -1 for what equals none of those it is compared with."""
    mean: Array
    """(D,) that was taken off."""
    numbers: dict[bytes, int]
    """Of each different point."""

    @property
    def data(self) -> Array:
        """(N,D) the centred points."""
        return self.table[:, :-2]

    @property
    def norms(self) -> Array:
        """(N,) squared."""
        return self.table[:, -2]

    @classmethod
    def of(cls, features: Array) -> Points:
        """Of `features` (N,D). Raises ValueError for a NaN or infinity."""
        data = finite(features)
        numbers: dict[bytes, int] = {}
        equal = [numbers.setdefault(row.tobytes(), len(numbers)) for row in data + 0.0]  # + 0.0: -0.0 is 0.0
        mean = data.mean(axis=0) if len(data) else np.zeros(data.shape[1:])
        return cls(tabled(data, mean), np.array(equal, dtype=np.int64), mean, numbers)

    def beside(self, others: Array) -> Points:
        """Further points `others` (M,D), to be compared with these. Raises ValueError for a NaN or infinity."""
        data = finite(others)
        equal = np.array([self.numbers.get(row.tobytes(), -1) for row in data + 0.0], dtype=np.int64)
        return Points(tabled(data, self.mean), equal, self.mean, self.numbers)

    def distances(self, rows: Array) -> Array:
        """(B,N) float32 distances of the points `rows` (B,) to all: infinite to the point itself, 0 to those equal to it."""
        apart = self.apart(rows, self)
        apart[np.arange(len(rows)), rows] = np.inf
        return apart

    def apart(self, rows: Array, others: Points) -> Array:
        """(B,M) float32 distances of the points `rows` (B,) to M others: 0 to those equal to it."""
        squares = self.turned(rows) @ others.table.T
        self.settle(squares, rows, others, np.arange(len(others.table)))
        return rooted(squares)

    def turned(self, rows: Array) -> Array:
        """(B,D+2) whose product with a table is |x|^2 + |y|^2 - 2xy."""
        found = self.table[rows] * -2.0
        found[:, -2], found[:, -1] = 1.0, self.norms[rows]
        return np.asarray(found)

    def settle(self, squares: Array, rows: Array, others: Points, columns: Array) -> None:
        """Put right in place those of `squares` (B,M) that the sum has lost; they are of points `rows` and of others' `columns`.

        |x|^2 + |y|^2 - 2xy cancels where x and y almost coincide: such pairs are worked out from x - y; equal points are at 0.
        """
        mine, theirs = self.norms[rows], others.norms[columns]
        if not squares.size or squares.min() > CLOSE * (mine.max() + theirs.max()):
            return
        close = squares <= CLOSE * (mine[:, None] + theirs[None])
        same = (self.equal[rows, None] == others.equal[None, columns]) & ~np.isinf(squares)
        left, right = np.nonzero(close & ~same)
        step = max(1, PAIRS // max(1, self.data.shape[1]))
        for at in range(0, len(left), step):
            i, j = left[at : at + step], right[at : at + step]
            between = self.data[rows[i]] - others.data[columns[j]]
            squares[i, j] = np.einsum("pd,pd->p", between, between)
        squares[same] = 0


class Found:
    """The k nearest so far of B points, of points that come in rising order; what may count waits until there is much of it."""

    def __init__(self, count: int, k: int) -> None:
        self.k, self.turns, self.held = k, 0, 0
        self.indices = np.zeros((count, k), dtype=np.int64)
        self.distances = np.full((count, k), np.inf, dtype=np.float32)
        """(B,k) as `indices`, which rise; infinite where fewer than k are known."""
        self.limit = np.full(count, np.inf)
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
        if self.held > len(self.limit) * self.k or self.turns == TURNS:
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
        self.indices, self.distances = np.take_along_axis(known, columns, axis=1), np.take_along_axis(apart, columns, axis=1)
        self.limit = self.distances.max(axis=1).astype(np.float64) ** 2

    def ended(self) -> tuple[Array, Array]:
        """Indices (B,k) and distances (B,k), nearest first."""
        self.sort()
        order = np.argsort(self.distances, axis=1, kind="stable")
        return np.take_along_axis(self.indices, order, axis=1), np.take_along_axis(self.distances, order, axis=1)


EMPTY = np.zeros(0, dtype=np.int64)


def rooted(squares: Array) -> Array:
    """Their roots in float32; what rounding has put below 0 is 0."""
    return np.asarray(np.sqrt(np.maximum(squares, 0)), dtype=np.float32)


def finite(features: Array) -> Array:
    """(N,D) float64. Raises ValueError for a NaN or infinity."""
    data = np.asarray(features, dtype=np.float64)
    broken = int(np.count_nonzero(~np.isfinite(data).all(axis=1)))
    if broken:
        raise ValueError(f"expected finite features, got NaN or infinity in {broken} of {len(data)} rows")
    return data


def tabled(data: Array, mean: Array) -> Array:
    """(N,D+2) of (N,D): less the mean, the squared norm, and 1."""
    table = np.empty((len(data), data.shape[1] + 2))
    centred = np.subtract(data, mean, out=table[:, :-2])
    table[:, -2], table[:, -1] = np.einsum("nd,nd->n", centred, centred), 1.0
    return table


def knn(features: Array, k: int) -> tuple[Array, Array]:
    """The k nearest others of each row of `features` (N,D) by Euclidean distance: indices (N,k) int64, distances (N,k) float32.

    k is lowered to N-1. Distances are those of float64 rounded to float32; where two are then equal the lower index comes first.
    Equal rows are at 0 exactly. Memory: BLOCK x BLOCK numbers beside the features, the result and what waits to be sorted into
    it, which is about as much. Raises ValueError for a NaN or infinity.
    """
    points = Points.of(features)
    count = len(points.table)
    k = max(0, min(k, count - 1))
    if k == 0:
        return np.zeros((count, 0), dtype=np.int64), np.zeros((count, 0), dtype=np.float32)
    blocks = [np.arange(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
    found = [Found(len(rows), k) for rows in blocks]
    ended: list[tuple[Array, Array]] = []
    held = np.empty(BLOCK * BLOCK)
    for number, rows in enumerate(blocks):
        turned = points.turned(rows)
        for other in range(number, len(blocks)):
            columns = blocks[other]
            squares = held[: len(rows) * len(columns)].reshape(len(rows), len(columns))
            np.matmul(turned, points.table[columns[0] : columns[-1] + 1].T, out=squares)
            if other == number:
                np.fill_diagonal(squares, np.inf)
            points.settle(squares, rows, points, columns)
            found[number].see(squares, columns[0])
            if other != number:  # its points have now seen all that come before `rows`, so these come next
                found[other].see(squares, rows[0], across=True)
        ended.append(found[number].ended())
    indices, distances = (np.concatenate(parts) for parts in zip(*ended, strict=True))
    return indices, distances


def across(features: Array, others: Array, k: int) -> tuple[Array, Array]:
    """The k nearest of `others` (M,D) to each row of `features` (N,D), as `knn`: indices (N,k) int64, distances (N,k) float32.

    k is lowered to M. Memory: `features` in float64, and BLOCK x BLOCK numbers; `others` are read BLOCK at a time. Raises
    ValueError for a NaN or infinity.
    """
    points = Points.of(features)
    count = len(points.table)
    k = max(0, min(k, len(others)))
    indices, distances = np.zeros((count, k), dtype=np.int64), np.full((count, k), np.inf, dtype=np.float32)
    for start in range(0, len(others) if k else 0, BLOCK):
        block = points.beside(others[start : start + BLOCK])
        numbers = np.arange(start, start + len(block.table))
        for begin in range(0, count, BLOCK):
            rows = np.arange(begin, min(begin + BLOCK, count))
            known = np.concatenate([indices[rows], np.broadcast_to(numbers, (len(rows), len(numbers)))], axis=1)
            best, distances[rows] = nearest(np.concatenate([distances[rows], points.apart(rows, block)], axis=1), k)
            indices[rows] = np.take_along_axis(known, best, axis=1)
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
