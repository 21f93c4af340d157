"""In which order the windows of a grid are worked through, and how many at once: a batch is as wide as its widest window."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt

import numpy as np

from auditor.methods.incremental.work import Work
from auditor.types import Array

MOST = 4
"""Times as many windows at once as whole images, at most."""


def diagonal(rows: int, columns: int) -> Array:
    """(max(rows, columns),) row-major numbers of windows of a grid in which every row and every column has its turn."""
    place = np.arange(max(rows, columns))
    return place * rows // len(place) * columns + place * columns // len(place)


def blocks(down: Array, across: Array, count: int) -> list[Array]:
    """Row-major numbers of a grid's windows in blocks of at most `count` that change like amounts.

    `down` (R,) and `across` (S,) say how much the windows of a row, and of a column, change. A change spreads from layer to layer
    until it meets the border, in the middle to all sides and in a corner to two, and how wide it becomes depends on how a window
    lies to the strides.
    """
    high = min(len(down), isqrt(count))
    rows, columns = np.argsort(down, kind="stable"), np.argsort(across, kind="stable")
    return [
        (some[:, None] * len(across) + others[None]).ravel()
        for some in parts(rows, high)
        for others in parts(columns, count // high)
    ]


def at_once(images: int, gain: float) -> int:
    """Windows in one batch where `images` whole ones would go, and `gain` times less is computed: as many more, up to MOST."""
    return images * max(1, min(MOST, int(gain)))


def turns(rows: int, columns: int, work: Work, size: int, most: int) -> Iterator[Array]:
    """Numbers of the windows of a grid that go through together, each once, those of the diagonal first.

    What a turn's windows changed, and how much work they saved, is read from `work` once the next turn is asked for. A turn is of
    `size` windows, later of as many more as less is computed of each, but never of more than `most`.
    """
    first, reach = diagonal(rows, columns), []
    for part in parts(first, size):
        yield part
        reach.append([np.zeros(len(part)) + amount for amount in work.changed])
    down, across = np.zeros(rows), np.zeros(columns)
    down[first // columns], across[first % columns] = (np.concatenate(amounts) for amounts in zip(*reach, strict=True))
    for block in blocks(down, across, min(most, at_once(size, work.gain))):
        left = block[~np.isin(block, first)]
        if len(left):
            yield left


def parts(numbers: Array, size: int) -> Iterator[Array]:
    """`size` at a time, the rest last."""
    return (numbers[i : i + size] for i in range(0, len(numbers), size))
