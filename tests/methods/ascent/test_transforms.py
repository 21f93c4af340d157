"""Transforms that do nothing, and those whose result is known."""

from __future__ import annotations

import pytest
import torch

from auditor.methods.ascent.transforms import Affine, Jitter, Noise, drawn, rolled, turned

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_rolled_and_unrolled_is_the_identity() -> None:
    moved = Jitter(32)(IMAGES, generators(1, 2))
    for image, after, generator in zip(IMAGES, moved, generators(1, 2), strict=True):
        down, across = drawn(32, generator)
        assert not torch.equal(after, image)
        assert torch.equal(rolled(after, (-down, -across)), image)
    reached = [drawn(2, generator) for generator in generators(*range(200))]
    assert {shift for pair in reached for shift in pair} == {-2, -1, 0, 1, 2}


def test_no_change_is_the_identity() -> None:
    torch.testing.assert_close(Affine(0.0, 1.0, 0.0)(IMAGES, generators(1, 2)), IMAGES, rtol=0, atol=1e-12)
    assert torch.equal(Jitter(0)(IMAGES, generators(1, 2)), IMAGES)
    assert torch.equal(Noise(0.0)(IMAGES, generators(1, 2)), IMAGES)


def test_quarter_turn_scale_and_shift() -> None:
    zero, one = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    still = torch.zeros(2, 2, dtype=torch.float64)
    quarter = turned(IMAGES, 90 * one, one, still)
    assert min((quarter - torch.rot90(IMAGES, k, (2, 3))).abs().max() for k in (1, 3)) < 1e-12
    shifted = turned(IMAGES, zero, one, torch.tensor([[0.25, 0.0], [0.0, -0.5]], dtype=torch.float64))
    torch.testing.assert_close(shifted[0, :, :, :-1], IMAGES[0, :, :, 1:], rtol=0, atol=1e-12)
    torch.testing.assert_close(shifted[1, :, 2:], IMAGES[1, :, :-2], rtol=0, atol=1e-12)
    large = turned(torch.nn.functional.pad(IMAGES, (4, 4, 4, 4)), zero, 2 * one, still)
    torch.testing.assert_close(large, torch.nn.functional.interpolate(IMAGES, scale_factor=2, mode="bilinear"), rtol=0, atol=0.6)
    assert torch.allclose(large[:, :, 4:12, 4:12].mean(), IMAGES[:, :, 2:6, 2:6].mean(), atol=0.02)


def test_a_turn_keeps_shapes_in_a_picture_that_is_not_square() -> None:
    wide = torch.zeros(1, 1, 20, 40, dtype=torch.float64)
    wide[0, 0, 9:11, 12:28] = 1  # a bar of 16 x 2
    up = turned(wide, torch.full((1,), 90.0).double(), torch.ones(1).double(), torch.zeros(1, 2).double())
    expected = torch.zeros_like(wide)
    expected[0, 0, 2:18, 19:21] = 1
    torch.testing.assert_close(up[..., 10:30], expected[..., 10:30], rtol=0, atol=1e-9), "mirrored beyond the border"


def test_draws_are_each_images_own_and_within_bounds() -> None:
    both = Affine()(IMAGES, generators(5, 6))
    alone = Affine()(IMAGES[1:], generators(6))
    assert torch.equal(both[1], alone[0])
    ones = torch.ones(1, 1, 50, 50, dtype=torch.float64)
    noisy = Noise(0.1)(ones, generators(1)) - ones
    assert noisy.std().item() == pytest.approx(0.1, rel=0.1)
