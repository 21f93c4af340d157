"""Bounds of a difference of two audits on the same images, today's less the baseline's, each one-sided at `confidence`.

a share: of n pairs `broken` were right and are wrong, `fixed` the other way. MOVER (Zou and Donner 2008; Newcombe 1998, method
    10) over the Clopper-Pearson bounds of both, with the correlation that two counts of one multinomial have; for fewer than 20
    pairs the bounds of both at half the error each. By enumeration it errs at most 5 % a side (tests/bounds/test_paired.py);
    McNemar's test asks another question, and stands beside it.
mean: that of the differences, as for a single mean. macro_recall: MOVER over the classes, or the bootstrap where that is wider.
worst_class_recall, lowest_mean: the bounds of both sides at half the error each (Bonferroni): safe, and wide.
ece, median: bootstrap of pairs, percentiles, and the same less the bias that the copies show; the wider end of the two.
With groups: bootstrap of whole groups, and never narrower than without.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from auditor.bounds import statistics
from auditor.bounds.binomial import exact_bounds
from auditor.bounds.groups import ends, group_copies, grouped_lowest_mean, grouped_worst_recall
from auditor.bounds.intervals import (
    NOTHING,
    Bounds,
    blocks,
    enough,
    lowest_mean_bounds,
    mean_bounds,
    worst_class_recall_bounds,
)  # fmt: skip
from auditor.bounds.sums import PARTS, group_sums
from auditor.types import Array

ROUNDING = 1e-12
"""Differences that differ by less, relative to the largest, are equal but for rounding."""
FEW_PAIRS = 20
FEW_ROWS = 4000
"""Pairs up to which the bootstrap draws them; above it the sums are drawn from the normal distribution they have by then."""


def mcnemar(broken: int, fixed: int) -> float:
    """Exact two-sided p of McNemar's test: were they equally likely, how often would the two counts differ as much."""
    from scipy.special import bdtr

    count = broken + fixed
    return min(1.0, 2 * float(bdtr(min(broken, fixed), count, 0.5))) if count else 1.0


def paired_share(broken: Array, fixed: Array, n: Array, confidence: float) -> tuple[Array, Array]:
    """(C,) lower and upper bounds of (fixed - broken) / n for counts (C,) each."""
    broken, fixed, n = (np.asarray(a, dtype=np.float64) for a in (broken, fixed, n))
    count = np.maximum(n, 1)
    lost, won = broken / count, fixed / count
    error = 1 - confidence
    lost_low, lost_high = exact_bounds(broken, n, error, error)
    won_low, won_high = exact_bounds(fixed, n, error, error)
    odds = np.sqrt(lost * won / np.maximum((1 - lost) * (1 - won), 1e-300))
    tie = np.minimum(odds, 1.0)

    def reach(a: Array, b: Array) -> Array:
        return np.asarray(np.sqrt(a**2 + b**2 + 2 * tie * a * b))

    at, few = won - lost, n < FEW_PAIRS
    low = at - reach(won - won_low, lost_high - lost)
    high = at + reach(won_high - won, lost - lost_low)
    lost_low, lost_high = exact_bounds(broken, n, error / 2, error / 2)
    won_low, won_high = exact_bounds(fixed, n, error / 2, error / 2)
    low, high = np.where(few, won_low - lost_high, low), np.where(few, won_high - lost_low, high)
    none = n == 0
    return np.where(none, -1.0, np.maximum(low, -1.0)), np.where(none, 1.0, np.minimum(high, 1.0))


def paired_bounds(
    name: str,
    today: list[Array],
    before: list[Array],
    *,
    groups: Array | None = None,
    seed: int,
    resamples: int,
    confidence: float,
) -> Bounds:
    """Bounds of STATISTICS[name] of the rows `today` less that of `before`: the same (n,) rows in both, without NaN.

    Nothing where nothing can be said: fewer than two rows or groups.
    """
    n = len(today[0])
    if n < 2:
        return NOTHING
    if groups is not None:
        return grouped_difference(name, today, before, groups, seed=seed, resamples=resamples, confidence=confidence)
    if name == "worst_class_recall":
        return worst_difference(today, before, None, confidence)
    if name == "lowest_mean":
        return lowest_difference(today, before, None, seed=seed, resamples=resamples, confidence=confidence)
    if name == "mean":
        return mean_difference(today[0], before[0], seed=seed, resamples=resamples, confidence=confidence)
    copies = pair_copies(name, today, before, np.random.default_rng(seed), enough(resamples, confidence))
    at = difference(name, today, before)
    found = corrected(copies, at, n, confidence)
    return wider(found, macro_difference(today, before, confidence)) if name == "macro_recall" else found


def difference(name: str, today: list[Array], before: list[Array]) -> float:
    """The figure itself."""
    value: Callable[..., float] = getattr(statistics, name)
    return value(*today) - value(*before)


def mean_difference(today: Array, before: Array, *, seed: int, resamples: int, confidence: float) -> Bounds:
    """By counts for zeros and ones, else by the mean of the differences; nothing where all figures are one and the same."""
    zeros_and_ones = bool(np.isin(today, (0.0, 1.0)).all() and np.isin(before, (0.0, 1.0)).all())
    if zeros_and_ones:
        broken, fixed = np.sum(today < before), np.sum(today > before)
        low, high = paired_share(np.array([broken]), np.array([fixed]), np.array([len(today)]), confidence)
        return float(low[0]), float(high[0])
    moved = today - before
    if np.ptp(moved) <= ROUNDING * np.abs(moved).max():  # none moves otherwise: so many could, by no more than figures lie apart
        _, most = exact_bounds(np.zeros(1), np.array([len(moved)]), 1 - confidence, 1 - confidence)
        reach = float(most[0]) * float(np.ptp(np.concatenate([today, before])))
        return (float(moved[0]) - reach, float(moved[0]) + reach) if reach else NOTHING
    return mean_bounds(moved, seed=seed, resamples=resamples, confidence=confidence)


def macro_difference(today: list[Array], before: list[Array], confidence: float) -> Bounds:
    """MOVER over the classes: each class's difference with its own bounds."""
    classes, place = np.unique(today[0], return_inverse=True)
    now, then = today[1] == today[0], before[1] == before[0]
    n = np.bincount(place)
    broken = np.bincount(place, weights=then & ~now, minlength=len(classes))
    fixed = np.bincount(place, weights=now & ~then, minlength=len(classes))
    low, high = paired_share(broken, fixed, n, confidence)
    at = (fixed - broken) / n
    down, up = np.sqrt(((at - low) ** 2).sum()) / len(n), np.sqrt(((high - at) ** 2).sum()) / len(n)
    return float(at.mean() - down), float(at.mean() + up)


def worst_difference(today: list[Array], before: list[Array], place: Array | None, confidence: float) -> Bounds:
    """The bounds of both sides, each with half the error."""
    half = 1 - (1 - confidence) / 2

    def side(rows: list[Array]) -> Bounds:
        if place is not None:
            return grouped_worst_recall(rows[0], rows[1], place, half)
        return worst_class_recall_bounds(rows[0], rows[1], seed=0, resamples=0, confidence=half)

    now, then = side(today), side(before)
    return apart(now, then)


def lowest_difference(
    today: list[Array], before: list[Array], groups: Array | None, *, seed: int, resamples: int, confidence: float
) -> Bounds:
    """The same of the lowest mean."""
    half = 1 - (1 - confidence) / 2

    def side(rows: list[Array]) -> Bounds:
        if groups is not None:
            return grouped_lowest_mean(rows, groups, seed=seed, resamples=resamples, confidence=half)
        return lowest_mean_bounds(*rows, seed=seed, resamples=resamples, confidence=half)

    return apart(side(today), side(before))


def apart(now: Bounds, then: Bounds) -> Bounds:
    """The bounds of a difference, from those of both sides."""
    if None in now or None in then:
        return NOTHING
    return float(now[0] or 0) - float(then[1] or 0), float(now[1] or 0) - float(then[0] or 0)


def pair_copies(name: str, today: list[Array], before: list[Array], rng: np.random.Generator, resamples: int) -> Array:
    """(R,) differences of resampled pairs."""
    n = len(today[0])
    if name not in PARTS:
        index = (rng.integers(0, n, n) for _ in range(resamples))
        return np.array([difference(name, [a[i] for a in today], [a[i] for a in before]) for i in index])
    (now, value), (then, _) = PARTS[name](*today), PARTS[name](*before)
    both, width = np.concatenate([now, then], axis=1), now.shape[1]
    copies = []
    for size in blocks(resamples, n):
        if n <= FEW_ROWS:
            sums = rng.multinomial(n, np.full(n, 1 / n), size=size) @ both
        else:
            sums = rng.multivariate_normal(both.sum(axis=0), n * np.cov(both.T, bias=True), size=size, method="eigh")
        copies.append(value(sums[:, :width]) - value(sums[:, width:]))
    return np.concatenate(copies)


def corrected(copies: Array, at: float, count: int, confidence: float) -> Bounds:
    """The wider of the percentiles and of the percentiles less twice the copies' bias."""
    low, high = ends(copies, count, confidence)
    if low is None or high is None:
        return NOTHING
    bias = 2 * (float(copies.mean()) - at)
    return min(low, low - bias), max(high, high - bias)


def grouped_difference(
    name: str, today: list[Array], before: list[Array], groups: Array, *, seed: int, resamples: int, confidence: float
) -> Bounds:
    """Bootstrap of whole groups, not narrower than for independent pairs."""
    _, place = np.unique(groups, return_inverse=True)
    count = int(place.max()) + 1
    if count < 2:
        return NOTHING
    if name == "worst_class_recall":
        return worst_difference(today, before, place, confidence)
    if name == "lowest_mean":
        return lowest_difference(today, before, groups, seed=seed, resamples=resamples, confidence=confidence)
    alone = paired_bounds(name, today, before, seed=seed, resamples=resamples, confidence=confidence)
    rng, size = np.random.default_rng(seed), enough(resamples, confidence)
    if name in PARTS:
        (now, value), (then, _) = PARTS[name](*today), PARTS[name](*before)
        sums, width = group_sums(np.concatenate([now, then], axis=1), place, count), now.shape[1]
        drawn = (rng.multinomial(count, np.full(count, 1 / count), size=part) @ sums for part in blocks(size, count))
        copies = np.concatenate([value(s[:, :width]) - value(s[:, width:]) for s in drawn])
    else:
        seeds = rng.integers(2**31)
        copies = np.subtract(*(group_copies(name, rows, place, np.random.default_rng(seeds), size) for rows in (today, before)))
    return wider(corrected(copies, difference(name, today, before), count, confidence), alone)


def wider(one: Bounds, other: Bounds) -> Bounds:
    """The lower of two lower bounds and the higher of two upper ones; what one of them lacks is the other's."""
    lows, highs = [b for b in (one[0], other[0]) if b is not None], [b for b in (one[1], other[1]) if b is not None]
    if not lows or not highs or any(not math.isfinite(b) for b in (*lows, *highs)):
        return NOTHING
    return min(lows), max(highs)
