"""Bounds of a statistic whose rows come in groups that belong together: the images of a patient, the frames of a film.

proportion: Clopper-Pearson at the effective number of samples (Korn and Graubard 1998): n divided by how much wider the spread
    between groups makes the variance, never above n, and corrected for the groups being few. Where all rows are equal the
    spread says nothing, and the groups are counted instead of the rows.
worst_class_recall, lowest_mean: the same for each class or column, put together as for independent rows.
the rest: bootstrap of whole groups, percentiles at the level that makes up for few groups (Hesterberg 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from auditor.bounds import statistics
from auditor.bounds.binomial import exact_bounds
from auditor.bounds.intervals import NOTHING, Bounds, blocks, enough, lowest
from auditor.bounds.sums import PARTS, group_sums
from auditor.types import Array


def grouped_bounds(name: str, rows: list[Array], groups: Array, *, seed: int, resamples: int, confidence: float) -> Bounds:
    """The one-sided bounds of a statistic; `rows`: its (n,) columns, `groups`: (n,) any equal entries belong together.

    Nothing for fewer than two groups, or where no copy differs from another.
    """
    _, place = np.unique(groups, return_inverse=True)
    count = int(place.max()) + 1 if len(place) else 0
    if count < 2:
        return NOTHING
    if name == "mean" and bool(np.isin(rows[0], (0.0, 1.0)).all()):
        return grouped_proportion(rows[0], place, confidence, confidence)
    if name == "worst_class_recall":
        return grouped_worst_recall(rows[0], rows[1], place, confidence)
    if name == "lowest_mean":
        return grouped_lowest_mean(rows, groups, seed=seed, resamples=resamples, confidence=confidence)
    copies = group_copies(name, rows, place, np.random.default_rng(seed), enough(resamples, confidence))
    return ends(copies, count, confidence)


def grouped_proportion(x: Array, place: Array, below: float, above: float) -> Bounds:
    """Korn and Graubard's bounds of the share of ones in x (n,), the lower one at confidence `below`, the upper at `above`."""
    from scipy.special import stdtrit

    n, used = len(x), np.unique(place)
    count = len(used)
    share = float(np.mean(x))
    if count < 2:
        return 0.0, 1.0
    if share in (0.0, 1.0):
        effective = np.array([float(count)] * 2)
    else:
        sums = group_sums(np.stack([x, np.ones(n)], axis=1).astype(np.float64), place, int(place.max()) + 1)[used]
        spread = count / (count - 1) * float(((sums[:, 0] - share * sums[:, 1]) ** 2).sum()) / n**2
        wider = max(1.0, spread / (share * (1 - share) / n))
        few = [(float(stdtrit(n - 1, c)) / float(stdtrit(count - 1, c))) ** 2 for c in (below, above)]
        effective = np.array([n / wider * factor for factor in few])
    low, _ = exact_bounds(share * effective[:1], effective[:1], 1 - below, 1 - below)
    _, high = exact_bounds(share * effective[1:], effective[1:], 1 - above, 1 - above)
    return float(low[0]), float(high[0])


def grouped_worst_recall(label: Array, predicted: Array, place: Array, confidence: float) -> Bounds:
    """The lowest lower bound of the classes, and the lowest upper one with its error shared out over them."""
    classes = np.unique(label)
    shared = 1 - (1 - confidence) / max(len(classes), 1)
    found = []
    for number in classes:
        of = label == number
        found.append(grouped_proportion((predicted[of] == number).astype(np.float64), place[of], confidence, shared))
    return min(low for low, _ in found if low is not None), min(high for _, high in found if high is not None)


def grouped_lowest_mean(rows: list[Array], groups: Array, *, seed: int, resamples: int, confidence: float) -> Bounds:
    """The lowest lower bound of the columns' means, and the lowest upper one with its error shared out over them."""
    shared = 1 - (1 - confidence) / max(len(rows), 1)
    sides = []
    for x in rows:
        low, _ = grouped_bounds("mean", [x], groups, seed=seed, resamples=resamples, confidence=confidence)
        _, high = grouped_bounds("mean", [x], groups, seed=seed, resamples=resamples, confidence=shared)
        sides.append((low, high))
    return lowest(sides)


def group_copies(name: str, rows: list[Array], place: Array, rng: np.random.Generator, resamples: int) -> Array:
    """(R,) the statistic of resampled groups."""
    count = int(place.max()) + 1
    if name not in PARTS:
        return np.array([drawn_rows(rows, place, count, rng, statistics.median) for _ in range(resamples)])
    vectors, value = PARTS[name](*rows)
    sums = group_sums(vectors, place, count)
    copies = [value(rng.multinomial(count, np.full(count, 1 / count), size=size) @ sums) for size in blocks(resamples, count)]
    return np.concatenate(copies)


def drawn_rows(rows: list[Array], place: Array, count: int, rng: np.random.Generator, value: Callable[[Array], float]) -> float:
    """A statistic that is no sum, of one resample of groups."""
    times = rng.multinomial(count, np.full(count, 1 / count))
    return value(np.repeat(rows[0], times[place]))


def ends(copies: Array, count: int, confidence: float) -> Bounds:
    """Percentiles of the copies at Hesterberg's level for `count` independent units."""
    from scipy.special import ndtr, stdtrit

    if float(np.ptp(copies)) == 0:
        return NOTHING
    level = float(ndtr(math.sqrt(count / (count - 1)) * float(stdtrit(count - 1, confidence))))
    low, high = np.quantile(copies, [1 - level, level])
    return float(low), float(high)
