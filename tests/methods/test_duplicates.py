from __future__ import annotations

import numpy as np
import pytest

from auditor.methods.duplicates import candidates, copies, families, near_duplicates, yardstick
from auditor.ops.neighbours import across, knn
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


def test_copies_across_two_sets_by_brute_force() -> None:
    rng = np.random.default_rng(5)
    features, others = rng.normal(size=(40, 8)), rng.normal(size=(70, 8))
    thumbs, theirs = rng.uniform(0, 255, (40, 8, 8, 3)), rng.uniform(0, 255, (70, 8, 8, 3))
    for own, copy, moved, light in (
        (3, 11, 0.0, 0.0),
        (4, 60, 0.02, 1.5),
        (4, 61, 0.02, 0.5),
        (7, 5, 0.02, 9.0),
        (9, 6, 5.0, 0.0),
    ):
        others[copy], theirs[copy] = features[own] + moved, thumbs[own] + light
    unit = yardstick(knn(features, 39)[1])
    asked: list[int] = []

    def theirs_at(positions: Array) -> Array:
        asked.extend(positions.tolist())
        return theirs[positions]

    found = copies(*across(features, others, 20), unit, lambda at: thumbs[at], theirs_at, share=0.5, pixels=2.0)
    expected = []
    for i in range(40):
        for j in range(70):
            apart, difference = np.linalg.norm(features[i] - others[j]), np.abs(thumbs[i] - theirs[j]).mean()
            if apart <= 0.5 * unit and difference <= 2.0:
                expected.append((difference, i, j, apart / unit))
    expected.sort()
    assert [(i, j) for _, i, j, _ in expected] == [(3, 11), (4, 61), (4, 60)]
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == [(3, 11), (4, 61), (4, 60)]
    np.testing.assert_allclose(found.difference, [d for d, *_ in expected])
    np.testing.assert_allclose(found.distance, [a for *_, a in expected], rtol=1e-5, atol=1e-7)
    assert len(asked) == len(set(asked)) < 70, "thumbnails of candidates alone are asked for, each once"


def test_across_two_sets_what_is_nearly_blank_is_not_all_alike() -> None:
    rng = np.random.default_rng(6)
    blank = 100 + rng.uniform(-1, 1, (2, 8, 8, 1))
    features = np.zeros((1, 2))
    for thumbs, count in ((blank, 0), (blank[[0, 0]], 1)):
        found = copies(*across(features, features, 1), 1.0, lambda at: thumbs[:1], lambda at: thumbs[1:], share=1, pixels=2)  # noqa: B023
        assert len(found.left) == count


def test_without_a_candidate_there_are_no_copies() -> None:
    features = np.random.default_rng(7).normal(size=(5, 3))
    none = np.zeros((0, 4, 4, 1))
    found = copies(*across(features, features + 9, 2), 0.1, lambda at: none[at], lambda at: none[at], share=1, pixels=2)
    assert len(found.left) == len(found.difference) == 0
