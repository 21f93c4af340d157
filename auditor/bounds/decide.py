"""How many samples would decide a rule that these left open."""

from __future__ import annotations

import math

import numpy as np

from auditor.bounds.binomial import exact_bounds
from auditor.types import Value, is_finite

MOST = 10_000_000
"""Beyond so many samples the answer is that the figure is at the line."""


def samples_to_decide(value: Value, line: float, *, confidence: float = 0.95) -> int | None:
    """The least n, above the one at hand, whose bound clears `line` if the rate stays as observed; None where it cannot be said.

    For a proportion by the exact bounds of p n in n (p n may be no whole number, else the answer would jump with n); for a
    statistic by its interval, which shrinks with the root of n.
    None for an exact figure, for one that stands at the line, and beyond ten million.
    """
    at = value.value
    if at is None or not is_finite(at) or not value.n or at == line:
        return None
    if value.kind == "proportion" and value.k is not None:
        return proportion_needs(value.k / value.n, value.n, line, confidence)
    end = value.low if at > line else value.high
    if value.kind != "statistic" or end is None or not is_finite(end):
        return None
    needed = math.ceil(value.n * ((at - end) / (at - line)) ** 2)
    return needed if value.n < needed <= MOST else None


def proportion_needs(rate: float, n: int, line: float, confidence: float) -> int | None:
    """The least number of samples beyond `n`, found by doubling and halving."""

    def decided(count: int) -> bool:
        low, high = exact_bounds(np.array([rate * count]), np.array([count]), 1 - confidence, 1 - confidence)
        return bool(low[0] >= line if rate > line else high[0] < line)

    below, above = n, max(2 * n, 2)
    while not decided(above):
        if above >= MOST:
            return None
        below, above = above, min(2 * above, MOST)
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if decided(middle) else (middle, above)
    return above
