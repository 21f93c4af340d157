from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import gammaln, xlogy

from auditor.bounds import clopper_pearson, mcnemar, paired_bounds, statistics
from auditor.bounds.paired import paired_share


@pytest.mark.parametrize("n", [1, 5, 19, 20, 60, 120])
def test_each_bound_of_a_paired_share_errs_at_most_5_percent_for_every_truth(n: int) -> None:
    """By enumeration of all outcomes of n pairs, over a grid of true losses and gains."""
    broken, fixed = (part.ravel() for part in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    some = broken + fixed <= n
    broken, fixed = broken[some], fixed[some]
    same = n - broken - fixed
    low, high = paired_share(broken, fixed, np.full(len(broken), n), 0.95)
    ways = gammaln(n + 1) - gammaln(broken + 1) - gammaln(fixed + 1) - gammaln(same + 1)
    for truth in np.linspace(-0.6, 0.6, 25):
        for turned in np.linspace(0.002, 1, 40):
            if turned < abs(truth):
                continue
            lost, won = (turned - truth) / 2, (turned + truth) / 2
            chance = np.exp(ways + xlogy(broken, lost) + xlogy(fixed, won) + xlogy(same, max(1 - turned, 0)))
            assert chance[low > truth + 1e-12].sum() <= 0.05 + 1e-9
            assert chance[high < truth - 1e-12].sum() <= 0.05 + 1e-9


def test_its_bounds_are_not_idle() -> None:
    """For many pairs they come near the normal ones: a margin of a point is decided by some thousand pairs."""
    low, high = (float(end[0]) for end in paired_share(np.array([30]), np.array([25]), np.array([2000]), 0.95))
    normal = 1.645 * math.sqrt(55 / 2000**2 - (5 / 2000) ** 2 / 2000)
    assert low == pytest.approx(-5 / 2000 - normal, abs=0.001)
    assert high == pytest.approx(-5 / 2000 + normal, abs=0.001)


def test_where_no_pair_turns_it_is_what_none_of_n_shows() -> None:
    low, high = paired_share(np.array([0]), np.array([0]), np.array([300]), 0.95)
    worst = clopper_pearson(0, 300)[1]
    assert (float(low[0]), float(high[0])) == pytest.approx((-worst, worst))


def test_the_sides_are_mirrored_and_no_pair_says_nothing() -> None:
    low, high = paired_share(np.array([7, 3, 0]), np.array([3, 7, 0]), np.array([90, 90, 0]), 0.95)
    assert low[0] == pytest.approx(-high[1])
    assert high[0] == pytest.approx(-low[1])
    assert (low[2], high[2]) == (-1.0, 1.0)


@pytest.mark.parametrize(("broken", "fixed"), [(0, 0), (5, 0), (12, 3), (3, 12), (40, 41), (400, 300)])
def test_mcnemar_is_scipys_exact_test(broken: int, fixed: int) -> None:
    expected = stats.binomtest(broken, broken + fixed).pvalue if broken + fixed else 1.0
    assert mcnemar(broken, fixed) == pytest.approx(expected)


def two_models(
    rng: np.random.Generator, n: int, classes: int, rates: tuple[float, float]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Label and answers of two models that share half of their mistakes."""
    label = rng.integers(0, classes, n)
    hard = rng.uniform(size=n)
    found = []
    for rate in rates:
        right = np.where(rng.uniform(size=n) < 0.5, hard, rng.uniform(size=n)) < rate
        found.append([label, np.where(right, label, (label + 1) % classes)])
    return found[0], found[1]


@pytest.mark.parametrize("name", ["macro_recall", "worst_class_recall", "mean"])
def test_bounds_of_a_difference_hold_the_truth_in_most_samples(name: str) -> None:
    rng, trials, miss = np.random.default_rng(1), 300, [0, 0]
    for trial in range(trials):
        today, before = two_models(rng, 400, 5, (0.84, 0.88))
        if name == "mean":
            today, before = ([(side[0] == side[1]).astype(float)] for side in (today, before))
        low, high = paired_bounds(name, today, before, seed=trial, resamples=200, confidence=0.95)
        assert low is not None
        assert high is not None
        miss[0] += low > -0.04
        miss[1] += high < -0.04
    most = trials * 0.05 + 4 * math.sqrt(trials * 0.05 * 0.95)
    assert max(miss) <= most
    assert name == "worst_class_recall" or max(miss) >= 1  # it is safe and wide; the others are not idle


def test_a_mean_of_numbers_is_bounded_by_its_differences() -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(size=200)
    today = before + 0.1 + 0.01 * rng.normal(size=200)
    low, high = paired_bounds("mean", [today], [before], seed=0, resamples=400, confidence=0.95)
    assert low is not None
    assert high is not None
    assert 0.09 < low < 0.1 < high < 0.11  # the spread of the images themselves, 1, is gone


def test_ece_is_compared_on_the_same_images() -> None:
    rng, n = np.random.default_rng(0), 3000
    confidence = rng.beta(6, 1.5, n)
    correct = (rng.uniform(size=n) < confidence).astype(float)
    bold = np.clip(confidence + 0.08, 0, 1)
    low, high = paired_bounds("ece", [bold, correct], [confidence, correct], seed=0, resamples=400, confidence=0.95)
    at = statistics.ece(bold, correct) - statistics.ece(confidence, correct)
    assert low is not None
    assert high is not None
    assert 0 < low < at < high


def test_the_normal_sums_of_many_pairs_are_those_of_drawn_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    from auditor.bounds import paired

    rng, n = np.random.default_rng(0), 3000
    confidence = rng.beta(6, 1.5, n)
    correct = (rng.uniform(size=n) < confidence - 0.05).astype(float)
    bold = np.clip(confidence + 0.05, 0, 1)
    drawn = paired_bounds("ece", [bold, correct], [confidence, correct], seed=0, resamples=2000, confidence=0.95)
    monkeypatch.setattr(paired, "FEW_ROWS", 0)
    normal = paired_bounds("ece", [bold, correct], [confidence, correct], seed=0, resamples=2000, confidence=0.95)
    assert normal == pytest.approx(drawn, abs=0.002)


def test_groups_widen_a_difference_and_never_narrow_it() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 25)
    before = (rng.uniform(size=1000) < 0.9).astype(float)
    lost = np.isin(groups, [3, 7, 11])
    today = np.where(lost, 0.0, before)  # three whole patients are lost
    alone = paired_bounds("mean", [today], [before], seed=0, resamples=500, confidence=0.95)
    together = paired_bounds("mean", [today], [before], groups=groups, seed=0, resamples=500, confidence=0.95)
    assert alone[0] is not None
    assert together[0] is not None
    assert together[0] < alone[0] - 0.02
    scattered = paired_bounds("mean", [today], [before], groups=np.arange(1000), seed=0, resamples=500, confidence=0.95)
    assert scattered == pytest.approx(alone, abs=0.004)
    assert paired_bounds("mean", [today], [before], groups=np.zeros(1000), seed=0, resamples=9, confidence=0.95) == (None, None)


@pytest.mark.parametrize("name", ["macro_recall", "worst_class_recall", "ece", "median", "lowest_mean"])
def test_every_statistic_is_bounded_with_and_without_groups(name: str) -> None:
    rng, n = np.random.default_rng(0), 240
    if name == "median":
        x = rng.normal(size=n)
        sides = ([x + 0.5], [x])
    elif name == "lowest_mean":
        x = rng.normal(size=(2, n))
        sides = ([x[0] + 0.5, x[1]], [x[0], x[1]])
    elif name == "ece":
        sides = ([rng.uniform(size=n), rng.integers(0, 2, n).astype(float)], [rng.uniform(size=n), rng.integers(0, 2, n) * 1.0])
    else:
        sides = two_models(rng, n, 4, (0.7, 0.9))
    for groups in (None, np.arange(n) // 6):
        low, high = paired_bounds(name, *sides, groups=groups, seed=0, resamples=100, confidence=0.95)
        assert low is not None
        assert high is not None
        value = getattr(statistics, name)(*sides[0]) - getattr(statistics, name)(*sides[1])
        assert low <= value <= high


def test_figures_that_do_not_move_still_have_an_interval() -> None:
    x = np.random.default_rng(0).uniform(size=300)
    low, high = paired_bounds("mean", [x], [x], seed=0, resamples=100, confidence=0.95)
    worst = clopper_pearson(0, 300)[1] * (x.max() - x.min())
    assert (low, high) == pytest.approx((-worst, worst))
    low, high = paired_bounds("mean", [x + 1], [x], seed=0, resamples=100, confidence=0.95)
    assert low is not None
    assert low < 1
    assert paired_bounds("mean", [np.full(9, 0.3)], [np.full(9, 0.3)], seed=0, resamples=9, confidence=0.95) == (None, None)
