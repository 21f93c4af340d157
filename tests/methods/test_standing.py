from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact

from auditor.methods.standing import RATE, below_the_rest, confidence_off
from auditor.methods.units import discoveries


def test_below_the_rest_is_fishers_exact_test() -> None:
    right, n = np.array([18, 5, 20, 0]), np.array([20, 12, 20, 3])
    found = below_the_rest(right, n)
    for i in range(4):
        others = [right.sum() - right[i], (n - right).sum() - (n - right)[i]]
        expected = fisher_exact([[right[i], n[i] - right[i]], others], alternative="less").pvalue
        assert found[i] == pytest.approx(expected)
    assert below_the_rest(np.array([4, 0]), np.array([9, 0])).tolist() == [1, 1]


def test_of_many_equal_groups_hardly_ever_one_is_named_and_a_bad_one_is() -> None:
    rng, named, hit = np.random.default_rng(0), 0, 0
    for _ in range(200):
        right, n = rng.binomial(40, 0.9, 50), np.full(50, 40)
        named += bool(discoveries(below_the_rest(right, n), share=RATE).any())
        right[7] = rng.binomial(40, 0.5)
        hit += bool(discoveries(below_the_rest(right, n), share=RATE)[7])
    assert named <= 18  # at most 5 % of 200, and three standard errors
    assert hit >= 190


def test_confidence_that_is_kept_is_not_named_and_one_that_is_not_is() -> None:
    rng, low = np.random.default_rng(1), 0
    place = np.repeat(np.arange(4), 200)
    for _ in range(200):
        confidence = rng.uniform(0.5, 0.99, 800)
        low += int((confidence_off(confidence, rng.random(800) < confidence, place, 4) < 0.05).sum())
    assert 20 <= low <= 62  # 40 of 800 expected
    over = confidence_off(np.full(800, 0.9), rng.random(800) < np.where(place == 2, 0.6, 0.9), place, 4)
    assert over[2] < 1e-6
    assert confidence_off(np.ones(3), np.array([1, 1, 1]), np.zeros(3, dtype=int), 2).tolist() == [1, 1]
    assert confidence_off(np.ones(3), np.array([1, 1, 0]), np.zeros(3, dtype=int), 1)[0] < 1e-6  # certain, and wrong once
