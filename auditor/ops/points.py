"""Distances between points by blocked matrix products, safe where points almost coincide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from auditor.ops.spans import spans
from auditor.types import Array

BLOCK = 512
"""Rows a block: of each two blocks the distances are worked out once, and read from both sides."""
CLOSE = 1e-5
"""Below this share of |x|^2 + |y|^2 a squared distance from the product has lost digits that float32 would show."""
PAIRS = 1 << 22
"""Numbers held at once while close pairs are worked out one by one."""
HELD = 1 << 24
"""Numbers of tables in float64 that are held; of more points each block's is made anew when it is needed."""


@dataclass(frozen=True)
class Points:
    """N points of D dimensions whose distances are asked for block by block; they may lie in a file, and are read as needed."""

    features: Array
    """(N,D), as given."""
    mean: Array
    """(D,) float64, taken off: smaller norms, so less to cancel."""
    norms: Array
    """(N,) squared, without the mean."""
    prints: Array
    """(N,) of 16 bytes: equal points, and they alone, have equal ones (blake2b)."""
    tables: dict[tuple[int, int], Array]
    """Of the blocks that are held."""

    def __len__(self) -> int:
        return len(self.features)

    @classmethod
    def of(cls, features: Array) -> Points:
        """Of `features` (N,D). Raises ValueError for a NaN or infinity."""
        features = np.asarray(features)
        finite(features)
        total = np.zeros(features.shape[1:])
        for part in parts(features):
            total += part.sum(axis=0)
        return cls.about(features, total / max(1, len(features)))

    @classmethod
    def about(cls, features: Array, mean: Array) -> Points:
        """Of finite `features` (N,D), less a `mean` (D,)."""
        norms, prints = np.zeros(len(features)), np.zeros(len(features), dtype="S16")
        for number, part in enumerate(parts(features)):
            at = slice(number * BLOCK, number * BLOCK + len(part))
            prints[at] = [blake2b(row.tobytes(), digest_size=16).digest() for row in part + 0.0]  # + 0.0: -0.0 is 0.0
            part -= mean
            norms[at] = np.einsum("nd,nd->n", part, part)
        return cls(features, mean, norms, prints, {})

    def beside(self, others: Array) -> Points:
        """Further points `others` (M,D), to be compared with these. Raises ValueError for a NaN or infinity."""
        others = np.asarray(others)
        finite(others)
        return Points.about(others, self.mean)

    def table(self, begin: int, end: int) -> Array:
        """(B,D+2) float64 of the points begin .. end: less the mean, the squared norm, and 1."""
        if (begin, end) in self.tables:
            return self.tables[begin, end]
        found = self.rows(slice(begin, end))
        if self.features.size <= HELD:
            self.tables[begin, end] = found
        return found

    def rows(self, which: Array | slice) -> Array:
        """The table of these points."""
        some = self.features[which]
        found = np.empty((len(some), some.shape[1] + 2))
        np.subtract(some, self.mean, out=found[:, :-2])
        found[:, -2], found[:, -1] = self.norms[which], 1.0
        return found

    def distances(self, rows: Array) -> Array:
        """(B,N) float32 distances of the points `rows` (B,) to all: infinite to the point itself, 0 to those equal to it."""
        apart = self.apart(rows, self)
        apart[np.arange(len(rows)), rows] = np.inf
        return apart

    def apart(self, rows: Array, others: Points) -> Array:
        """(B,M) float32 distances of the points `rows` (B,) to M others: 0 to those equal to it."""
        own = self.rows(rows)
        left, found = turned(own), np.empty((len(rows), len(others)), dtype=np.float32)
        for columns in blocks(len(others)):
            theirs = others.table(columns[0], columns[-1] + 1)
            squares = left @ theirs.T
            settle(squares, (own, theirs), (self.prints[rows], others.prints[columns]))
            found[:, columns] = rooted(squares)
        return found


def blocks(count: int) -> list[Array]:
    """The numbers of `count` points, BLOCK at a time."""
    return [np.arange(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]


def turned(table: Array) -> Array:
    """(B,D+2) whose product with a table is |x|^2 + |y|^2 - 2xy."""
    found = table * -2.0
    found[:, -2], found[:, -1] = 1.0, table[:, -2]
    return np.asarray(found)


def settle(squares: Array, tables: tuple[Array, Array], prints: tuple[Array, Array]) -> None:
    """Put right in place those of `squares` (B,M) that the sum has lost, between the points of two tables with their prints.

    |x|^2 + |y|^2 - 2xy cancels where x and y almost coincide: such pairs are worked out from x - y; equal points are at 0.
    """
    own, theirs = tables
    mine, other = own[:, -2], theirs[:, -2]
    if not squares.size or squares.min() > CLOSE * (mine.max() + other.max()):
        return
    close = squares <= CLOSE * (mine[:, None] + other[None])
    left, right = np.nonzero(close)
    same = prints[0][left] == prints[1][right]
    squares[left[same], right[same]] = 0
    left, right = left[~same], right[~same]
    step = max(1, PAIRS // max(1, own.shape[1]))
    for at in range(0, len(left), step):
        i, j = left[at : at + step], right[at : at + step]
        between = own[i, :-2] - theirs[j, :-2]
        squares[i, j] = np.einsum("pd,pd->p", between, between)


def rooted(squares: Array) -> Array:
    """Their roots in float32; what rounding has put below 0 is 0."""
    return np.asarray(np.sqrt(np.maximum(squares, 0)), dtype=np.float32)


def parts(features: Array) -> Iterator[Array]:
    """`features` (N,D) in float64, BLOCK rows at a time."""
    for start in range(0, len(features), BLOCK):
        yield features[start : start + BLOCK].astype(np.float64)


def broken_rows(features: Array) -> int:
    """How many rows of (N,D) hold a NaN or infinity."""
    blocks = (features[at] for at in spans(*features.shape))
    return sum(int(np.count_nonzero(~np.isfinite(block).all(axis=1))) for block in blocks)


def finite(features: Array) -> None:
    """Raise ValueError for a NaN or infinity."""
    broken = broken_rows(features)
    if broken:
        raise ValueError(f"expected finite features, got NaN or infinity in {broken} of {len(features)} rows")
