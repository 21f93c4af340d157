from __future__ import annotations

import math

import numpy as np
import pytest

from auditor.methods.units import chance, dominant, entropy, same_place


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
