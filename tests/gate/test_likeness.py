"""Closed forms: rotated features have not drifted, permuted channels all have their counterpart, unrelated ones none."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.gate.likeness import (
    Kept,
    Peaks,
    cka,
    common,
    drift,
    hsic,
    interval,
    likeness,
    match,
    nearest,
    unbiased,
)  # fmt: skip


def rotation(rng: np.random.Generator, p: int) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(p, p)))[0]


def gram(x: np.ndarray) -> np.ndarray:
    return x @ x.T


def test_cka_is_that_of_the_centred_gram_matrices() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 7)) + 3, rng.normal(size=(40, 12))
    y[:, :4] += 2 * x[:, :4]
    h = np.eye(40) - 1 / 40
    k, m = h @ gram(x) @ h, h @ gram(y) @ h
    assert cka(x, y) == pytest.approx(np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m)))


def test_the_unbiased_hsic_equals_its_definition() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 9))
    n, k, m = 30, gram(x), gram(y)
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    one = np.ones(n)
    expected = (np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)) / (
        n * (n - 3)
    )
    assert hsic(x, y) == pytest.approx(expected)


def test_rotated_shifted_and_scaled_features_have_not_drifted() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 16)) * np.geomspace(5, 0.2, 16)
    y = 3.7 * x @ rotation(rng, 16) + rng.normal(size=16)
    found = drift(x, y, np.arange(300), np.arange(300).astype(str), (1.0, 1.0))
    assert found.cka == pytest.approx(1, abs=1e-12)
    assert found.unbiased == pytest.approx(1, abs=1e-12)
    assert found.kept == 1
    assert found.moved == ()
    assert found.histogram == (*[0] * 10, 300)


def test_unrelated_features_are_told_apart_from_related_ones() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(60, 200)), rng.normal(size=(60, 200))
    assert cka(x, y) > 0.6  # few images in many dimensions: the plain figure is far from 0
    assert abs(unbiased(x, y)) < 0.15
    found = drift(x, y, np.arange(60), np.arange(60).astype(str), (1.0, 1.0))
    assert found.kept == pytest.approx(found.chance, abs=0.06)


def test_the_interval_holds_the_cka_of_many_images() -> None:
    rng, inside = np.random.default_rng(4), 0
    mix = rng.normal(size=(6, 6))

    def sides(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(n, 6)) * [3, 2, 1, 1, 1, 1]
        return x, x @ mix + 4 * rng.normal(size=(n, 6))

    truth = cka(*sides(200_000))
    for _ in range(60):
        low, high = interval(*sides(400))
        assert low is not None
        assert high is not None
        inside += low <= truth <= high
    assert 44 <= inside <= 60
    assert interval(*sides(30)) == (None, None)


def test_the_nearest_by_brute_force() -> None:
    x = np.random.default_rng(5).normal(size=(700, 4)) + 100
    far = np.linalg.norm(x[:, None] - x[None], axis=2)
    np.fill_diagonal(far, np.inf)
    np.testing.assert_array_equal(nearest(x, 5), np.argsort(far, axis=1)[:, :5])


def test_the_image_that_moved_is_listed_first_with_its_neighbours() -> None:
    rng = np.random.default_rng(6)
    centres = np.repeat(np.eye(5) * 20, 20, axis=0)
    x = centres + rng.normal(size=(100, 5))
    y = x.copy()
    y[7] = centres[90] + 0.1  # from the first clump to the last
    positions = np.arange(100) + 1000
    found = drift(x, y, positions, positions.astype(str), (0.9, 0.8))
    assert (found.moved[0].position, found.moved[0].kept, found.moved[0].name) == (1007, 0, "1007")
    assert set(found.moved[0].before) <= set(range(1000, 1020))
    assert set(found.moved[0].today) <= set(range(1080, 1100))
    assert found.kept_low is not None
    assert found.kept_low < found.kept < found.kept_high


def test_permuted_channels_are_all_matched() -> None:
    rng = np.random.default_rng(7)
    a = rng.gamma(1, size=(200, 40))
    order = rng.permutation(40)
    found = match("layer", a, 5 * a[:, order] + 2)
    assert (found.matched, found.before, found.today, found.dead) == (40, 40, 40, (0, 0))
    assert found.mean == pytest.approx(1)
    assert found.in_place == int((order == np.arange(40)).sum())
    assert found.chance < 0.4
    assert found.alone == ()
    assert match("layer", a, a).in_place == 40


def test_new_and_dead_units_have_no_counterpart() -> None:
    rng = np.random.default_rng(8)
    a = rng.gamma(1, size=(300, 20))
    b = a.copy()
    b[:, 3], b[:, 11], b[:, 15] = rng.gamma(1, size=300), 0.0, rng.gamma(1, size=300)
    found = match("layer", a, b)
    assert found.matched == found.in_place == 17
    assert found.dead == (0, 1)
    assert set(found.alone) == {3, 15}
    apart = match("layer", a, rng.gamma(1, size=(300, 20)))
    assert apart.matched <= 1
    assert apart.mean == pytest.approx(apart.chance, abs=0.05)
    wider = match("layer", a, np.concatenate([rng.gamma(1, size=(300, 5)), a], 1))
    assert (wider.matched, wider.in_place, set(wider.alone)) == (20, 0, set(range(5)))
    assert match("layer", a, np.zeros((300, 4))).matched == 0


def test_with_few_images_chance_sets_the_line() -> None:
    rng = np.random.default_rng(9)
    found = match("layer", rng.normal(size=(20, 300)), rng.normal(size=(20, 300)))
    assert found.line > 0.6
    assert found.matched < 0.1 * 300


def test_images_meet_by_what_is_matched_not_by_place() -> None:
    before, today = np.array([5, 2, 9, 7]), np.array([1, 0, 3])
    rows = common(before, today, (np.array([0, 1, 3, 4]), np.array([9, 5, 6, 2])))  # today 0 was 9, 1 was 5, 3 was 6
    assert [r.tolist() for r in rows] == [[0, 2], [0, 1]]


def test_what_is_not_held_is_said() -> None:
    rng = np.random.default_rng(10)
    x, at = rng.normal(size=(50, 3)), np.arange(50)
    kept, names = Kept(at, x, 1.0), at.astype(str)
    whole = likeness((kept, kept), ({"a": Peaks(at, x)}, {"a": Peaks(at, x[:, ::-1])}), (at, at), names)
    assert whole.drift is not None
    assert whole.layers[0].matched == 3
    assert whole.notes == ()
    none = likeness((None, kept), ({}, {"a": Peaks(at, x)}), (at, at), names)
    assert (none.drift, none.layers) == (None, ())
    assert "the other audit holds none" in none.notes[0]
    assert "Units are not matched" in none.notes[1]
    few = likeness((kept, kept), ({}, {}), (at[:5], at[:5]), names)
    assert "5 images are held on both sides" in few.notes[0]
