from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from auditor.evidence.chosen import order
from auditor.evidence.pca import pca
from auditor.evidence.predictions import Predictions


@pytest.mark.parametrize("shape", [(40, 7), (12, 30)])
def test_pca_leaves_out_the_discarded_eigenvalues(shape: tuple[int, int]) -> None:
    data = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1)
    found = pca(data, most=4)
    centred = data - data.mean(0)
    values = np.linalg.eigvalsh(np.cov(data.T, bias=True))[::-1]
    np.testing.assert_allclose(found.explained, values[:4], rtol=1e-9)
    assert found.residual == pytest.approx(values[4:].sum(), rel=1e-9)
    rebuilt = found.coordinates @ found.components
    assert ((centred - rebuilt) ** 2).sum() / len(data) == pytest.approx(found.residual, rel=1e-9)
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(4), atol=1e-9)


def test_pca_of_equal_rows_has_no_nan() -> None:
    found = pca(np.ones((5, 3)))
    assert np.isfinite(found.coordinates).all()
    assert found.residual == 0


def test_a_small_choice_starts_a_large_one_and_is_proportional() -> None:
    labels = np.array([0] * 60 + [1] * 30 + [2] * 10)
    keys = [f"k{i}" for i in range(100)]
    full = order(keys, labels, 0)
    assert sorted(full) == list(range(100))
    assert np.bincount(labels[full[:10]]).tolist() == [6, 3, 1]
    assert np.bincount(labels[full[:50]]).tolist() == [30, 15, 5]


def test_the_choice_does_not_depend_on_the_order_of_the_data() -> None:
    labels = np.array([0, 1] * 10)
    keys = [f"k{i}" for i in range(20)]
    shuffle = np.random.default_rng(1).permutation(20)
    first = {keys[i] for i in order(keys, labels, 3)[:6]}
    again = order([keys[i] for i in shuffle], labels[shuffle], 3)[:6]
    assert {keys[shuffle[i]] for i in again} == first
    assert {keys[i] for i in order(keys, labels, 4)[:6]} != first


def test_what_is_read_some_rows_at_a_time_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    scores, labels = rng.normal(size=(50, 6)).astype(np.float32), rng.integers(-1, 6, 50)
    scores[3] = scores[7] = 1.0
    whole, analysed = Predictions(scores, labels), pca(scores)
    before = (whole.second, whole.confidence, whole.loss)
    monkeypatch.setattr("auditor.ops.spans.NUMBERS", 42)
    parts, again = Predictions(scores, labels), pca(scores)
    for one, other in zip(before, (parts.second, parts.confidence, parts.loss), strict=True):
        np.testing.assert_array_equal(one, other)
    logs = log_softmax(scores.astype(np.float64), axis=1)
    np.testing.assert_array_equal(parts.log_probability(4), logs[:, 4])
    np.testing.assert_allclose(again.components, analysed.components, atol=1e-9)
    np.testing.assert_allclose(again.at(np.array([4, 2])), analysed.coordinates[[4, 2]], atol=1e-9)


def test_predictions_by_hand() -> None:
    scores = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.5, 0.5, 0.0001]], dtype=np.float32))
    found = Predictions(scores, np.array([0, 1, -1]))
    assert found.predicted.tolist() == [0, 2, 0]
    assert found.second.tolist() == [1, 0, 1]
    assert found.correct.tolist() == [True, False, False]
    np.testing.assert_allclose(found.confidence[:2], [0.7, 0.8], rtol=1e-6)
    np.testing.assert_allclose(found.loss[:2], -np.log([0.7, 0.1]), rtol=1e-6)
    assert np.isnan(found.loss[2])
