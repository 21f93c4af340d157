from __future__ import annotations

import numpy as np
import pytest

from auditor.ops import points
from auditor.ops.neighbours import across, knn
from auditor.types import Array


def brute(data: Array, k: int) -> tuple[Array, Array]:
    """All pairs from x - y, one by one; ties by position."""
    data = data.astype(np.float64)
    indices, distances = [], []
    for i in range(len(data)):
        own = np.sqrt(((data - data[i]) ** 2).sum(1)).astype(np.float32)
        own[i] = np.inf
        order = np.argsort(own, kind="stable")[:k]
        indices.append(order)
        distances.append(own[order])
    return np.array(indices), np.array(distances)


@pytest.mark.parametrize("held", [0, 1 << 24])
@pytest.mark.parametrize("block", [7, 1024])
@pytest.mark.parametrize("k", [1, 5, 39])
def test_equals_brute_force(monkeypatch: pytest.MonkeyPatch, block: int, k: int, held: int) -> None:
    monkeypatch.setattr(points, "BLOCK", block)
    monkeypatch.setattr(points, "HELD", held)
    data = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32) + 3
    indices, distances = knn(data, k)
    expected = brute(data, k)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(distances, expected[1], rtol=1e-6)
    assert (indices.dtype, distances.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("held", [0, 1 << 24])
@pytest.mark.parametrize("block", [5, 1024])
def test_ties_go_to_the_lower_index(monkeypatch: pytest.MonkeyPatch, block: int, held: int) -> None:
    monkeypatch.setattr(points, "BLOCK", block)
    monkeypatch.setattr(points, "HELD", held)
    grid = np.stack(np.meshgrid(np.arange(6), np.arange(6)), -1).reshape(-1, 2)
    data = np.concatenate([grid, grid[::-1], grid])[np.random.default_rng(1).permutation(108)]
    for k in (1, 3, 4, 10, 107):
        indices, distances = knn(data, k)
        expected = brute(data, k)
        np.testing.assert_array_equal(indices, expected[0])
        np.testing.assert_array_equal(distances, expected[1])


def test_a_star_ranks_its_equal_points_by_position() -> None:
    data = np.array([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0], [0, 2]], dtype=np.float32)
    indices, distances = knn(data, 3)
    assert indices[0].tolist() == [1, 2, 3]
    assert distances[0].tolist() == [1, 1, 1]


def test_near_duplicates_keep_their_distance_and_duplicates_have_none() -> None:
    rng = np.random.default_rng(2)
    data = rng.normal(size=(50, 32)) * 10 + 1000  # in float32 the product alone would be off by far more than the distance
    data[1] = data[0]
    data[3] = data[2]
    data[3, 0] += 1e-4
    indices, distances = knn(data, 2)
    assert (indices[0, 0], distances[0, 0], indices[1, 0], distances[1, 0]) == (1, 0, 0, 0)
    assert (indices[2, 0], indices[3, 0]) == (3, 2)
    assert distances[2, 0] == pytest.approx(1e-4, rel=1e-5)
    # an outlier makes all other points close to each other relative to their norms
    data[10] += 1e7
    np.testing.assert_array_equal(knn(data, 5)[0], brute(data, 5)[0])
    np.testing.assert_allclose(knn(data, 5)[1], brute(data, 5)[1], rtol=1e-6)


def test_equal_rows_are_neighbours_in_order() -> None:
    indices, distances = knn(np.full((5, 3), 0.1, dtype=np.float32), 4)
    assert indices.tolist() == [[1, 2, 3, 4], [0, 2, 3, 4], [0, 1, 3, 4], [0, 1, 2, 4], [0, 1, 2, 3]]
    assert not distances.any()
    assert not knn(np.array([[0.0, 1], [-0.0, 1]]), 1)[1].any()


def test_invariant_to_rotation() -> None:
    rng = np.random.default_rng(3)
    data = rng.normal(size=(60, 8))
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    (first, d_first), (second, d_second) = knn(data, 10), knn(data @ turn, 10)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(d_first, d_second, rtol=1e-5)


def test_doubling_a_vector_changes_ranks() -> None:
    """A silent cosine would not see it."""
    data = np.array([[1.0, 0], [1.1, 0.1], [0.9, -0.3], [0, 1], [0.1, 1.2]])
    before = knn(data, 4)[0]
    data[1] *= 2
    after = knn(data, 4)[0]
    assert before[0, 0] == 1
    assert after[0, 0] == 2
    assert before.tolist() != after.tolist()


def test_k_is_lowered_and_small_sets_are_empty() -> None:
    assert knn(np.eye(3), 91)[0].shape == (3, 2)
    assert knn(np.ones((1, 4)), 5)[0].shape == (1, 0)
    assert knn(np.zeros((0, 4)), 5)[1].shape == (0, 0)


def test_what_is_not_finite_is_refused() -> None:
    data = np.ones((4, 2))
    data[2, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 4 rows"):
        knn(data, 2)


def brute_across(data: Array, others: Array, k: int) -> tuple[Array, Array]:
    """All pairs from x - y, one by one; ties by position."""
    apart = np.array(
        [np.sqrt(((others.astype(np.float64) - row) ** 2).sum(1)) for row in data.astype(np.float64)], dtype=np.float32
    )
    order = np.argsort(apart, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(apart, order, axis=1)


@pytest.mark.parametrize("held", [0, 1 << 24])
@pytest.mark.parametrize("block", [7, 1024])
@pytest.mark.parametrize("k", [1, 5, 60])
def test_across_two_sets_equals_brute_force(monkeypatch: pytest.MonkeyPatch, block: int, k: int, held: int) -> None:
    monkeypatch.setattr(points, "BLOCK", block)
    monkeypatch.setattr(points, "HELD", held)
    rng = np.random.default_rng(5)
    data, others = rng.normal(size=(23, 6)).astype(np.float32) + 3, rng.normal(size=(60, 6)).astype(np.float32) + 3
    indices, distances = across(data, others, k)
    expected = brute_across(data, others, k)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(distances, expected[1], rtol=1e-6)
    assert (indices.dtype, distances.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("held", [0, 1 << 24])
@pytest.mark.parametrize("block", [5, 1024])
def test_across_two_sets_ties_go_to_the_lower_index(monkeypatch: pytest.MonkeyPatch, block: int, held: int) -> None:
    monkeypatch.setattr(points, "BLOCK", block)
    monkeypatch.setattr(points, "HELD", held)
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(5)), -1).reshape(-1, 2)
    others = np.concatenate([grid, grid, grid])[np.random.default_rng(1).permutation(75)]
    for k in (1, 3, 4, 10, 75):
        indices, distances = across(grid, others, k)
        expected = brute_across(grid, others, k)
        np.testing.assert_array_equal(indices, expected[0])
        np.testing.assert_array_equal(distances, expected[1])


def test_across_two_sets_copies_are_at_0_and_near_copies_keep_their_distance() -> None:
    rng = np.random.default_rng(2)
    data = rng.normal(size=(40, 32)) * 10 + 1000
    others = rng.normal(size=(50, 32)) * 10 + 1000
    others[7], others[9] = data[3], data[4]
    others[9, 0] += 1e-4
    indices, distances = across(data, others, 2)
    assert (indices[3, 0], distances[3, 0]) == (7, 0)
    assert indices[4, 0] == 9
    assert distances[4, 0] == pytest.approx(1e-4, rel=1e-5)
    assert not across(np.array([[0.0, 1]]), np.array([[-0.0, 1]]), 1)[1].any()


def test_across_an_empty_set_and_what_is_not_finite() -> None:
    assert across(np.ones((3, 4)), np.zeros((0, 4)), 5)[0].shape == (3, 0)
    assert across(np.zeros((0, 4)), np.ones((3, 4)), 5)[1].shape == (0, 3)
    data = np.ones((4, 2))
    data[2, 1] = np.inf
    for pair in ((data, np.ones((4, 2))), (np.ones((4, 2)), data)):
        with pytest.raises(ValueError, match="1 of 4 rows"):
            across(*pair, 2)
