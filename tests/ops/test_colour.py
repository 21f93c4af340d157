from __future__ import annotations

import numpy as np

from auditor.ops.colour import diverging, overlay, reduced, sequential, thinned, three


def test_sequential_runs_from_black_to_pale_and_clips() -> None:
    found = sequential(np.array([-1.0, 0.0, 2.0, 3.0]), 2.0)
    assert found.tolist() == [[0, 0, 4], [0, 0, 4], [252, 253, 191], [252, 253, 191]]
    light = sequential(np.linspace(0, 1, 200), 1.0).astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(light) >= -0.5).all()


def test_diverging_is_white_at_nought_red_above_blue_below() -> None:
    above, nought, below = diverging(np.array([0.6, 0.0, -0.6]), 1.0).astype(int)
    assert nought.tolist() == [247, 247, 247]
    assert above[0] > above[2] + 50
    assert below[2] > below[0] + 50


def test_an_empty_range_and_nan_are_no_fault() -> None:
    assert (diverging(np.zeros((2, 2)), 0.0) == 247).all()
    assert sequential(np.zeros((2, 2)), 0.0).shape == (2, 2, 3)
    assert sequential(np.array([np.nan]), 1.0).tolist() == [[0, 0, 4]]


def test_pictures() -> None:
    assert three(np.full((2, 3), 7, np.uint8)).tolist() == np.full((2, 3, 3), 7).tolist()
    assert three(np.zeros((2, 3, 1), np.uint8)).shape == (2, 3, 3)
    assert thinned(np.arange(600 * 300).reshape(600, 300)).shape == (200, 100)
    picture = np.full((2, 2, 3), 100, np.uint8)
    assert (overlay(picture, np.full((2, 2, 3), 200, np.uint8), weight=0.5) == 150).all()


def test_a_reduced_picture_has_256_colours_and_stays_near_itself_on_average() -> None:
    y, x = np.mgrid[:64, :64]
    picture = np.stack([3 * x, 3 * y, 2 * x + y], axis=-1).astype(np.uint8)  # 4,096 colours
    small = reduced(picture)
    assert small.shape == picture.shape
    assert len(np.unique(small.reshape(-1, 3), axis=0)) <= 256 < len(np.unique(picture.reshape(-1, 3), axis=0))
    assert np.abs(small.astype(int) - picture).mean() < 8
    blocks = [a.astype(float).reshape(8, 8, 8, 8, 3).mean(axis=(1, 3)) for a in (small, picture)]
    assert np.abs(blocks[0] - blocks[1]).max() < 8  # dithered: areas keep their colour
