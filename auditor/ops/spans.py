"""Tables with a row an image, read some rows at a time: they may lie in a file, and what is worked out of them stays small."""

from __future__ import annotations

from collections.abc import Iterator

NUMBERS = 1 << 20
"""Numbers of a table that are held in float64 at a time: 8 MB."""


def spans(rows: int, width: int) -> Iterator[slice]:
    """`rows` rows of `width` numbers in order, at most NUMBERS numbers and at least one row at a time."""
    step = max(1, NUMBERS // max(1, width))
    for begin in range(0, rows, step):
        yield slice(begin, min(begin + step, rows))
