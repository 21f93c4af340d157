from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import trustworthiness as reference

from auditor.methods import trustworthiness as module
from auditor.methods.trustworthiness import most_neighbours, trustworthiness
from auditor.ops.neighbours import knn


@pytest.mark.parametrize("k", [1, 5, 12])
def test_equals_scikit_learn(monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    monkeypatch.setattr(module, "BLOCK", 17)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(120, 9))
    maps = [features[:, :2], features[:, :2] + rng.normal(size=(120, 2)), rng.normal(size=(120, 2))]
    found = trustworthiness(features, [knn(flat, 12)[0] for flat in maps], k=k)
    expected = [reference(features, flat, n_neighbors=k) for flat in maps]
    assert found.shape == (3, 120)
    np.testing.assert_allclose(found.mean(axis=1), expected, atol=1e-12)
    assert found[0].mean() > found[1].mean() > found[2].mean()


def test_by_brute_force_on_some_rows() -> None:
    rng = np.random.default_rng(1)
    features, flat = rng.normal(size=(40, 5)), rng.normal(size=(40, 2))
    rows, k = np.array([3, 0, 39]), 4
    near = knn(flat, k)[0]
    found = trustworthiness(features, [near], k=k, rows=rows)[0]
    for value, i in zip(found, rows, strict=True):
        ranked = [j for j in np.argsort(np.linalg.norm(features - features[i], axis=1)) if j != i]
        loss = sum(max(0, ranked.index(j) + 1 - k) for j in near[i])
        assert value == pytest.approx(1 - 2 * loss / (k * (2 * 40 - 3 * k - 1)))


def test_a_map_that_keeps_the_neighbours_is_fully_trusted_and_duplicates_cost_nothing() -> None:
    flat = np.random.default_rng(2).normal(size=(60, 2))
    turned = np.concatenate([flat @ np.array([[0, 1], [-1, 0]]) * 7, np.zeros((60, 3))], axis=1)
    assert trustworthiness(turned, [knn(flat, 12)[0]], k=12).mean() == 1
    many = np.repeat(np.eye(3) * 100, 20, axis=0)  # three places of twenty points each
    assert trustworthiness(many, [knn(many[:, :2] + 1e-3 * flat, 12)[0]], k=12).mean() == 1


def test_the_worst_map_of_the_formula_is_0() -> None:
    """Every point's k neighbours in the map are its k farthest in the features."""
    features = np.concatenate([np.arange(10.0) * 1e-3, 100 + np.arange(10.0) * 1e-3])[:, None]
    k = 9
    near = np.array([np.argsort(-np.abs(features[:, 0] - features[i, 0]), kind="stable")[:k] for i in range(20)])
    assert trustworthiness(features, [near], k=k).mean() == pytest.approx(0)


def test_neighbours_stay_below_half() -> None:
    assert [most_neighbours(n) for n in (2, 3, 10, 25, 26, 1000)] == [0, 1, 4, 12, 12, 12]
    with pytest.raises(ValueError, match="neighbours"):
        trustworthiness(np.eye(4), [np.zeros((4, 2), dtype=int)], k=2)
