from __future__ import annotations

import numpy as np

from auditor.ops.tiles import GREY, Patch, crop, outline, strip, tiled, tiled_values
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


def test_numbers_stand_where_the_pixels_of_a_patch_stand() -> None:
    for shape, offset, frame, tile in (
        ((3, 5, 3), (4, 2), (7, 7), 84), ((40, 50, 3), (10, 0), (60, 50), 84), ((168, 120, 1), (0, 48), (168, 168), 84),
        ((4, 8, 1), (0, 0), (4, 8), 80), ((30, 30, 2), (0, 0), (30, 30), 84),
    ):  # fmt: skip
        values = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        got = tiled_values(values, offset, frame, tile)
        assert got.shape == (tile, tile, shape[2])
        black = tiled(Patch(np.zeros(shape[:2], np.uint8), offset), frame, tile)[..., 0]
        assert (np.isnan(got).any(axis=2) == np.isnan(got).all(axis=2)).all()
        assert np.isnan(got).all(axis=2)[black == GREY].all()
        assert not np.isnan(got)[black == 0].any()
    eight = picture(60, 60) // 3 + 80  # far enough from 0 and 255 not to be clipped between rows and columns
    smooth = tiled_values(eight.astype(np.float32), (0, 0), (60, 60), 84)
    drawn = tiled(Patch(eight, (0, 0)), (60, 60), 84)
    assert np.abs(smooth - drawn).max() <= 1.25  # the same smoothing; a picture is rounded after rows and after columns
    signs = np.where(np.indices((168, 168)).sum(axis=0) % 2, 1.0, -1.0).astype(np.float32)[..., None]
    assert np.abs(tiled_values(signs, (0, 0), (168, 168), 84)).max() < 1e-6  # means of signed numbers, not of their sizes
    assert np.isnan(tiled_values(np.zeros((0, 0, 3), np.float32), (0, 0), (5, 5), 84)).all()
