"""What a rule with so many samples can tell apart: how often it passes and fails, by what the truth is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from auditor.bounds.binomial import exact_bounds
from auditor.types import Array, Json

POINTS, REACH, SURE = 41, 4.5, 0.95
"""Truths at which the curve stands; standard errors that it reaches to either side; how often is called sure."""


def share_power(n: int, line: float, *, least: bool, confidence: float) -> Json:
    """Exact, for a share of n samples against a line; `least`: at_least. See `curve` for the keys; {} where n is 0."""
    from scipy.special import bdtr

    if n < 1:
        return {}
    passing, failing = thresholds(n, line, least=least, confidence=confidence)

    def chances(truth: Array) -> tuple[Array, Array]:
        below = np.where(passing > 0, bdtr(passing - 1, n, truth), 0.0) if passing <= n else np.ones(len(truth))
        above = bdtr(failing, n, truth) if failing >= 0 else np.zeros(len(truth))
        return (1 - below, above) if least else (above, 1 - below)

    error = max(float(np.sqrt(line * (1 - line) / n)), 1.5 / n)
    return curve(chances, line, error, low=0.0, high=1.0, least=least) | {"exact": True}


def thresholds(n: int, line: float, *, least: bool, confidence: float) -> tuple[int, int]:
    """The least k whose lower bound is at or above the line, and the most whose upper bound is at or below it.

    One of them must be strict: the bound that fails has to be beyond the line, the one that passes may stand on it. n + 1 or -1
    where there is none.
    """

    def first(holds: Callable[[int], bool]) -> int:
        low, high = 0, n + 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle + 1, high)
        return low

    def ends(k: int) -> tuple[float, float]:
        low, high = exact_bounds(np.array([k]), np.array([n]), 1 - confidence, 1 - confidence)
        return float(low[0]), float(high[0])

    above = first(lambda k: ends(k)[0] >= line if least else ends(k)[0] > line)
    below = first(lambda k: ends(k)[1] >= line if least else ends(k)[1] > line) - 1
    return above, below


def normal_power(line: float, error: float, *, least: bool, confidence: float, low: float, high: float) -> Json:
    """Approximate, for a figure whose estimate is near normal with the standard error `error`."""
    from scipy.special import ndtr, ndtri

    z = float(ndtri(confidence))

    def chances(truth: Array) -> tuple[Array, Array]:
        above, below = ndtr((truth - line) / error - z), ndtr((line - truth) / error - z)
        return (above, below) if least else (below, above)

    return curve(chances, line, error, low=low, high=high, least=least) | {"exact": False} if error > 0 else {}


def curve(
    chances: Callable[[Array], tuple[Array, Array]], line: float, error: float, *, low: float, high: float, least: bool
) -> Json:
    """{truth, pass, fail: (41,); sure_pass, sure_fail: the truths nearest the line that it passes or fails 95 times in 100}."""
    truth = np.linspace(max(low, line - REACH * error), min(high, line + REACH * error), POINTS)
    good, bad = chances(truth)
    fine = np.linspace(max(low, line - 3 * REACH * error), min(high, line + 3 * REACH * error), 3001)
    passes, fails = (fine[chance >= SURE] for chance in chances(fine))
    nearest_good = (passes.min() if least else passes.max()) if len(passes) else None
    nearest_bad = (fails.max() if least else fails.min()) if len(fails) else None
    return {
        "truth": [round(float(x), 6) for x in truth],
        "pass": [round(float(x), 4) for x in good],
        "fail": [round(float(x), 4) for x in bad],
        "sure_pass": None if nearest_good is None else float(nearest_good),
        "sure_fail": None if nearest_bad is None else float(nearest_bad),
    }
