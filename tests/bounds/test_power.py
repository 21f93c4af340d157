from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from auditor.bounds import clopper_pearson, normal_power, share_power
from auditor.bounds.power import thresholds


@pytest.mark.parametrize("least", [True, False])
@pytest.mark.parametrize(("n", "line"), [(20, 0.9), (137, 0.8), (1000, 0.05), (8, 0.999), (8, 0.001)])
def test_the_curve_of_a_share_is_the_sum_over_all_counts(n: int, line: float, least: bool) -> None:
    found = share_power(n, line, least=least, confidence=0.95)
    ends = np.array([clopper_pearson(k, n) for k in range(n + 1)])
    for truth, good, bad in zip(found["truth"], found["pass"], found["fail"], strict=True):
        chance = stats.binom.pmf(np.arange(n + 1), n, truth)
        passes, fails = (ends[:, 0] >= line, ends[:, 1] < line) if least else (ends[:, 1] <= line, ends[:, 0] > line)
        assert good == pytest.approx(chance[passes].sum(), abs=1e-4)
        assert bad == pytest.approx(chance[fails].sum(), abs=1e-4)


def test_at_the_line_it_errs_at_most_5_percent_and_beyond_it_it_is_sure() -> None:
    found = share_power(2000, 0.8, least=True, confidence=0.95)
    middle = int(np.argmin(np.abs(np.array(found["truth"]) - 0.8)))
    assert max(found["pass"][middle], found["fail"][middle]) <= 0.05
    assert 0.8 < found["sure_pass"] < 0.84
    assert 0.76 < found["sure_fail"] < 0.8
    assert share_power(0, 0.8, least=True, confidence=0.95) == {}


def test_few_samples_can_show_nothing() -> None:
    assert thresholds(10, 0.9, least=True, confidence=0.95)[0] == 11  # not even ten of ten
    found = share_power(10, 0.9, least=True, confidence=0.95)
    assert set(found["pass"]) == {0.0}
    assert found["sure_pass"] is None


def test_the_approximate_curve_is_near_the_exact_one() -> None:
    exact = share_power(5000, 0.5, least=False, confidence=0.95)
    near = normal_power(0.5, np.sqrt(0.25 / 5000), least=False, confidence=0.95, low=0.0, high=1.0)
    assert near["truth"] == pytest.approx(exact["truth"])
    assert near["pass"] == pytest.approx(exact["pass"], abs=0.02)
    assert near["fail"] == pytest.approx(exact["fail"], abs=0.02)
    assert (near["exact"], exact["exact"]) == (False, True)
    assert normal_power(0.5, 0.0, least=False, confidence=0.95, low=0.0, high=1.0) == {}
