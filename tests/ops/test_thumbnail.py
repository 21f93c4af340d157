from __future__ import annotations

import numpy as np
import pytest

from auditor.ops.thumbnail import area_means, area_weights, suffix, thumbnail


@pytest.mark.parametrize(("size", "side"), [(8, 4), (7, 3), (3, 7), (5, 5)])
def test_area_weights_share_every_pixel_out(size: int, side: int) -> None:
    weights = area_weights(size, side)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(weights.sum(0), side / size, atol=1e-12)


def test_area_means_by_hand() -> None:
    picture = np.arange(32, dtype=np.uint8).reshape(1, 4, 8, 1)
    expected = picture.reshape(2, 2, 2, 4).mean((1, 3))
    np.testing.assert_allclose(area_means(picture, 2)[0, :, :, 0], expected)
    # thirds of seven pixels: 2 1/3 pixels each
    row = np.zeros((1, 1, 7, 1), dtype=np.uint8)
    row[0, 0, 2] = 70
    np.testing.assert_allclose(area_means(np.repeat(row, 3, 1), 3)[0, 0, :, 0], [10, 20, 0], atol=1e-4)


def test_channels_and_axes_are_kept_apart() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 6, 4, 3), dtype=np.uint8)
    found = area_means(pictures, 2)
    np.testing.assert_allclose(found, pictures.reshape(3, 2, 3, 2, 2, 3).mean((2, 4)), rtol=1e-5)


def test_a_thumbnail_is_smaller_and_three_channels() -> None:
    grey = np.full((30, 60, 1), 9, dtype=np.uint8)
    small = thumbnail(grey, 20)
    assert small.shape == (10, 20, 3)
    assert (small == 9).all()
    assert thumbnail(grey, 100).shape == (30, 60, 3)


def test_photographs_are_jpg() -> None:
    assert (suffix(np.zeros((64, 20, 3))), suffix(np.zeros((20, 65, 3)))) == ("png", "jpg")
