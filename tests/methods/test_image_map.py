from __future__ import annotations

import numpy as np
import pytest

from auditor.methods.image_map import GROUND, OVERLAP, SIZES, arranged, corners, enlarged, filled, image_map, placed, places
from auditor.types import Array


def coloured(i: int, tile: int) -> Array:
    return np.full((20, 28, 3), i % 200, dtype=np.uint8)


def test_every_image_stands_at_its_place() -> None:
    layout = np.array([[0, 0], [10, 0], [10, 5], [4, 2.5]])
    tile, shown = arranged(layout, np.arange(4), 600)
    assert tile == 112
    assert shown.tolist() == [0, 1, 2, 3]
    picture = image_map(layout, shown, coloured, tile=tile, side=600)
    scale = (600 - tile) / 10
    for i, (x, y) in enumerate(layout):
        column, row = 300 + (x - 5) * scale, 300 - (y - 2.5) * scale  # y upwards
        assert (picture[round(row), round(column)] == i).all()
    assert (picture[5, 5] == GROUND).all()
    values, counts = np.unique(picture[..., 0], return_counts=True)
    sizes = dict(zip(values.tolist(), counts.tolist(), strict=True))
    assert all(sizes[i] == 112 * 80 for i in range(4))  # 28 x 20 px enlarged four times


def test_a_larger_picture_shows_the_same_images_at_the_same_places() -> None:
    layout = np.random.default_rng(4).normal(size=(60, 2))
    _, shown = arranged(layout, np.arange(60))
    small, large = (image_map(layout, shown, coloured, tile=round(0.05 * side), side=side) for side in (600, 1200))
    for i in shown.tolist():
        here, there = (np.argwhere(picture[..., 0] == i).mean(axis=0) for picture in (small, large))
        np.testing.assert_allclose(here + 0.5, (there + 0.5) / 2, atol=1.5)


def test_places_keep_the_proportions_and_turn_y_upwards() -> None:
    found = places(np.array([[0, 0], [8, 0], [8, 4], [2, 1]], dtype=np.float32))
    np.testing.assert_allclose(found, [[0.75, 0], [0.75, 1], [0.25, 1], [0.625, 0.25]])
    np.testing.assert_array_equal(places(np.ones((3, 2))), np.full((3, 2), 0.5))


def test_the_first_of_two_in_one_place_is_kept_and_none_is_moved() -> None:
    layout = np.array([[0, 0], [0.01, 0], [9, 9], [9, 0]])
    assert placed(layout, np.array([1, 0, 2, 3]), 40, 300).tolist() == [1, 2, 3]


@pytest.mark.parametrize("tile", [24, 64])
def test_no_tile_covers_more_than_half_of_itself(tile: int) -> None:
    layout = np.random.default_rng(2).normal(size=(300, 2))
    shown = placed(layout, np.arange(300), tile, 400)
    places, taken = corners(layout, tile, 400), np.zeros((400, 400), dtype=bool)
    for i in range(300):
        y, x = places[i]
        covered = taken[y : y + tile, x : x + tile].mean()
        assert (i in shown) == (covered <= OVERLAP)
        if i in shown:
            taken[y : y + tile, x : x + tile] = True


def test_crowded_maps_get_smaller_tiles() -> None:
    rng = np.random.default_rng(3)
    sizes = [arranged(rng.normal(size=(n, 2)), np.arange(n))[0] for n in (20, 200, 2000, 5000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 112
    for n in (20, 200, 2000):
        assert len(arranged(rng.normal(size=(n, 2)), np.arange(n))[1]) >= 0.4 * n
    assert arranged(np.zeros((50, 2)), np.arange(50)) == (SIZES[-1], [0])


def test_tiles_stay_inside() -> None:
    layout = np.random.default_rng(0).normal(size=(500, 2))
    for tile in SIZES:
        found = corners(layout, tile, 640)
        assert found.min() >= 0
        assert found.max() + tile <= 640
    assert (corners(np.zeros((3, 2)), 28, 100) == 36).all()  # all in one place: the middle


def test_small_pictures_are_enlarged_to_fit_and_stand_in_the_middle() -> None:
    assert enlarged(coloured(1, 60), 60).shape == (43, 60, 3)
    assert enlarged(coloured(1, 28), 28).shape == (20, 28, 3)
    sharp = enlarged(np.arange(12, dtype=np.uint8).reshape(2, 2, 3), 8)
    np.testing.assert_array_equal(sharp[::4, ::4], np.arange(12).reshape(2, 2, 3))
    assert (sharp[:4, :4] == sharp[0, 0]).all()
    whole = filled(coloured(7, 28), 56)
    assert whole.shape == (56, 56, 3)
    assert (whole[8:48] == 7).all()
    assert (whole[:8] == GROUND).all()
    assert (whole[48:] == GROUND).all()


@pytest.mark.parametrize("count", [30, 300])
def test_it_is_the_same_twice(count: int) -> None:
    layout = np.random.default_rng(1).normal(size=(count, 2))
    tile, shown = arranged(layout, np.arange(count), 500)
    first, again = (image_map(layout, shown, coloured, tile=tile, side=500) for _ in range(2))
    np.testing.assert_array_equal(first, again)
