"""What stands behind the pixels: inverse transforms against numpy, the magnitude that MACO keeps, natural statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from auditor.errors import UsageError
from auditor.methods.ascent import Space, assumed, measured
from auditor.methods.ascent.natural import IMAGENET_COLOURS, colours, falling
from auditor.methods.ascent.parameters import Fourier, Phase, Pixels
from tests.methods.ascent.worlds import space

SIDES = [(8, 10), (9, 7), (8, 7), (5, 6)]


def drawn(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def world(side: tuple[int, int], channels: int = 3) -> Space:
    return space((channels, *side))


@pytest.mark.parametrize("side", SIDES)
def test_fourier_is_the_inverse_transform_of_its_parameters(side: tuple[int, int]) -> None:
    here = world(side)
    theta = drawn((2, 3, side[0], side[1] // 2 + 1, 2)) - 0.5
    images = Fourier(mixing=torch.eye(3, dtype=torch.float64)).images(theta, here)
    f = np.hypot(np.fft.fftfreq(side[0])[:, None], np.fft.rfftfreq(side[1])[None])
    spectrum = (theta[..., 0] + 1j * theta[..., 1]).numpy() / np.maximum(f, 1 / max(side))
    plain = np.fft.irfft2(spectrum, s=side) * math.sqrt(side[0] * side[1]) / 4
    np.testing.assert_allclose(images.numpy(), 1 / (1 + np.exp(-plain)), atol=1e-12)
    assert images.is_floating_point()
    assert images.shape == (2, 3, *side)


def test_its_colours_are_correlated_as_imagenets() -> None:
    here = world((6, 6))
    theta = drawn((1, 3, 6, 4, 2)) - 0.5
    logit = torch.logit(Fourier().images(theta, here))
    plain = torch.logit(Fourier(mixing=torch.eye(3, dtype=torch.float64)).images(theta, here))
    root = torch.tensor(IMAGENET_COLOURS, dtype=torch.float64)
    root = root / root.norm(dim=0).max()
    torch.testing.assert_close(logit[0], torch.einsum("cd,dhw->chw", root, plain[0]), rtol=0, atol=1e-7)


def test_a_start_is_small_noise_about_grey_and_the_same_for_a_seed() -> None:
    here = world((32, 32))
    begin = [Fourier().begin(here, None, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(begin[0], begin[1])
    assert not torch.equal(begin[0], begin[2])
    assert begin[0].std().item() == pytest.approx(0.01, rel=0.1)
    pixels = Pixels().begin(here, None, torch.Generator().manual_seed(1))
    assert (pixels - 0.5).std().item() == pytest.approx(10 / 255, rel=0.1)
    for kind in (Fourier(), Phase(assumed((3, 32, 32), pixels))):
        with pytest.raises(UsageError, match="no start"):
            kind.begin(here, pixels, torch.Generator())


@pytest.mark.parametrize("side", SIDES)
def test_maco_keeps_the_natural_magnitude_exactly(side: tuple[int, int]) -> None:
    natural, here = measured(drawn((6, 3, *side))), world(side)
    maco = Phase(natural)
    theta = torch.stack([maco.begin(here, None, torch.Generator().manual_seed(s)) for s in (1, 2)])
    signal = maco.signal(theta, here)
    found = torch.fft.rfft2(signal).abs()
    torch.testing.assert_close(found, natural.magnitude.expand_as(found), rtol=1e-10, atol=1e-10)
    assert (signal[0] - signal[1]).abs().max() > 0.1, "the phase decides"


def test_maco_shows_the_signal_in_natural_colours() -> None:
    natural, here = measured(0.4 + 0.2 * drawn((6, 3, 8, 8))), world((8, 8))
    theta = Phase(natural).begin(here, None, torch.Generator().manual_seed(1))[None]
    about = torch.einsum("cd,ndhw->nchw", natural.mixing, Phase(natural).signal(theta, here))
    shown = Phase(natural).images(theta, here)
    inside = (shown > 0) & (shown < 1)
    assert inside.double().mean() > 0.99
    torch.testing.assert_close(shown[inside], (about + natural.mean.view(-1, 1, 1))[inside])


def test_measured_statistics_are_those_of_the_images() -> None:
    images = torch.einsum(
        "cd,ndhw->nchw", torch.tensor([[0.3, 0, 0], [0.1, 0.2, 0], [0, 0.1, 0.1]]).double(), drawn((5, 3, 8, 6))
    )
    natural = measured(images)
    flat = images.transpose(0, 1).flatten(1).numpy()
    np.testing.assert_allclose(natural.mean.numpy(), flat.mean(1))
    np.testing.assert_allclose((natural.mixing @ natural.mixing.T).numpy(), np.cov(flat, bias=True), atol=1e-12)
    plain = np.einsum("dc,nchw->ndhw", np.linalg.inv(natural.mixing.numpy()), images.numpy() - flat.mean(1)[:, None, None])
    np.testing.assert_allclose(natural.magnitude.numpy(), np.abs(np.fft.rfft2(plain)).mean(0), atol=1e-9)


def test_grey_pictures_in_three_channels_can_be_measured() -> None:
    natural = measured(drawn((5, 1, 8, 6)).expand(-1, 3, -1, -1))
    assert all(torch.isfinite(part).all() for part in (natural.mean, natural.mixing, natural.magnitude))


@pytest.mark.parametrize("channels", [1, 3])
def test_without_images_the_magnitude_falls_with_the_frequency_and_the_contrast_is_a_photographs(channels: int) -> None:
    natural = assumed((channels, 32, 30), torch.zeros((), dtype=torch.float64))
    here = world((32, 30), channels)
    theta = torch.stack([Phase(natural).begin(here, None, torch.Generator().manual_seed(s)) for s in range(8)])
    about = torch.einsum("cd,ndhw->nchw", natural.mixing, Phase(natural).signal(theta, here))
    assert about.std().item() == pytest.approx(0.25, rel=1e-3)
    assert about.mean().item() == pytest.approx(0, abs=1e-12)
    assert falling(8, 8, theta)[0, 2] == pytest.approx(8 / 2)
    with pytest.raises(UsageError, match="1 or 3 channels"):
        colours(2, theta)
