"""What natural images have in common: a mean colour, correlated colours, and a spectrum that falls with the frequency."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.errors import UsageError

IMAGENET_COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""A root of the covariance of ImageNet's colours (Olah 2017): rows are red, green, blue, columns uncorrelated colours."""
CONTRAST = 0.25
"""Deviation of the pixels of a photograph, about; of what stands in where there are no images."""
SMALLEST = 1e-4
"""Floor of an eigenvalue of the colours' covariance, so that grey pictures in three channels can be whitened."""


@dataclass(frozen=True)
class Natural:
    """Statistics of images in [0,1] of one shape (C,H,W)."""

    mean: Tensor
    """(C,)."""
    mixing: Tensor
    """(C,C): uncorrelated colours of variance 1 (its columns are the principal axes) to correlated ones."""
    magnitude: Tensor
    """(C,H,W//2+1) mean |rfft2| of the images in uncorrelated colours about the mean."""


def measured(images: Tensor) -> Natural:
    """Of images (n,C,H,W) in [0,1], n >= 1."""
    pixels = images.transpose(0, 1).flatten(1)
    mean = pixels.mean(1)
    about = pixels - mean[:, None]
    values, vectors = torch.linalg.eigh(about @ about.T / about.shape[1])
    root = values.clamp_min(SMALLEST).sqrt()
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    axes = vectors * largest.sign()
    mixing = axes * root
    plain = torch.einsum("dc,nchw->ndhw", (axes / root).T, images - mean.view(-1, 1, 1))
    return Natural(mean, mixing, torch.fft.rfft2(plain).abs().mean(0))


def assumed(shape: tuple[int, int, int], like: Tensor) -> Natural:
    """Where no images are given: a magnitude that falls with 1/f (Field 1987), grey in the mean, ImageNet's colours."""
    channels, high, wide = shape
    magnitude = falling(high, wide, like)
    power = (magnitude.square() * weights(wide, like)).sum() / (high * wide) ** 2
    mixing = colours(channels, like) if channels == 3 else torch.eye(channels).to(like)
    mixing = mixing * CONTRAST / mixing.square().sum(1).mean().sqrt()
    mean = torch.full((channels,), 0.5).to(like)
    return Natural(mean, mixing, (magnitude / power.sqrt()).expand(channels, -1, -1))


def colours(channels: int, like: Tensor) -> Tensor:
    """(C,C) ImageNet's mixing with its longest column of length 1, as lucid has it; one colour is left alone.

    Raises UsageError for other numbers of channels.
    """
    if channels == 1:
        return torch.ones(1, 1).to(like)
    if channels != 3:
        raise UsageError(f"expected images of 1 or 3 channels, got {channels}: give images whose colours can be measured")
    root = torch.tensor(IMAGENET_COLOURS).to(like)
    return root / longest(root)


def longest(mixing: Tensor) -> Tensor:
    """() length of the longest column."""
    return mixing.square().sum(0).amax().sqrt()


def frequencies(high: int, wide: int, like: Tensor) -> Tensor:
    """(H,W//2+1) cycles a pixel of each entry of a real Fourier transform."""
    down = torch.fft.fftfreq(high, dtype=torch.float64)[:, None]
    across = torch.fft.rfftfreq(wide, dtype=torch.float64)[None]
    return torch.hypot(down, across).to(like)


def falling(high: int, wide: int, like: Tensor) -> Tensor:
    """(H,W//2+1) 1/f, 0 at the mean."""
    found = frequencies(high, wide, like)
    return torch.where(found > 0, 1 / found.clamp_min(1 / (2 * max(high, wide))), torch.zeros_like(found))


def weights(wide: int, like: Tensor) -> Tensor:
    """(W//2+1,) how often a column of a half spectrum stands in the whole one: twice, but for 0 and Nyquist."""
    count = torch.full((wide // 2 + 1,), 2.0)
    count[0] = 1.0
    if wide % 2 == 0:
        count[-1] = 1.0
    return count.to(like)
