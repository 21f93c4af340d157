from __future__ import annotations

import numpy as np

from auditor.ops.tiles import GREY, Patch, crop, outline, strip, tiled
from auditor.types import Array


def picture(high: int, wide: int, channels: int = 3) -> Array:
    return np.random.default_rng(0).integers(0, 190, (high, wide, channels), dtype=np.uint8)


def test_a_crop_is_the_pixels_in_the_box() -> None:
    image = picture(9, 7)
    assert np.array_equal(crop(image, (2, 5, 1, 7)), image[2:5, 1:7])
    assert crop(image, (0, 0, 0, 0)).size == 0


def test_a_small_patch_keeps_its_pixels_and_its_place() -> None:
    pixels = picture(3, 5)
    tile = tiled(Patch(pixels, (4, 2)), (7, 7), 84)
    assert tile.shape == (84, 84, 3)
    cells = tile.reshape(7, 12, 7, 12, 3)
    assert (cells == cells[:, :1, :, :1]).all()  # every pixel is a square of 12
    small = cells[:, 0, :, 0]
    assert np.array_equal(small[4:7, 2:7], pixels)
    small[4:7, 2:7] = GREY
    assert (small == GREY).all()


def test_the_aspect_is_kept() -> None:
    tile = tiled(Patch(np.zeros((4, 8, 1), np.uint8), (0, 0)), (4, 8), 80)
    assert (tile[20:60] == 0).all()
    assert (tile[:20] == GREY).all()
    assert (tile[60:] == GREY).all()


def test_a_large_patch_is_averaged() -> None:
    tile = tiled(Patch(picture(168, 168), (0, 0)), (168, 168), 84)
    means = picture(168, 168).reshape(84, 2, 84, 2, 3).mean(axis=(1, 3))
    assert np.abs(tile - means).max() <= 1


def test_an_empty_patch_is_grey() -> None:
    assert (tiled(Patch(np.zeros((0, 0, 3), np.uint8), (3, 3)), (5, 5), 84) == GREY).all()


def test_an_outline_stays_within_the_picture_and_is_wide_enough_to_see() -> None:
    for cell in ([0, 1, 0, 1], [9, 10, 9, 10], [2, 8, 3, 9]):
        canvas = np.full((10, 10, 3), 100, np.uint8)
        outline(canvas, cell)
        rows, columns = np.nonzero((canvas != 100).any(axis=2))
        assert rows.max() - rows.min() >= 4
        assert columns.max() - columns.min() >= 4
        assert (canvas == 255).any()
        assert (canvas == 0).any()


def test_the_cell_is_outlined_where_it_lies() -> None:
    tile = tiled(Patch(np.full((8, 8, 3), 100, np.uint8), (0, 0), (0, 2, 6, 8)), (8, 8), 80)
    assert (tile[:20, 60:] != 100).any()
    assert (tile[20:] == 100).all()
    assert (tile[:, :60] == 100).all()


def test_strips() -> None:
    tiles = [np.full((8, 8, 3), v, np.uint8) for v in (1, 2, 3)]
    row = strip(tiles, gap=2)
    assert row.shape == (8, 28, 3)
    assert row[0, [0, 10, 20], 0].tolist() == [1, 2, 3]
    assert row[0, [8, 9, 18, 19], 0].tolist() == [255] * 4
