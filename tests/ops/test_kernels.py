from __future__ import annotations

import numpy as np
import pytest

from auditor.ops.kernels import cosines, dead, display, duplicates, high_share, norms, sheet, slices


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_display_inverts_to_the_weights(channels: int) -> None:
    weights = random(10, channels, 5, 7) * np.geomspace(1e-4, 10, 10)[:, None, None, None]
    pictures = slices(weights)
    for limits in (np.abs(weights).max(axis=(1, 2, 3)), np.full(10, np.abs(weights).max())):
        back = (display(pictures, limits).astype(float) / 127.5 - 1) * limits[:, None, None, None]
        assert (np.abs(back - pictures).max(axis=(1, 2, 3)) <= limits / 255 * (1 + 1e-6)).all()


def test_slices_keep_every_weight_in_its_place() -> None:
    three, two = random(4, 3, 5, 6), random(4, 2, 5, 6)
    assert slices(three).shape == (4, 5, 6, 3)
    assert slices(three)[1, 2, 3, 0] == three[1, 0, 2, 3]
    assert slices(two).shape == (4, 5, 12, 1)
    assert slices(two)[1, 2, 6 + 3, 0] == two[1, 1, 2, 3]


def test_a_red_kernel_is_red_and_a_zero_one_grey() -> None:
    weights = np.zeros((3, 3, 4, 4), dtype=np.float32)
    weights[0, 0] = 0.3
    weights[1] = -2
    shown = display(slices(weights), np.abs(weights).max(axis=(1, 2, 3)))
    assert (shown[0] == [255, 128, 128]).all()
    assert (shown[1] == 0).all()
    assert (shown[2] == 128).all()


def test_dead_filters() -> None:
    weights = random(8, 3, 3, 3)
    weights[2] = 0
    weights[5] *= 1e-4
    weights[6] *= 0.01
    assert np.flatnonzero(dead(weights)).tolist() == [2, 5]
    assert dead(np.zeros((3, 1, 3, 3))).all()
    np.testing.assert_allclose(norms(weights)[0], np.linalg.norm(weights[0].ravel()), rtol=1e-6)


def test_duplicates_point_at_the_first_earlier_one() -> None:
    weights = random(7, 3, 5, 5)
    weights[3] = 4 * weights[1]
    weights[5] = -weights[1]
    weights[6] = weights[0] + 0.05 * random(3, 5, 5, seed=1)
    weights[4] = 0
    assert duplicates(weights).tolist() == [-1, -1, -1, 1, -1, 1, 0]
    found = cosines(weights)
    assert found[1, 3] == pytest.approx(1)
    assert found[1, 5] == pytest.approx(-1)
    assert not found[4].any()


def test_two_dead_filters_are_no_duplicates() -> None:
    weights = random(5, 1, 3, 3)
    weights[3] = weights[0] * 1e-6
    assert duplicates(weights).tolist() == [-1] * 5


@pytest.mark.parametrize("shape", [(3, 3), (7, 7), (5, 11)])
def test_high_share_is_the_integral_of_the_spectrum(shape: tuple[int, int]) -> None:
    weights = random(4, 2, *shape)
    spectrum = (np.abs(np.fft.fft2(weights.astype(float), s=(1024, 1024))) ** 2).sum(1)
    frequency = np.abs(np.fft.fftfreq(1024))
    side = np.where(frequency < 0.25, 1.0, np.where(frequency == 0.25, 0.5, 0.0))  # the edge belongs half to either
    low = (spectrum * side[:, None] * side[None]).sum((1, 2))
    np.testing.assert_allclose(high_share(weights), 1 - low / spectrum.sum((1, 2)), atol=3e-6)


@pytest.mark.parametrize("size", [3, 7, 16])
def test_white_noise_has_three_quarters_above(size: int) -> None:
    assert high_share(random(4000, 1, size, size)).mean() == pytest.approx(0.75, abs=0.01)


def test_smooth_is_below_and_a_checkerboard_above() -> None:
    y, x = np.mgrid[:7, :7]
    wave = np.cos(2 * np.pi * x / 7.0) * np.exp(-((x - 3) ** 2 + (y - 3) ** 2) / 8)
    board = (-1.0) ** (x + y)
    edge = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]])
    found = high_share(np.stack([wave, board, np.zeros((7, 7))])[:, None])
    assert found[0] < 0.3
    assert found[1] > 0.95
    assert np.isnan(found[2])
    assert high_share(edge[None, None])[0] < 0.75


def test_the_sheet_holds_every_tile_enlarged() -> None:
    tiles = np.random.default_rng(0).integers(0, 255, (5, 3, 4, 3), dtype=np.uint8)
    whole, (high, wide) = sheet(tiles, columns=2, scale=6)
    assert (high, wide) == (20, 26)
    assert whole.shape == (60, 52, 3)
    for i in range(5):
        y, x = (i // 2) * high, (i % 2) * wide
        np.testing.assert_array_equal(whole[y + 2 : y + 18 : 6, x + 2 : x + 24 : 6], tiles[i])
        np.testing.assert_array_equal(whole[y : y + 18, x : x + 24], np.kron(tiles[i], np.ones((6, 6, 1))))
        assert (whole[y + 18 : y + 20] == 255).all()
    assert (whole[40:, 26:] == 255).all()
