from __future__ import annotations

import math

import numpy as np
import pytest

from auditor.bounds import bounds_of, clopper_pearson, grouped_bounds, statistics
from auditor.bounds.groups import grouped_proportion
from auditor.bounds.sums import PARTS


def clustered(rng: np.random.Generator, groups: int, size: int, rate: float, tie: float) -> tuple[np.ndarray, np.ndarray]:
    """Zeros and ones of mean `rate` in groups; with chance `tie` an image copies its group's own answer."""
    place = np.repeat(np.arange(groups), size)
    own = (rng.uniform(size=groups) < rate)[place]
    alone = rng.uniform(size=len(place)) < rate
    return np.where(rng.uniform(size=len(place)) < tie, own, alone).astype(float), place


@pytest.mark.parametrize(
    ("groups", "size", "rate", "tie"), [(60, 20, 0.9, 0.6), (25, 8, 0.7, 0.9), (200, 3, 0.95, 0.5), (40, 10, 0.8, 0.0)]
)
def test_each_bound_of_a_grouped_share_errs_about_5_percent(groups: int, size: int, rate: float, tie: float) -> None:
    rng, trials, miss, naive = np.random.default_rng(0), 600, [0, 0], 0
    for _ in range(trials):
        x, place = clustered(rng, groups, size, rate, tie)
        low, high = grouped_proportion(x, place, 0.95, 0.95)
        assert low is not None
        assert high is not None
        miss[0] += low > rate
        miss[1] += high < rate
        naive += clopper_pearson(int(x.sum()), len(x))[1] < rate
    assert max(miss) / trials <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / trials)
    if tie > 0.5:
        assert naive / trials > 0.1, "taken as independent, the same images promise too much"


def test_images_that_are_each_their_own_group_are_nearly_independent() -> None:
    x = (np.random.default_rng(0).uniform(size=400) < 0.85).astype(float)
    assert grouped_proportion(x, np.arange(400), 0.95, 0.95) == pytest.approx(clopper_pearson(int(x.sum()), 400), abs=1e-3)


def test_where_all_are_right_the_groups_are_counted() -> None:
    assert grouped_proportion(np.ones(300), np.repeat(np.arange(10), 30), 0.95, 0.95) == pytest.approx(clopper_pearson(10, 10))
    assert grouped_proportion(np.ones(300), np.zeros(300, dtype=int), 0.95, 0.95) == (0.0, 1.0)


def test_fewer_than_two_groups_bound_nothing() -> None:
    x = np.array([0.0, 1.0, 1.0])
    assert grouped_bounds("mean", [x], np.zeros(3), seed=0, resamples=10, confidence=0.95) == (None, None)
    assert grouped_bounds("mean", [x[:0]], np.zeros(0), seed=0, resamples=10, confidence=0.95) == (None, None)


def test_a_mean_of_equal_groups_has_the_interval_of_its_group_means() -> None:
    rng = np.random.default_rng(0)
    means, size = rng.normal(size=50), 10
    x = np.repeat(means, size)
    low, high = grouped_bounds("mean", [x], np.repeat(np.arange(50), size), seed=0, resamples=4000, confidence=0.95)
    expected = 1.677 * means.std(ddof=1) / math.sqrt(50)  # t of 49 degrees at 0.95
    assert low == pytest.approx(means.mean() - expected, abs=0.03)
    assert high == pytest.approx(means.mean() + expected, abs=0.03)


@pytest.mark.parametrize("name", list(PARTS))
def test_a_statistic_of_sums_is_the_statistic(name: str) -> None:
    rng, n = np.random.default_rng(0), 300
    if name == "mean":
        rows = [rng.normal(size=n)]
    elif name == "ece":
        rows = [rng.uniform(0.01, 1, n), rng.integers(0, 2, n).astype(float)]
    elif name == "lowest_mean":
        rows = list(rng.normal(size=(3, n)))
    else:
        rows = [rng.integers(0, 7, n), rng.integers(0, 7, n)]
    vectors, value = PARTS[name](*rows)
    drawn = rng.integers(0, n, (5, n))
    counts = np.stack([np.bincount(row, minlength=n) for row in drawn])
    expected = [getattr(statistics, name)(*(column[row] for column in rows)) for row in drawn]
    assert value(counts @ vectors) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["mean", "median", "macro_recall", "worst_class_recall", "ece", "lowest_mean"])
def test_groups_that_agree_widen_every_statistic(name: str) -> None:
    rng, n, size = np.random.default_rng(0), 600, 20
    place = np.repeat(np.arange(n // size), size)
    shift = rng.normal(size=n // size)[place]
    right = (rng.uniform(size=n) < 1 / (1 + np.exp(-1.5 - 1.5 * shift))).astype(float)
    label = rng.integers(0, 3, n)
    rows = {
        "mean": [shift + 0.1 * rng.normal(size=n)],
        "median": [shift + 0.1 * rng.normal(size=n)],
        "macro_recall": [label, np.where(right > 0, label, (label + 1) % 3)],
        "worst_class_recall": [label, np.where(right > 0, label, (label + 1) % 3)],
        "ece": [np.full(n, 0.8) + 0.001 * label, right],
        "lowest_mean": [shift + 0.1 * rng.normal(size=n), shift + 0.1 * rng.normal(size=n)],
    }[name]
    alone = bounds_of(name, rows, seed=0, confidence=0.95)
    together = bounds_of(name, rows, seed=0, confidence=0.95, groups=place)
    value = getattr(statistics, name)(*rows)
    assert None not in (*alone, *together)
    assert together[1] - together[0] > 1.2 * (alone[1] - alone[0])  # type: ignore[operator]
    assert together[0] <= value <= together[1]  # type: ignore[operator]
