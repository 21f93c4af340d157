from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from auditor.methods.layout import affinities
from auditor.methods.repulsion import compiled, every_pair, gradient
from auditor.ops.neighbours import knn
from auditor.types import Array


def divergence(places: Array, joint: Array) -> float:
    """KL(P || Q) of van der Maaten and Hinton, pair by pair."""
    q = 1 / (1 + ((places[:, None] - places[None]) ** 2).sum(-1))
    np.fill_diagonal(q, 0)
    held = joint > 0
    return float((joint[held] * np.log(joint[held] / (q / q.sum())[held])).sum())


@pytest.fixture(scope="module")
def laid() -> tuple[Array, sparse.csr_matrix]:
    """60 places, and the affinities of 60 points."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 2)) * 5, affinities(*knn(rng.normal(size=(60, 7)), 30), perplexity=10).P


def test_is_the_slope_of_the_divergence(laid: tuple[Array, sparse.csr_matrix]) -> None:
    places, joint = laid
    error, slope = gradient(places, joint, 1, should_eval_error=True)
    dense = joint.toarray()
    assert error == pytest.approx(divergence(places, dense), rel=1e-6)
    step = 1e-5
    for i, axis in [(0, 0), (7, 1), (31, 0), (59, 1)]:
        moved = np.zeros_like(places)
        moved[i, axis] = step
        expected = (divergence(places + moved, dense) - divergence(places - moved, dense)) / (2 * step)
        assert 4 * slope[i, axis] == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_agrees_with_barnes_hut_at_a_narrow_angle(laid: tuple[Array, sparse.csr_matrix]) -> None:
    from openTSNE.tsne import kl_divergence_bh

    places, joint = laid
    ours = gradient(places, joint, 1, should_eval_error=True)
    theirs = kl_divergence_bh(places, joint, 1, {"theta": 1e-3}, should_eval_error=True)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-6)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-6 * np.abs(theirs[1]).max())


def test_machine_code_is_the_formula(laid: tuple[Array, sparse.csr_matrix]) -> None:
    x, y = (np.ascontiguousarray(column, dtype=np.float32) for column in laid[0].T)
    found, expected = np.empty((2, len(x)), np.float32), np.empty((2, len(x)), np.float32)
    assert compiled()(x, y, *found) == pytest.approx(every_pair(x, y, *expected), rel=1e-5)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_points_that_coincide_do_not_push() -> None:
    joint = sparse.csr_matrix(np.ones((4, 4)) / 12 - np.eye(4) / 12)
    error, slope = gradient(np.zeros((4, 2)), joint, 1)
    assert np.isfinite(error)
    assert not slope.any()
