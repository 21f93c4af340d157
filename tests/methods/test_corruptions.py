"""Every corruption stays in range, grows with its severity, repeats itself, and treats each image alone."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from auditor.methods.corruptions import KINDS, SEVERITIES, cells, corrupt, filtered, of_images

torch.set_num_threads(1)


def scene(n: int = 3, channels: int = 3, size: tuple[int, int] = (48, 40)) -> Tensor:
    """Soft shapes with edges, away from black and white."""
    y, x = torch.meshgrid(*(torch.linspace(0, 1, s) for s in size), indexing="ij")
    made = []
    for i in range(n * channels):
        wave = 0.5 + 0.2 * torch.sin((5 + i) * x + 3 * y) + 0.15 * ((x + y * (1 + i % 3)) % 0.4 < 0.2)
        made.append(wave.clamp(0.15, 0.85))
    return torch.stack(made).view(n, channels, *size)


def test_there_are_enough_kinds_in_four_groups() -> None:
    assert len(KINDS) >= 12
    assert {kind.group for kind in KINDS.values()} == {"noise", "blur", "weather", "digital"}


def photograph(size: tuple[int, int] = (224, 224)) -> Tensor:
    """(1,3,H,W) with all scales and colours, away from black and white: noise, each octave weaker than the last."""
    draw, total = torch.Generator().manual_seed(5), torch.zeros(1, 3, *size)
    for octave in range(1, 8):
        coarse = torch.randn(1, 3, 2**octave, 2**octave, generator=draw)
        total += torch.nn.functional.interpolate(coarse, size=size, mode="bilinear") / 1.3**octave
    total += torch.randn(1, 3, *size, generator=draw) / 1.3**8
    return 0.5 + 0.3 * (total / total.abs().max())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", KINDS)
def test_a_corruption_is_in_range_repeatable_and_of_each_image_alone(name, channels) -> None:
    images, seeds = scene(channels=channels), (11, 12, 13)
    before = images.clone()
    assert torch.equal(corrupt(images, name, 0, seeds=seeds), images)
    for severity in (1, 5):
        whole = corrupt(images, name, severity, seeds=seeds)
        assert whole.shape == images.shape
        assert whole.dtype == images.dtype
        assert whole.min() >= 0
        assert whole.max() <= 1
        assert torch.isfinite(whole).all()
        assert torch.equal(whole, corrupt(images, name, severity, seeds=seeds))
        for i in range(3):
            alone = corrupt(images[i : i + 1], name, severity, seeds=seeds[i : i + 1])
            assert torch.allclose(alone[0], whole[i], atol=1e-6)
    assert torch.equal(images, before)


@pytest.mark.parametrize("size", [(224, 224), (224, 160), (32, 32), (28, 28), (64, 48)], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_each_severity_is_farther_from_the_picture_than_the_last(name, size) -> None:
    images = photograph(size)
    far = [(corrupt(images, name, s, seeds=(7,)) - images).square().mean().sqrt().item() for s in (0, *SEVERITIES)]
    assert far[0] == 0
    assert all(a < b for a, b in itertools.pairwise(far)), far


def test_small_images_have_their_own_amounts_and_lengths_follow_the_size() -> None:
    assert KINDS["gaussian_noise"].amount(5, 224) == 0.38
    assert KINDS["gaussian_noise"].amount(5, 32) == 0.1
    assert KINDS["gaussian_blur"].amount(1, 448) == 2
    assert KINDS["gaussian_blur"].amount(5, 64) == 2
    grey = torch.full((1, 1, 32, 200), 0.5)
    assert (corrupt(grey, "gaussian_noise", 5, seeds=(0,)) - 0.5).std().item() == pytest.approx(0.1, rel=0.05)


def test_a_grey_picture_has_no_colour_to_lose() -> None:
    assert set(KINDS) - set(of_images(tuple(KINDS), 1)) == {"saturate"}
    assert of_images(tuple(KINDS), 3) == tuple(KINDS)
    grey = photograph().mean(1, keepdim=True).expand(-1, 3, -1, -1)
    assert torch.allclose(corrupt(grey, "saturate", 5, seeds=(0,)), grey, atol=1e-6)
    assert corrupt(photograph(), "saturate", 5, seeds=(0,)).std(1).max() < 1e-6


@pytest.mark.parametrize("name", ["gaussian_noise", "impulse_noise", "motion_blur", "fog", "snow", "elastic"])
def test_another_seed_gives_another_pattern(name) -> None:
    images = scene(1).expand(2, -1, -1, -1)
    found = corrupt(images, name, 3, seeds=(1, 2))
    assert (found[0] - found[1]).abs().max() > 0.01


def test_noise_has_the_amount_that_it_says() -> None:
    grey = torch.full((4, 3, 96, 96), 0.5)
    assert (corrupt(grey, "gaussian_noise", 1, seeds=range(4)) - 0.5).std().item() == pytest.approx(0.08, rel=0.03)
    assert (corrupt(grey, "speckle_noise", 1, seeds=range(4)) - 0.5).std().item() == pytest.approx(0.075, rel=0.03)
    shot = corrupt(grey, "shot_noise", 1, seeds=range(4))
    assert shot.mean().item() == pytest.approx(0.5, abs=0.002)
    assert shot.std().item() == pytest.approx(math.sqrt(0.5 / 60), rel=0.03)
    torch.testing.assert_close(shot * 60, (shot * 60).round(), atol=1e-4, rtol=0)  # whole photons
    assert not corrupt(torch.zeros(1, 3, 96, 96), "shot_noise", 5, seeds=(0,)).any()
    hit = corrupt(grey, "impulse_noise", 5, seeds=range(4))
    assert (hit != 0.5).float().mean().item() == pytest.approx(0.27, abs=0.01)
    assert (hit == 1).float().mean().item() == pytest.approx((hit == 0).float().mean().item(), abs=0.01)


def test_contrast_keeps_the_mean_and_takes_its_share() -> None:
    images = photograph()
    for severity, share in ((1, 0.4), (5, 0.05)):
        found = corrupt(images, "contrast", severity, seeds=(0,))
        torch.testing.assert_close(found.mean((2, 3)), images.mean((2, 3)))
        torch.testing.assert_close(found.std((2, 3)), share * images.std((2, 3)), rtol=1e-4, atol=1e-6)


def test_brightness_adds_and_darkness_takes_a_share() -> None:
    images = photograph() * 0.4
    torch.testing.assert_close(corrupt(images, "brightness", 2, seeds=(0,)), images + 0.2)
    torch.testing.assert_close(corrupt(images, "darkness", 2, seeds=(0,)), images / 2)


def test_pixelate_is_the_mean_of_each_block() -> None:
    images = photograph((96, 100))
    found = corrupt(images, "pixelate", 5, seeds=(0,))  # a quarter of each side
    blocks = images.view(1, 3, 24, 4, 25, 4)
    expected = blocks.mean((3, 5), keepdim=True).expand_as(blocks).reshape(images.shape)
    torch.testing.assert_close(found, expected)
    uneven = cells(5, 2, torch.zeros(1, dtype=torch.float64))  # two and a half pixels each
    assert uneven.tolist() == [[1, 1, 0.5, 0, 0], [0, 0, 0.5, 1, 1]]


def test_zoom_and_elastic_keep_what_does_not_change_with_place() -> None:
    flat = torch.full((2, 3, 100, 90), 0.3)
    for name in ("zoom_blur", "elastic"):
        torch.testing.assert_close(corrupt(flat, name, 5, seeds=(0, 1)), flat)
    ramp = torch.linspace(0.2, 0.8, 224).expand(1, 3, 224, 224).contiguous()
    moved = (corrupt(ramp, "elastic", 1, seeds=(3,)) - ramp)[0, 0, 40:-40, 40:-40] / (0.6 / 223)  # in pixels, across
    assert 0.8 < moved.square().mean().sqrt().item() < 3.5


def test_weather_lies_over_the_picture() -> None:
    images = photograph() * 0.7
    fog = [corrupt(images, "fog", s, seeds=(0,)) for s in SEVERITIES]
    like = [torch.corrcoef(torch.stack([seen.flatten(), images.flatten()]))[0, 1].item() for seen in fog]
    assert 0.9 > like[0] > like[1] > like[2] > like[3] > like[4]
    snow = corrupt(images, "snow", 3, seeds=(0,))
    assert (snow >= images - 1e-6).all()  # flakes only lighten
    assert 0.1 < (snow - images > 0.25).float().mean().item() < 0.8
    assert snow.amax((2, 3)).min() > 0.95


def test_blur_keeps_the_light_and_equals_a_loop() -> None:
    flat = torch.full((2, 3, 30, 30), 0.4)
    for name in ("gaussian_blur", "defocus_blur", "motion_blur", "zoom_blur"):
        assert torch.allclose(corrupt(flat, name, 5, seeds=(0, 1)), flat, atol=1e-5)
    images, kernels = scene(2, 2, (9, 8)).double(), torch.rand(2, 3, 3, dtype=torch.float64)
    found = filtered(images, kernels)
    for n, c, y, x in ((0, 0, 4, 4), (1, 1, 0, 0), (1, 0, 8, 7)):
        total = sum(
            kernels[n, i, j] * images[n, c, min(max(y + i - 1, 0), 8), min(max(x + j - 1, 0), 7)]
            for i in range(3)
            for j in range(3)
        )
        assert found[n, c, y, x].item() == pytest.approx(float(total))


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="corruption among"):
        corrupt(scene(1), "frost", 3, seeds=(0,))
    with pytest.raises(ValueError, match="severity from 0 to 5"):
        corrupt(scene(1), "fog", 6, seeds=(0,))
