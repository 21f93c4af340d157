from __future__ import annotations

import numpy as np
import pytest

from auditor.errors import UsageError
from auditor.methods.grabcut import bounding_box, box_iou, grabcut, largest, mask_iou, seeds
from auditor.types import Array


def disc(side: int, centre: tuple[float, float], radius: float) -> Array:
    y, x = np.mgrid[:side, :side]
    return np.asarray((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2)


def scene(side: int, *objects: Array) -> Array:
    """Red objects on green ground, both with noise."""
    rng = np.random.default_rng(0)
    lit = np.any(objects, axis=0)
    picture = np.where(lit[..., None], (190, 60, 50), (60, 140, 70)) + rng.normal(0, 12, (side, side, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("smooth", [0.0, 1 / 32])
def test_it_cuts_out_the_object_that_the_map_points_at(smooth: float) -> None:
    whole, seen = disc(96, (40, 52), 24), disc(96, (38, 50), 13)
    values = seen + 0.5 * whole + 0.1 * np.random.default_rng(1).random((96, 96))
    found = grabcut(scene(96, whole), values, smooth=smooth)
    assert mask_iou(found, whole) > 0.95
    assert mask_iou(seen, whole) < 0.35
    assert np.array_equal(grabcut(scene(96, whole), values, smooth=smooth), found)


def test_of_two_alike_it_is_the_larger_one() -> None:
    small, large = disc(96, (20, 20), 9), disc(96, (60, 64), 20)
    found = grabcut(scene(96, small, large), disc(96, (60, 64), 8) + disc(96, (20, 20), 5) * 0.9)
    assert mask_iou(found, large) > 0.9
    assert not found[small].any()


def test_the_colours_are_those_of_the_seeds_alone() -> None:
    """Half of the undecided ground is of the object's colour: were it taken as background, the object would be lost."""
    whole = disc(96, (48, 48), 40)
    picture = scene(96, whole)
    values = np.where(disc(96, (48, 48), 12), 1.0, np.where(whole, 0.5, 0.0)) + 1e-3 * np.random.default_rng(0).random((96, 96))
    assert mask_iou(grabcut(picture, values, smooth=0), whole) > 0.95


@pytest.mark.parametrize("side", [5, 8, 28])
def test_small_and_grey_images(side: int) -> None:
    whole = np.zeros((side, side), bool)
    whole[side // 4 : side - side // 4, side // 4 : side // 2 + 1] = True
    picture = np.where(whole, 230, 20).astype(np.uint8)[..., None]
    found = grabcut(picture, whole * 1.0 + 0.01 * np.random.default_rng(0).random((side, side)), smooth=0)
    assert mask_iou(found, whole) > 0.9


def test_a_constant_map_gives_nothing_and_a_flat_image_does_no_harm() -> None:
    assert not grabcut(scene(32, disc(32, (16, 16), 8)), np.ones((32, 32))).any()
    assert grabcut(np.full((32, 32, 3), 90, np.uint8), np.random.default_rng(0).random((32, 32))).dtype == bool


def test_seeds_are_the_shares_of_the_map() -> None:
    values = np.random.default_rng(0).permutation(10_000).reshape(100, 100).astype(float)
    inside, outside = seeds(values)
    assert (int(inside.sum()), int(outside.sum())) == (500, 3000)
    assert values[inside].min() > values[~inside].max()
    assert values[outside].max() < values[~outside].min()
    few = np.zeros((10, 10))
    few[0, :3] = 1.0  # both quantiles are 0
    inside, outside = seeds(few)
    assert np.array_equal(inside, few == 1)
    assert np.array_equal(outside, few == 0)
    half = np.repeat([0.0, 1.0], 50).reshape(10, 10)  # nothing is above the quantile
    assert np.array_equal(seeds(half)[0], half == 1)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(UsageError, match="of the size of its map"):
        grabcut(np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4)))
    with pytest.raises(UsageError, match="low < high"):
        seeds(np.zeros((4, 4)), high=0.2, low=0.3)


def test_overlap_by_hand() -> None:
    mask = np.zeros((6, 8), bool)
    assert bounding_box(mask) is None
    mask[1:3, 2:6] = True
    assert bounding_box(mask) == (2, 1, 6, 3)
    assert box_iou((2, 1, 6, 3), (4, 1, 8, 3)) == pytest.approx(4 / 12)
    assert box_iou((0, 0, 1, 1), (2, 2, 3, 3)) == 0
    assert box_iou(None, (2, 2, 3, 3)) == 0
    other = np.roll(mask, 2, axis=1)
    assert mask_iou(mask, other) == pytest.approx(4 / 12)
    assert np.isnan(mask_iou(mask & False, mask & False))
    assert np.array_equal(largest(mask | (np.arange(48).reshape(6, 8) == 47)), mask)
