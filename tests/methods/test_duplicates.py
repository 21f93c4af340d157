from __future__ import annotations

import numpy as np
import pytest

from auditor.methods.duplicates import candidates, families, near_duplicates, yardstick
from auditor.ops.neighbours import knn
from auditor.types import Array


@pytest.fixture
def planted() -> tuple[Array, Array]:
    """60 points and thumbnails: 3 ~ 40 ~ 41 alike in both, 5 ~ 6 in features only, 8 ~ 9 in pixels only, 11 = 12 nearly blank."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 8))
    thumbs = rng.uniform(0, 255, (60, 16, 16, 3))
    for copy, of in ((40, 3), (41, 40)):
        features[copy], thumbs[copy] = features[of] + 0.01, thumbs[of] + 1.0
    features[6] = features[5] + 0.01
    thumbs[9] = thumbs[8]
    features[12] = features[11] + 0.01
    thumbs[11] = 100 + rng.uniform(-1, 1, (16, 16, 3))
    thumbs[12] = 100 + rng.uniform(-1, 1, (16, 16, 3))
    return features, thumbs


def test_both_kinds_of_evidence_are_asked_for(planted: tuple[Array, Array]) -> None:
    features, thumbs = planted
    found = near_duplicates(*knn(features, 20), thumbs, share=0.5, pixels=2.0)
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == [(3, 40), (40, 41), (3, 41)]
    assert found.difference == pytest.approx([1, 1, 2])
    unit = yardstick(knn(features, 20)[1])
    assert found.distance == pytest.approx(np.sqrt(8) * np.array([0.01, 0.01, 0.02]) / unit, rel=1e-4)


def test_the_threshold_of_pixels_is_a_threshold(planted: tuple[Array, Array]) -> None:
    features, thumbs = planted
    found = near_duplicates(*knn(features, 20), thumbs, share=0.5, pixels=1.5)
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == [(3, 40), (40, 41)]
    assert families(found, 60)[[3, 40, 41, 5]].tolist() == [3, 3, 3, -1]


def test_candidates_by_brute_force() -> None:
    features = np.random.default_rng(1).normal(size=(50, 3))
    indices, distances = knn(features, 49)
    unit = np.median(np.sort(np.linalg.norm(features[:, None] - features[None], axis=-1), axis=1)[:, 10])
    assert yardstick(distances) == pytest.approx(unit, rel=1e-6)
    left, right, apart = candidates(indices, distances, 0.6)
    expected = [(i, j) for i in range(50) for j in range(i + 1, 50) if np.linalg.norm(features[i] - features[j]) <= 0.6 * unit]
    assert sorted(zip(left.tolist(), right.tolist(), strict=True)) == expected
    assert apart == pytest.approx([np.linalg.norm(features[i] - features[j]) / unit for i, j in expected], rel=1e-5)


def test_equal_features_leave_it_to_the_pixels() -> None:
    thumbs = np.random.default_rng(2).uniform(0, 255, (5, 4, 4, 1))
    thumbs[4] = thumbs[1]
    found = near_duplicates(*knn(np.ones((5, 2)), 4), thumbs, share=0.5, pixels=2.0)
    assert (found.left.tolist(), found.right.tolist(), found.distance.tolist()) == ([1], [4], [0])


def test_no_pair_makes_no_family() -> None:
    thumbs = np.random.default_rng(3).uniform(0, 255, (6, 4, 4, 1))
    found = near_duplicates(*knn(np.random.default_rng(4).normal(size=(6, 3)), 5), thumbs, share=0.5, pixels=2.0)
    assert families(found, 6).tolist() == [-1] * 6
