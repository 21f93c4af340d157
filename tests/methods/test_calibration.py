from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from auditor.methods.calibration import crossed, reliability, softened, temperature


def test_reliability_by_brute_force() -> None:
    rng = np.random.default_rng(3)
    confidence = np.concatenate([rng.uniform(0, 1, 500), [0, 1, 1 / 15, 2 / 3]])
    correct = rng.random(504) < confidence
    found = reliability(confidence, correct)
    expected = []
    for b in range(15):
        inside = (confidence > b / 15) & (confidence <= (b + 1) / 15) | ((b == 0) & (confidence == 0))
        expected.append((confidence[inside].mean(), correct[inside].sum(), inside.sum()))
    np.testing.assert_allclose(np.stack([found.confidence, found.right, found.n], 1), expected, rtol=1e-12)
    assert found.n.sum() == 504


@pytest.mark.parametrize("truth", [0.5, 1.0, 2.5])
def test_the_temperature_of_scores_that_were_sharpened_is_found(truth: float) -> None:
    rng = np.random.default_rng(1)
    honest = rng.normal(size=(6000, 5)) * 2
    labels = np.array([rng.choice(5, p=p) for p in softmax(honest, axis=1)])
    found = temperature(honest * truth, labels)
    assert found.low < truth < found.high
    assert found.high / found.low < 1.15
    assert found.inside

    def loss(t: float) -> float:
        return float(-log_softmax(honest * truth / t, axis=1)[np.arange(6000), labels].mean())

    assert loss(found.value) <= min(loss(found.value * f) for f in (0.9, 0.999, 1.001, 1.1))


def test_the_interval_of_the_temperature_holds_it_nine_times_in_ten() -> None:
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(200):
        honest = rng.normal(size=(300, 3)) * 2
        labels = (softmax(honest, axis=1).cumsum(1) < rng.random((300, 1))).sum(1)
        found = temperature(honest * 1.7, labels)
        inside += found.low <= 1.7 <= found.high
    assert 165 <= inside <= 193


def test_where_all_are_right_no_temperature_is_claimed() -> None:
    scores = np.eye(3)[[0, 1, 2, 0]] * 4
    assert not temperature(scores, np.array([0, 1, 2, 0])).inside
    masked = np.array([[1.0, 0.0, -np.inf], [0.5, 1.0, -np.inf], [2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    assert np.isfinite(temperature(masked, np.array([0, 0, 1, 1])).value)


def test_no_sample_is_judged_by_a_temperature_that_it_took_part_in() -> None:
    rng = np.random.default_rng(3)
    scores, labels, half = rng.normal(size=(80, 4)) * 5, rng.integers(0, 4, 80), np.arange(80) % 2 == 0
    found = crossed(scores, labels, half)
    assert np.ptp(found[half]) == np.ptp(found[~half]) == 0
    assert found[0] == temperature(scores[~half], labels[~half]).value
    assert found[1] == temperature(scores[half], labels[half]).value
    confidence, own = softened(scores, found, labels)
    expected = softmax(scores / found[:, None], axis=1)
    np.testing.assert_allclose(confidence, expected.max(1))
    np.testing.assert_allclose(np.exp(own), expected[np.arange(80), labels])
