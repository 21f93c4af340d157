"""Bounds of the statistics, each one-sided at `confidence`. Deterministic for a seed; (None, None) where nothing can be said.

mean: bootstrap, BCa (Efron 1987) at the level that makes up for a small n (Hesterberg 2015). In simulation it errs nearer to
    5 % a side than percentiles do, most of all on skewed columns, and stays within the data, which bootstrap-t does not. A
    column of 0 and 1 is a proportion: Clopper-Pearson.
median: order statistics, exact for any distribution; a bootstrapped median jumps between a few values.
macro_recall: the wider of the percentile bootstrap and of MOVER (Zou and Donner 2008) over Clopper-Pearson. The first is too
    sure where a class shows no error (all right: no spread), the second where classes have a sample or two.
worst_class_recall: low is the lowest Clopper-Pearson lower bound (intersection-union, Berger 1982: no correction is due);
    high is the lowest upper bound at error (1 - confidence) / classes (Bonferroni, which is the first step of Holm). So a
    rule passes where every class is shown good and fails where one is shown bad. A bootstrapped minimum would be biased: the
    lowest of many recalls is low by chance, and its copies are lower.
lowest_mean: likewise, over the bounds of the columns' means.
ece: high is the percentile bootstrap; the estimate is biased upwards and its copies twice, so this bound is safe. low takes
    the sign of each bin's gap from one half of the samples and its size from the other, both ways: such a sum is on average
    at most the true error, while the bootstrap's low end exceeds it in most samples of a well-calibrated model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from auditor.bounds import statistics
from auditor.bounds.binomial import exact_bounds
from auditor.types import Array

Bounds: TypeAlias = tuple[float | None, float | None]
NOTHING: Bounds = (None, None)
NUMBERS = 1 << 21
"""Random numbers drawn at a time: bounds the memory."""
MOST_RESAMPLES = 20_000
MANY = 20_000
"""Samples above which a sum of draws is taken as normal."""


def enough(resamples: int, confidence: float) -> int:
    """At least twenty resamples beyond the bound."""
    return min(MOST_RESAMPLES, max(resamples, math.ceil(20 / (1 - confidence))))


def blocks(resamples: int, width: int) -> Iterator[int]:
    """`resamples` in blocks of about NUMBERS / width."""
    size = max(1, NUMBERS // max(width, 1))
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def mean_copies(x: Array, rng: np.random.Generator, resamples: int) -> Array:
    """(R,) means of bootstrap samples of x (n,)."""
    n, kind = len(x), np.int32 if len(x) < 2**31 else np.int64
    return np.concatenate([x[rng.integers(0, n, (rows, n), dtype=kind)].mean(axis=1) for rows in blocks(resamples, n)])


def mean_bounds(x: Array, *, seed: int, resamples: int, confidence: float) -> Bounds:
    """BCa at Hesterberg's level; exact for a column of 0 and 1; nothing for one value, or for a column without spread."""
    from scipy.special import ndtr, ndtri, stdtrit

    x, n = np.asarray(x, dtype=np.float64), len(x)
    if n and bool(np.isin(x, (0.0, 1.0)).all()):
        low, high = exact_bounds(np.array([x.sum()]), np.array([n]), 1 - confidence, 1 - confidence)
        return float(low[0]), float(high[0])
    if n < 2 or not np.isfinite(x).all() or np.ptp(x) == 0:
        return NOTHING
    center = x.mean()
    copies = mean_copies(x, np.random.default_rng(seed), enough(resamples, confidence))
    share = (np.mean(copies < center) + np.mean(copies <= center)) / 2
    bias = float(ndtri(np.clip(share, 0.5 / len(copies), 1 - 0.5 / len(copies))))
    gap = x - center
    skew = float((gap**3).sum() / (6 * (gap**2).sum() ** 1.5))
    z = math.sqrt(n / (n - 1)) * float(stdtrit(n - 1, confidence))

    def at(side: float) -> float:
        moved = bias + side
        level = float(ndtr(bias + moved / max(1 - skew * moved, 1e-6)))
        return float(np.quantile(copies, level))

    return at(-z), at(z)


def median_bounds(x: Array, *, seed: int, resamples: int, confidence: float) -> Bounds:
    """The order statistics between which the median lies: P(Bin(n, 1/2) < j) <= 1 - confidence. Nothing for n < 5 at 0.95."""
    from scipy.special import bdtr

    n = len(x)
    j = int(np.searchsorted(bdtr(np.arange(n // 2), n, 0.5), 1 - confidence, side="right")) if n > 1 else 0
    if j < 1:
        return NOTHING
    ordered = np.sort(np.asarray(x, dtype=np.float64))
    return float(ordered[j - 1]), float(ordered[n - j])


def macro_recall_bounds(label: Array, predicted: Array, *, seed: int, resamples: int, confidence: float) -> Bounds:
    """The wider of bootstrap and MOVER. Drawing counts of (class, right or wrong) is the same as drawing samples."""
    _, count, right = statistics.tally(label, predicted)
    if not len(count):
        return NOTHING
    rates, classes = right / count, len(count)
    low, high = exact_bounds(right, count, 1 - confidence, 1 - confidence)
    value = float(rates.mean())
    mover = (
        value - math.sqrt(float(((rates - low) ** 2).sum())) / classes,
        value + math.sqrt(float(((high - rates) ** 2).sum())) / classes,
    )
    rng, n = np.random.default_rng(seed), int(count.sum())
    cells, copies = np.concatenate([right, count - right]) / n, []
    for rows in blocks(enough(resamples, confidence), 2 * classes):
        drawn = rng.multinomial(n, cells, size=rows)
        total = drawn[:, :classes] + drawn[:, classes:]
        copies.append((drawn[:, :classes] / np.maximum(total, 1)).sum(axis=1) / (total > 0).sum(axis=1))
    ends = np.quantile(np.concatenate(copies), [1 - confidence, confidence])
    return max(0.0, min(mover[0], float(ends[0]))), min(1.0, max(mover[1], float(ends[1])))


def worst_class_recall_bounds(label: Array, predicted: Array, *, seed: int, resamples: int, confidence: float) -> Bounds:
    """Exact: the lowest lower bound, and the lowest upper bound with its error shared out over the classes."""
    _, count, right = statistics.tally(label, predicted)
    if not len(count):
        return NOTHING
    low, high = exact_bounds(right, count, 1 - confidence, (1 - confidence) / len(count))
    return float(low.min()), float(high.min())


def lowest(sides: Sequence[Bounds]) -> Bounds:
    """The lowest of both ends, nothing where one is missing."""
    lows, highs = ([side[end] for side in sides] for end in (0, 1))
    if not sides or None in lows or None in highs:
        return NOTHING
    return min(float(b) for b in lows if b is not None), min(float(b) for b in highs if b is not None)


def lowest_mean_bounds(*columns: Array, seed: int, resamples: int, confidence: float) -> Bounds:
    """The lowest lower bound, and the lowest upper bound with its error shared out over the columns."""
    shared = 1 - (1 - confidence) / max(len(columns), 1)
    sides = []
    for x in columns:
        low, _ = mean_bounds(x, seed=seed, resamples=resamples, confidence=confidence)
        _, high = mean_bounds(x, seed=seed, resamples=resamples, confidence=shared)
        sides.append((low, high))
    return lowest(sides)


def ece_bounds(confidence_of: Array, correct: Array, *, seed: int, resamples: int, confidence: float) -> Bounds:
    """low by crossed halves, high by percentiles; see above. Nothing for n < 2."""
    from scipy.special import stdtrit

    n = len(confidence_of)
    if n < 2:
        return NOTHING
    bins = statistics.bins_of(confidence_of)
    gap = statistics.gaps(confidence_of, correct)
    rng = np.random.default_rng(seed)
    half = rng.permutation(n) % 2
    sums = np.bincount(half * statistics.BINS + bins, weights=gap, minlength=2 * statistics.BINS).reshape(2, -1)
    crossed = np.sign(sums)[1 - half, bins] * gap
    error = float(crossed.std(ddof=1)) / math.sqrt(n)
    low = max(0.0, float(crossed.mean()) - float(stdtrit(n - 1, confidence)) * error)
    copies = ece_copies(bins, gap, rng, enough(resamples, confidence))
    value = float(np.abs(sums.sum(axis=0)).sum()) / n
    return min(low, value), max(value, float(np.quantile(copies, confidence)))


def ece_copies(bins: Array, gap: Array, rng: np.random.Generator, resamples: int) -> Array:
    """(R,) calibration errors of bootstrap samples: first how many fall into each bin, then which of its samples.

    Above MANY samples each bin's sum of drawn gaps is taken from the normal distribution of the same mean and variance, given
    how many were drawn: by then it has that shape, and a check of 50,000 images stays under a second.
    """
    n = len(gap)
    if n > MANY:
        return many_ece_copies(bins, gap, rng, resamples)
    members = [gap[bins == b] for b in range(statistics.BINS)]
    share = np.array([len(m) for m in members]) / n
    copies = []
    for rows in blocks(resamples, n):
        drawn, total = rng.multinomial(n, share, size=rows), np.zeros(rows)
        for b, member in enumerate(members):
            if len(member):
                ends = np.cumsum(drawn[:, b])
                sums = np.concatenate([[0.0], np.cumsum(member[rng.integers(0, len(member), int(ends[-1]))])])[ends]
                total += np.abs(np.diff(sums, prepend=0.0))
        copies.append(total / n)
    return np.concatenate(copies)


def many_ece_copies(bins: Array, gap: Array, rng: np.random.Generator, resamples: int) -> Array:
    """(R,) as above; a bin of few samples moves the whole by little."""
    n, held = len(gap), np.bincount(bins, minlength=statistics.BINS)
    at = np.bincount(bins, weights=gap, minlength=statistics.BINS) / np.maximum(held, 1)
    spread = np.bincount(bins, weights=gap**2, minlength=statistics.BINS) / np.maximum(held, 1) - at**2
    drawn = rng.multinomial(n, held / n, size=resamples)
    sums = drawn * at + np.sqrt(drawn * np.maximum(spread, 0)) * rng.standard_normal(drawn.shape)
    return np.asarray(np.abs(sums).sum(axis=1) / n)


INTERVALS: Mapping[str, Callable[..., Bounds]] = {
    "mean": mean_bounds,
    "median": median_bounds,
    "macro_recall": macro_recall_bounds,
    "worst_class_recall": worst_class_recall_bounds,
    "ece": ece_bounds,
    "lowest_mean": lowest_mean_bounds,
}
"""Name of a statistic -> its bounds: (the same (n,) arrays, seed, resamples, confidence) -> (low, high)."""
