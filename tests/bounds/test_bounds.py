from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from auditor import bounds
from auditor.bounds import clopper_pearson, exact, proportion, rebound, samples_to_decide, statistic
from auditor.types import Value

SIGMA = 4.0
"""Standard errors that a simulated rate may lie beyond its promise."""


def allowed(trials: int, rate: float = 0.05) -> float:
    return rate + SIGMA * math.sqrt(rate * (1 - rate) / trials)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_clopper_pearson_is_scipys_exact_interval(confidence: float) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 100, 5000, 200_000):
        for k in {0, n, *rng.integers(0, n + 1, 4).tolist()}:
            ci = stats.binomtest(k, n).proportion_ci(confidence_level=2 * confidence - 1, method="exact")
            assert clopper_pearson(k, n, confidence) == pytest.approx((ci.low, ci.high), abs=1e-10)


def test_clopper_pearson_at_the_ends_is_the_closed_form() -> None:
    assert clopper_pearson(10, 10) == pytest.approx((0.05**0.1, 1.0))
    assert clopper_pearson(0, 10) == pytest.approx((0.0, 1 - 0.05**0.1))
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_each_bound_of_clopper_pearson_errs_at_most_5_percent_for_every_rate() -> None:
    for n in (5, 20, 61):
        ends = np.array([clopper_pearson(k, n) for k in range(n + 1)])
        for p in np.linspace(0.001, 0.999, 201):
            chance = stats.binom.pmf(np.arange(n + 1), n, p)
            assert chance[ends[:, 0] > p].sum() <= 0.05 + 1e-12
            assert chance[ends[:, 1] < p].sum() <= 0.05 + 1e-12


@pytest.mark.parametrize(("k", "n", "confidence"), [(-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0), (1, 5, 0.0)])
def test_counts_that_cannot_be_are_refused(k: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        clopper_pearson(k, n, confidence)


def test_a_proportion_and_an_exact_figure_hold_what_a_gate_needs() -> None:
    value = proportion(8, 10, columns=("correct",))
    low, high = clopper_pearson(8, 10)
    assert value == Value(0.8, "proportion", "share", n=10, k=8, low=low, high=high, columns=("correct",))
    assert proportion(0, 0).value is None
    assert exact(0.25, "share", n=4) == Value(0.25, "exact", "share", n=4)
    assert exact(math.nan, "dB").value is None
    assert exact(math.inf, "dB").value is None


SHAPES = {
    "normal": (lambda rng, n: rng.normal(size=n), 0.0),
    "uniform": (lambda rng, n: rng.uniform(size=n), 0.5),
    "skewed": (lambda rng, n: rng.exponential(size=n), 1.0),
    "near one": (lambda rng, n: rng.beta(5, 0.5, n), 5 / 5.5),
}


@pytest.mark.parametrize(("name", "n"), [("normal", 8), ("normal", 60), ("uniform", 20), ("skewed", 120), ("near one", 120)])
def test_each_bound_of_the_mean_errs_about_5_percent(name: str, n: int) -> None:
    draw, mean = SHAPES[name]
    rng, trials = np.random.default_rng(1), 600
    found = [statistic("mean", {"x": draw(rng, n)}, unit="", seed=i, resamples=400) for i in range(trials)]
    above = np.mean([v.low is not None and v.low > mean for v in found])
    below = np.mean([v.high is not None and v.high < mean for v in found])
    assert max(above, below) <= allowed(trials, 0.065)
    assert min(above, below) >= 0.015  # nor is it idle


def test_the_mean_of_zeros_and_ones_is_a_proportion() -> None:
    x = np.array([1.0] * 9 + [0.0, np.nan])
    value = statistic("mean", {"x": x}, unit="share", seed=0)
    assert (value.value, value.n) == (0.9, 10)
    assert (value.low, value.high) == pytest.approx(clopper_pearson(9, 10))
    sure = statistic("mean", {"x": np.ones(10)}, unit="share", seed=0)
    assert sure.low == pytest.approx(0.05**0.1)  # ten of ten do not prove a share of 1


@pytest.mark.parametrize("x", [[0.3], [0.3] * 20])
def test_a_mean_without_spread_has_no_interval(x: list[float]) -> None:
    value = statistic("mean", {"x": np.array(x)}, unit="", seed=0)
    assert value.value == pytest.approx(0.3)
    assert (value.low, value.high) == (None, None)


@pytest.mark.parametrize("n", [5, 6, 23, 100, 1001])
def test_the_bounds_of_the_median_are_the_widest_order_statistics_that_hold(n: int) -> None:
    x = np.random.default_rng(n).permutation(n).astype(float)
    value = statistic("median", {"x": x}, unit="", seed=0)
    assert value.value == np.median(x)
    assert value.low is not None
    j = int(value.low) + 1
    assert stats.binom.cdf(j - 1, n, 0.5) <= 0.05 < stats.binom.cdf(j, n, 0.5)
    assert value.high == n - j


def test_too_few_values_bound_no_median() -> None:
    value = statistic("median", {"x": np.arange(4.0)}, unit="", seed=0)
    assert (value.value, value.low, value.high) == (1.5, None, None)


def labelled(rng: np.random.Generator, counts: list[int], rates: list[float]) -> dict[str, np.ndarray]:
    label = np.repeat(np.arange(len(counts)), counts)
    right = rng.uniform(size=len(label)) < np.repeat(rates, counts)
    return {"label": label, "predicted": np.where(right, label, (label + 1) % max(2, len(counts)))}


def test_recalls_by_hand() -> None:
    columns = {"label": np.array([0, 0, 0, 0, 2, 2, 5]), "predicted": np.array([0, 0, 0, 1, 2, 0, 5])}
    assert statistic("macro_recall", columns, unit="share", seed=0).value == pytest.approx((0.75 + 0.5 + 1) / 3)
    worst = statistic("worst_class_recall", columns, unit="share", seed=0)
    assert (worst.value, worst.n) == (0.5, 7)
    assert worst.low == pytest.approx(min(clopper_pearson(k, n)[0] for k, n in ((3, 4), (1, 2), (1, 1))))
    shared = 1 - 0.05 / 3
    assert worst.high == pytest.approx(min(clopper_pearson(k, n, shared)[1] for k, n in ((3, 4), (1, 2), (1, 1))))


def test_one_class_is_a_plain_proportion() -> None:
    columns = {"label": np.zeros(20), "predicted": np.array([0] * 15 + [1] * 5)}
    for name in ("macro_recall", "worst_class_recall"):
        value = statistic(name, columns, unit="share", seed=0)
        low, high = clopper_pearson(15, 20)
        assert value.low == pytest.approx(low, abs=0.03)
        assert value.high == pytest.approx(high, abs=0.03)
    assert statistic("worst_class_recall", columns, unit="share", seed=0).low == pytest.approx(clopper_pearson(15, 20)[0])


@pytest.mark.parametrize(
    ("counts", "rates"),
    [
        ([100] * 10, [0.97] * 10),
        ([30] * 10, [0.9] * 10),
        ([100] * 4, [0.5, 0.7, 0.9, 0.99]),
        ([4] * 60, [0.9] * 60),
        ([50], [0.8]),
    ],
)
def test_the_bounds_of_both_recalls_err_at_most_about_5_percent(counts: list[int], rates: list[float]) -> None:
    rng, trials = np.random.default_rng(2), 400
    for name, truth in (("macro_recall", float(np.mean(rates))), ("worst_class_recall", min(rates))):
        found = [statistic(name, labelled(rng, counts, rates), unit="share", seed=i, resamples=400) for i in range(trials)]
        assert np.mean([v.low > truth for v in found if v.low is not None]) <= allowed(trials)
        assert np.mean([v.high < truth for v in found if v.high is not None]) <= allowed(trials)
        assert all(v.low is not None and v.high is not None and v.low <= v.value <= v.high for v in found if v.value is not None)


def test_all_right_does_not_prove_that_all_are_right() -> None:
    columns = {"label": np.repeat(np.arange(5), 4), "predicted": np.repeat(np.arange(5), 4)}
    for name in ("macro_recall", "worst_class_recall"):
        value = statistic(name, columns, unit="share", seed=0)
        assert value.value == 1.0
        assert value.low is not None
        assert value.low < 0.9


def test_the_bounds_of_the_lowest_mean_err_at_most_5_percent() -> None:
    rng, trials, truths = np.random.default_rng(8), 300, (0.6, 0.62, 0.62, 0.7, 0.9)
    found = []
    for i in range(trials):
        columns = {f"c{k}": rng.binomial(5, p, 60) / 5 for k, p in enumerate(truths)}
        found.append(statistic("lowest_mean", columns, unit="share", seed=i, resamples=200))
    assert np.mean([v.low > 0.6 for v in found if v.low is not None]) <= allowed(trials)
    assert np.mean([v.high < 0.6 for v in found if v.high is not None]) <= allowed(trials)
    alone = [statistic("mean", {name: columns[name]}, unit="share", seed=trials - 1, resamples=200) for name in columns]
    assert found[-1].value == min(v.value for v in alone if v.value is not None)
    assert found[-1].low == min(v.low for v in alone if v.low is not None)
    assert found[-1].high > min(v.high for v in alone if v.high is not None)  # the upper one is corrected for the choice
    assert statistic("lowest_mean", {"a": np.full(9, 0.4), "b": np.arange(9) / 9}, unit="", seed=0).low is None


def brute_ece(confidence: np.ndarray, correct: np.ndarray) -> float:
    total = 0.0
    for b in range(15):
        held = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if held.any():
            total += held.mean() * abs(correct[held].mean() - confidence[held].mean())
    return total


def test_ece_by_hand_and_by_brute_force() -> None:
    by_hand = {"confidence": np.array([0.9, 0.9, 0.5, 0.5]), "correct": np.array([1.0, 0.0, 1.0, 1.0])}
    assert statistic("ece", by_hand, unit="share", seed=0).value == pytest.approx(0.5 * abs(0.5 - 0.9) + 0.5 * abs(1 - 0.5))
    rng = np.random.default_rng(3)
    for _ in range(5):
        confidence = rng.uniform(0.01, 1, 300)
        correct = (rng.uniform(size=300) < confidence**2).astype(float)
        value = statistic("ece", {"confidence": confidence, "correct": correct}, unit="share", seed=1)
        assert value.value == pytest.approx(brute_ece(confidence, correct))
        assert value.low is not None
        assert value.high is not None
        assert 0 <= value.low <= value.value <= value.high <= 1
    assert statistic("ece", {"confidence": np.zeros(3), "correct": np.zeros(3)}, unit="share", seed=0).value == 0.0


@pytest.mark.parametrize("shift", [0.04, 0.1])
def test_the_bounds_of_ece_err_at_most_about_5_percent(shift: float) -> None:
    rng, trials, n = np.random.default_rng(4), 300, 800
    many = rng.beta(6, 1.5, 400_000)
    truth = brute_ece(many, np.maximum(many - shift, 0))  # its exact error: correct has the chance confidence - shift
    found = []
    for i in range(trials):
        confidence = rng.beta(6, 1.5, n)
        correct = (rng.uniform(size=n) < confidence - shift).astype(float)
        found.append(statistic("ece", {"confidence": confidence, "correct": correct}, unit="share", seed=i, resamples=300))
    assert np.mean([v.low > truth for v in found if v.low is not None]) <= allowed(trials)
    assert np.mean([v.high < truth for v in found if v.high is not None]) <= allowed(trials)


def test_rows_that_were_not_looked_at_are_left_out() -> None:
    label = np.array([0.0, 1.0, -1.0, np.nan, 1.0])
    predicted = np.array([0, 1, 1, 1, 0])
    for name in ("macro_recall", "worst_class_recall"):
        value = statistic(name, {"label": label, "predicted": predicted}, unit="share", seed=0)
        assert value == statistic(name, {"label": np.array([0, 1, 1]), "predicted": np.array([0, 1, 0])}, unit="share", seed=0)
        assert value.n == 3
    nothing = statistic("mean", {"x": np.full(3, np.nan)}, unit="", seed=0)
    assert (nothing.value, nothing.n, nothing.low) == (None, 0, None)
    assert statistic("ece", {"confidence": np.array([0.5]), "correct": np.array([np.nan])}, unit="", seed=0).value is None
    assert statistic("mean", {"x": np.array([1.0, np.inf])}, unit="", seed=0).value is None


def test_a_seed_gives_the_same_bounds() -> None:
    rng = np.random.default_rng(5)
    x = rng.uniform(size=200)
    columns = {
        "mean": {"x": x},
        "macro_recall": labelled(rng, [40] * 5, [0.8] * 5),
        "ece": {"confidence": x, "correct": (x > 0.5).astype(float)},
    }
    for name, given in columns.items():
        first = statistic(name, given, unit="", seed=7)
        assert first == statistic(name, given, unit="", seed=7)
        assert first.columns == tuple(given)
        assert (first.seed, first.statistic, first.kind) == (7, name, "statistic")
    assert statistic("mean", {"x": x}, unit="", seed=7).low != statistic("mean", {"x": x}, unit="", seed=8).low


def test_an_unknown_statistic_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of mean, median"):
        statistic("mode", {"x": np.ones(3)}, unit="", seed=0)


def test_a_gate_computes_the_bounds_that_the_probe_stored() -> None:
    rng = np.random.default_rng(6)
    columns = {"a.x": rng.uniform(size=80), **labelled(rng, [30] * 4, [0.7] * 4)}
    for name, used in (("mean", ["a.x"]), ("median", ["a.x"]), ("macro_recall", ["label", "predicted"])):
        value = statistic(name, {c: columns[c] for c in used}, unit="", seed=9)
        assert rebound(value, columns, 0.95) == (value.low, value.high)
        wide = rebound(value, columns, 0.99)
        assert wide[0] is not None
        assert wide[1] is not None
        assert value.low is not None
        assert value.high is not None
        assert wide[0] <= value.low < value.high <= wide[1]
    share = proportion(30, 40)
    assert rebound(share, {}, 0.99) == clopper_pearson(30, 40, 0.99)


def test_stored_bounds_serve_only_without_columns_at_their_own_confidence() -> None:
    stored = Value(0.5, "statistic", "", n=9, low=0.4, high=0.6, statistic="mean", columns=("gone",), seed=0)
    assert rebound(stored, {}, 0.95) == (0.4, 0.6)
    assert rebound(stored, {}, 0.99) == (None, None)
    assert rebound(Value(0.5, "statistic", "", low=math.nan, high=math.inf), {}, 0.95) == (None, None)
    assert rebound(Value(0.5, "proportion", "share", n=None, k=None, low=0.4, high=0.6), {}, 0.95) == (None, None)
    assert rebound(Value(0.5, "proportion", "share", n=4, k=9, low=0.4, high=0.6), {}, 0.95) == (None, None)
    assert rebound(exact(0.5, "share"), {}, 0.95) == (None, None)


@pytest.mark.parametrize(("k", "n", "line"), [(80, 100, 0.75), (80, 100, 0.85), (11, 100, 0.12), (19, 20, 0.9), (0, 10, 0.1)])
def test_samples_to_decide_is_the_least_n_that_decides(k: int, n: int, line: float) -> None:
    needed, rate = samples_to_decide(proportion(k, n), line), k / n
    assert needed is not None

    def decided(count: float) -> bool:
        if rate > line:
            return bool(stats.beta.ppf(0.05, rate * count, count - rate * count + 1) >= line)
        return bool(stats.beta.ppf(0.95, rate * count + 1, count - rate * count) < line)

    assert decided(needed)
    assert not any(decided(count) for count in np.linspace(n, needed - 1, 300).astype(int))
    low, high = clopper_pearson(round(rate * needed * 1.1), round(needed * 1.1))
    assert low >= line or high < line


def test_samples_to_decide_says_nothing_where_nothing_can_be_said() -> None:
    assert samples_to_decide(proportion(80, 100), 0.8) is None
    assert samples_to_decide(proportion(0, 0), 0.8) is None
    assert samples_to_decide(exact(0.5, ""), 0.8) is None
    assert samples_to_decide(proportion(800_001, 1_000_000), 0.8) is None
    assert samples_to_decide(Value(0.5, "statistic", "", n=10), 0.8) is None
    assert samples_to_decide(Value(math.nan, "statistic", "", n=10, low=0.1, high=0.9), 0.8) is None
    assert samples_to_decide(Value(0.5, "statistic", "", n=10, low=0.25, high=0.75), 0.375) == 40


def test_no_statistic_stands_without_its_bounds() -> None:
    from auditor.bounds.intervals import INTERVALS

    assert set(INTERVALS) == set(bounds.STATISTICS)


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_the_bounds_of_ece_of_many_samples_are_those_of_few_drawn_the_long_way(
    shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from auditor.bounds import intervals

    rng, n = np.random.default_rng(0), 21_000
    confidence = rng.beta(6, 1.5, n)
    correct = (rng.uniform(size=n) < np.maximum(confidence - shift, 0)).astype(float)
    short = intervals.ece_bounds(confidence, correct, seed=0, resamples=1000, confidence=0.95)
    monkeypatch.setattr(intervals, "MANY", n)
    long = intervals.ece_bounds(confidence, correct, seed=0, resamples=1000, confidence=0.95)
    assert short == pytest.approx(long, abs=3e-4)
