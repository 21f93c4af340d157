"""Synthesis where the Gram matrix can be met exactly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from auditor.methods.gram import gram, gram_share
from auditor.methods.texture import noise_like, synthesise


def source() -> Tensor:
    return torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(3))


def pixels(images: Tensor) -> tuple[Tensor, ...]:
    return images, images.square()


def pairs(images: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(pixels(images), pixels(source()[None]), strict=True))


def by_hand(maps: Tensor, of: Tensor) -> Tensor:
    """Covariance about the means of `of`, and the means themselves, laid out as one matrix."""
    mean = of.mean((2, 3))[0]
    flat, own = maps[0].flatten(1) - mean[:, None], of[0].flatten(1) - mean[:, None]
    size = float((own @ own.T / own.shape[1]).square().sum() ** 0.25)
    found = torch.zeros(1, len(mean) + 1, len(mean) + 1)
    found[0, :-1, :-1] = flat @ flat.T / flat.shape[1]
    found[0, -1, :-1] = found[0, :-1, -1] = size * flat.mean(1)
    found[0, -1, -1] = size**2
    return found


def test_means_and_covariances_are_met_together() -> None:
    made = synthesise(pixels, source(), evaluations=200)
    for found, wanted in pairs(made.picture[None]):
        torch.testing.assert_close(found.mean((2, 3)), wanted.mean((2, 3)), atol=5e-3, rtol=0)
        torch.testing.assert_close(torch.cov(found[0].flatten(1)), torch.cov(wanted[0].flatten(1)), atol=2e-3, rtol=0)


def test_the_gram_matrices_are_met_by_another_picture() -> None:
    made = synthesise(pixels, source(), evaluations=200)
    assert made.share.max() < 1e-6
    assert made.begin.min() > 1e-3
    torch.testing.assert_close(gram(made.picture[None]), gram(source()[None]), atol=1e-3, rtol=0)
    assert (made.picture - source()).abs().mean() > 0.05, "not the source itself"
    assert made.picture.min() >= 0
    assert made.picture.max() <= 1


def test_the_shares_are_those_of_the_picture_and_of_the_noise() -> None:
    made = synthesise(pixels, source(), evaluations=5, seed=4)
    for images, told in ((made.picture[None], made.share), (noise_like(source(), (6, 6), 4), made.begin)):
        brute = torch.stack([gram_share(by_hand(a, b), by_hand(b, b))[0] for a, b in pairs(images)])
        torch.testing.assert_close(told, brute)
    assert made.losses[0] == pytest.approx(float(made.begin.mean()), rel=1e-5)
    assert min(made.losses) == pytest.approx(float(made.share.mean()), rel=1e-5)


def test_the_picture_may_be_larger_than_its_source() -> None:
    made = synthesise(pixels, source(), size=(9, 12), evaluations=150)
    assert made.picture.shape == (2, 9, 12)
    assert made.share.max() < 1e-4


def test_a_seed_gives_one_picture() -> None:
    one, same, other = (synthesise(pixels, source(), evaluations=10, seed=s).picture for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def smooth(side: int) -> Tensor:
    """A source of SMALLEST and more: soft blobs."""
    small = torch.rand(1, 2, 6, 6, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.interpolate(small, size=(side, side), mode="bicubic")[0].clamp(0, 1)


def test_a_large_picture_starts_at_half_its_size_where_the_model_takes_that() -> None:
    seen: list[int] = []

    def phi(images: Tensor) -> tuple[Tensor, ...]:
        seen.append(images.shape[2])
        return pixels(images)

    synthesise(phi, smooth(80), evaluations=3)
    assert set(seen) == {40, 80}
    assert seen.index(80) > seen.index(40)
    seen.clear()
    synthesise(phi, smooth(78), evaluations=3)
    assert set(seen) == {78}


def test_a_model_of_one_size_is_left_at_it() -> None:
    def phi(images: Tensor) -> tuple[Tensor, ...]:
        return pixels(images @ torch.eye(80))

    made = synthesise(phi, smooth(80), evaluations=3)
    assert made.picture.shape == (2, 80, 80)
    assert made.losses[0] == pytest.approx(float(made.begin.mean()), rel=1e-5), "from the noise"
