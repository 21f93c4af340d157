"""Many figures under one rule: which of them are shown bad, with the error held over all (Holm 1979)."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.bounds import Bounds
from auditor.gate.reading import Reading


def shown_bad(readings: Sequence[Reading], confidence: float) -> tuple[set[int], float]:
    """Places of the readings that are beyond their line, and the confidence at which each of them was tested in the end.

    Holm's step-down, said with bounds: those that are bad at error a/m are shown; of the m - r that are left, those that are
    bad at a/(m - r); and so on until none is added. The chance that one that is not bad is shown is at most a.
    """
    error, bad = 1 - confidence, set[int]()
    while True:
        level = 1 - error / max(len(readings) - len(bad), 1)
        found = {place for place, reading in enumerate(readings) if is_bad(reading, reading.bounds(level))}
        if found <= bad:
            return bad, level
        bad |= found


def is_bad(reading: Reading, bounds: Bounds) -> bool:
    """Its bound is beyond the line; an exact figure is so by itself."""
    if reading.trouble or reading.at is None:
        return False
    if reading.exact:
        return reading.at < reading.line if reading.least else reading.at > reading.line
    low, high = bounds
    if low is None or high is None:
        return False
    return high < reading.line if reading.least else low > reading.line
