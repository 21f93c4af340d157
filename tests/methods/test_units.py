from __future__ import annotations

import math

import numpy as np
import pytest

from auditor.methods.units import chance, deals, discoveries, dominant, entropy, one_source, same_place, twins


def test_entropy_by_hand() -> None:
    rows = np.array([[2, 2, 2, 2], [0, 1, 2, 3], [0, 0, 1, 1], [0, 1, 1, 1], [0, 0, -1, 1]])
    got = entropy(rows, 10)
    uneven = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75)) / 2
    np.testing.assert_allclose(got[:4], [0, 1, 0.5, uneven])
    assert math.copysign(1, got[0]) == 1
    assert np.isnan(got[4])
    np.testing.assert_allclose(entropy(rows[2:3], 2), 1)  # two classes cannot be more mixed
    assert np.isnan(entropy(rows[:, :1], 10)).all()
    assert np.isnan(entropy(rows, 1)).all()


def test_entropy_of_nine_images_of_a_thousand_classes_is_scaled_by_the_images() -> None:
    np.testing.assert_allclose(entropy(np.arange(9)[None] * 7, 1000), 1)


def test_chance_is_the_mean_over_all_draws() -> None:
    from itertools import combinations

    classes = np.repeat([0, 1, 2], [2, 3, 2])
    draws = np.array([classes[list(c)] for c in combinations(range(7), 3)])
    expected = entropy(draws, 3).mean()
    one_class = np.mean([(d == d[0]).all() for d in draws])
    assert chance(np.array([2, 3, 2]), 3) == pytest.approx((expected, one_class))


def test_chance_where_no_class_has_two() -> None:
    assert chance(np.ones(50, int), 9) == pytest.approx((1, 0))
    assert math.isnan(chance(np.array([5]), 3)[0])


def test_the_dominant_class_is_the_strongest_images_on_a_tie() -> None:
    classes, times = dominant(np.array([[3, 1, 1, 3], [0, 2, 2, 2]]))
    assert classes.tolist() == [3, 2]
    assert times.tolist() == [2, 3]


def test_places_within_a_step() -> None:
    rows, columns = np.array([[0, 9, 1, 1, 0]]), np.array([[5, 5, 5, 6, 4]])
    index, times = same_place(rows, columns, 1)
    assert (index.tolist(), times.tolist()) == ([0], [4])
    index, times = same_place(rows, columns, 0)
    assert (index.tolist(), times.tolist()) == ([0], [1])
    index, times = same_place(np.array([[7, 3, 3]]), np.array([[7, 2, 2]]), 0)
    assert (index.tolist(), times.tolist()) == ([1], [2])


def test_one_source_is_the_share_of_all_draws_from_the_same_classes() -> None:
    from itertools import combinations, product

    classes, sources = np.repeat([0, 1, -1], [4, 5, 3]), np.array([0, 0, 0, 1, 0, 1, 1, 0, 2, 0, 0, 1])
    held = np.array([[0, 5, 1, 4], [0, 1, 2, 3], [9, 10, 11, 0]])
    expected = []
    for row in held:
        parts = [
            list(combinations(np.flatnonzero(classes == k), n))
            for k, n in zip(*np.unique(classes[row], return_counts=True), strict=True)
        ]
        draws = [np.concatenate(d).astype(int) for d in product(*parts)]
        expected.append(np.mean([len(set(sources[d])) == 1 for d in draws]))
    np.testing.assert_allclose(one_source(held, classes, sources), expected)
    assert 0 < expected[0] < 1
    assert one_source(held[:, :2], classes, np.zeros(12, int)) == pytest.approx(1)  # there is one source only
    alone = one_source(np.array([[8, 4, 5, 6]]), classes, sources)  # no source of class 1 has four images
    assert alone[0] == 0


def test_sources_that_the_class_explains_are_no_surprise() -> None:
    classes = np.repeat([0, 1], 50)
    sources = classes.copy()
    held = np.arange(9)[None]
    assert one_source(held, classes, sources) == pytest.approx(1)
    assert one_source(held, np.zeros(100, int), sources)[0] < 0.003
    assert (deals(classes, sources, times=5, seed=0) == sources).all()


def test_deals_keep_every_class_and_have_the_entropy_of_images_at_random() -> None:
    rng = np.random.default_rng(0)
    classes, sources = rng.integers(-1, 2, 60), rng.integers(0, 3, 60)
    got = deals(classes, sources, times=400, seed=1)
    assert got.shape == (400, 60)
    for k in (-1, 0, 1):
        members = classes == k
        assert (np.sort(got[:, members], axis=1) == np.sort(sources[members])).all()
        held = np.flatnonzero(members)[:5]
        mean = np.mean([entropy(row[held][None], 3)[0] for row in got])
        assert mean == pytest.approx(chance(np.bincount(sources[members], minlength=3), 5)[0], abs=0.05)
    assert len(np.unique(got, axis=0)) > 390
    assert np.array_equal(got, deals(classes, sources, times=400, seed=1))
    assert not np.array_equal(got, deals(classes, sources, times=400, seed=2))


def test_discoveries_by_hand() -> None:
    p = np.array([0.9, 0.012, 0.001, 0.02, 0.5])  # thresholds 0.01, 0.02, 0.03, 0.04, 0.05
    assert discoveries(p).tolist() == [False, True, True, True, False]
    assert discoveries(np.array([0.9, 0.04, 0.8, 1.0])).tolist() == [False] * 4
    assert discoveries(np.zeros(0)).tolist() == []


def test_twins_share_their_images_and_rise_and_fall_together() -> None:
    rng = np.random.default_rng(0)
    base = rng.random((200, 4))
    peaks = np.stack(
        [
            base[:, 0],
            base[:, 1],
            3 * base[:, 0] + 2,
            base[:, 2],
            base[:, 0] + 0.01 * base[:, 3],
            base[:, 3],
            np.ones(200),
            np.ones(200),
        ],
        axis=1,
    )
    held = np.argsort(-peaks, axis=0, kind="stable")[:9].T
    held[5] = held[1]  # the same images, but it does not go with unit 1
    assert twins(held, peaks, shared=8, correlation=0.95).tolist() == [0, -1, 0, -1, 0, -1, -1, -1]
    assert twins(held, -peaks[:, :], shared=8, correlation=0.95).tolist() == [0, -1, 0, -1, 0, -1, -1, -1]
    mirrored = peaks * np.where(np.arange(8) == 2, -1, 1)
    assert twins(held, mirrored, shared=8, correlation=0.95).tolist() == [0, -1, -1, -1, 0, -1, -1, -1]
    other = held.copy()
    other[2, :2] = [-1, -2]
    assert twins(other, peaks, shared=8, correlation=0.95)[2] == -1
    assert twins(other, peaks, shared=7, correlation=0.95)[2] == 0
