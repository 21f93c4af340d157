from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from auditor.methods.votes import agreement, ceiling, class_sizes, occurrences, vote
from auditor.ops.neighbours import knn


@pytest.mark.parametrize("k", [1, 5])
def test_agreement_by_brute_force(k: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 4, 60)
    labels[7] = 9  # the only one of its class
    indices, _ = knn(rng.normal(size=(60, 3)), 59)
    found = agreement(indices, labels, k)
    for i in range(60):
        near = [labels[j] for j in indices[i] if labels[j] >= 0][:k]
        if labels[i] < 0 or i == 7:
            assert np.isnan(found[i])
        else:
            assert found[i] == near.count(labels[i]) / k


def test_agreement_uses_what_neighbours_there_are() -> None:
    labels = np.array([0, 0, 1, -1, 1])
    indices = np.array([[3, 1], [0, 3], [3, 3], [0, 1], [0, 2]])
    found = agreement(indices, labels, 5)
    assert found[[0, 1, 4]].tolist() == [1, 1, 0.5]
    assert np.isnan(found[[2, 3]]).all()


def test_the_ceiling_is_reached_by_perfect_clusters() -> None:
    labels = np.array([0] * 3 + [1] * 9 + [2] + [-1])
    points = labels[:, None] * 100.0 + np.arange(14)[:, None] * 0.01
    found = agreement(knn(points, 13)[0], labels, 5)
    assert np.nanmean(found) == pytest.approx(ceiling(labels, 5))
    assert ceiling(labels, 5) == pytest.approx((3 * 2 / 5 + 9) / 12)
    assert np.isnan(ceiling(np.array([0, 1, -1, -1]), 5))
    assert class_sizes(labels).tolist() == [3] * 3 + [9] * 9 + [1, 0]


def test_vote_by_brute_force() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 80)
    indices, _ = knn(rng.normal(size=(80, 2)), 10)
    for row, found in zip(indices, vote(indices, labels), strict=True):
        counts = Counter(labels[j] for j in row)
        most = max(counts.values())
        assert found == next(labels[j] for j in row if counts[labels[j]] == most)


def test_a_draw_goes_to_the_nearest() -> None:
    assert vote(np.array([[2, 0, 1, 3]]), np.array([0, 0, 1, 1])).tolist() == [1]


def test_occurrences_by_brute_force() -> None:
    indices = np.array([[1, 2], [2, 0], [1, 3], [1, 2]])
    assert occurrences(indices).tolist() == [sum(i in row for row in indices.tolist()) for i in range(4)] == [1, 3, 3, 1]
