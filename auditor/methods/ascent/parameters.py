"""What stands behind the pixels: the pixels themselves, a spectrum, or only its phase. n images, (n,C,H,W) in [0,1]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Generator, Tensor

from auditor.errors import UsageError
from auditor.methods.ascent.natural import Natural, colours, frequencies
from auditor.methods.ascent.space import Space


class Parameterisation(Protocol):
    """Parameters (...) of an image, and the images of parameters (n,...)."""

    pixelwise: ClassVar[bool]
    """Whether the parameters are the image, so that a step can be followed by a change of the image."""

    def begin(self, space: Space, start: Tensor | None, generator: Generator) -> Tensor:
        """Parameters of `start` (C,H,W) in [0,1], or drawn."""

    def images(self, theta: Tensor, space: Space) -> Tensor:
        """(n,C,H,W), differentiable."""

    def valid(self, theta: Tensor) -> Tensor:
        """Parameters (n,...) whose images lie in [0,1], the nearest to `theta`."""


@dataclass(frozen=True)
class Pixels:
    """The pixels; they start as noise about the mean colour."""

    pixelwise: ClassVar[bool] = True
    noise: float = 10 / 255
    """Deviation of the start (Yosinski 2015)."""

    def begin(self, space: Space, start: Tensor | None, generator: Generator) -> Tensor:
        """(C,H,W)."""
        if start is not None:
            return start.detach().to(device=space.device, dtype=space.dtype)
        return space.centre + self.noise * space.drawn(torch.randn(space.shape, generator=generator))

    def images(self, theta: Tensor, space: Space) -> Tensor:
        """As they are."""
        return theta

    def valid(self, theta: Tensor) -> Tensor:
        """Clipped to [0,1]."""
        return theta.clamp(0.0, 1.0)


@dataclass(frozen=True)
class Fourier:
    """A spectrum in uncorrelated colours (Olah 2017): sigmoid(colours irfft2(theta / f) / 4).

    A step of one size in every coefficient moves low frequencies further, as natural images are made.
    """

    pixelwise: ClassVar[bool] = False
    noise: float = 0.01
    mixing: Tensor | None = None
    """(C,C) of uncorrelated to correlated colours, its longest column of length 1; ImageNet's where not given."""

    def begin(self, space: Space, start: Tensor | None, generator: Generator) -> Tensor:
        """(C,H,W//2+1,2) real and imaginary parts."""
        refuse(start, "spectrum")
        channels, high, wide = space.shape
        return self.noise * space.drawn(torch.randn(channels, high, wide // 2 + 1, 2, generator=generator))

    def images(self, theta: Tensor, space: Space) -> Tensor:
        """By the inverse transform."""
        channels, high, wide = space.shape
        scale = 1 / frequencies(high, wide, theta).clamp_min(1 / max(high, wide))
        spectrum = torch.view_as_complex(theta * scale[..., None])
        plain = torch.fft.irfft2(spectrum, s=(high, wide), norm="ortho") / 4
        mixing = colours(channels, theta) if self.mixing is None else self.mixing.to(theta)
        return torch.sigmoid(mixed(plain, mixing))

    def valid(self, theta: Tensor) -> Tensor:
        """All are."""
        return theta


@dataclass(frozen=True)
class Phase:
    """Only the phase of a spectrum whose magnitude is that of natural images (MACO, Fel 2023)."""

    pixelwise: ClassVar[bool] = False
    natural: Natural

    def begin(self, space: Space, start: Tensor | None, generator: Generator) -> Tensor:
        """(C,H,W//2+1) radians, evenly drawn."""
        refuse(start, "phase")
        channels, high, wide = space.shape
        return math.pi * space.drawn(2 * torch.rand(channels, high, wide // 2 + 1, generator=generator) - 1)

    def signal(self, theta: Tensor, space: Space) -> Tensor:
        """(n,C,H,W) in uncorrelated colours; its spectrum has exactly the natural magnitude."""
        wide = space.shape[2]
        magnitude = self.natural.magnitude.to(theta)
        spectrum = torch.polar(magnitude.expand_as(theta).contiguous(), odd(theta, wide))
        signal: Tensor = torch.fft.irfft2(spectrum, s=space.shape[1:])
        return signal

    def images(self, theta: Tensor, space: Space) -> Tensor:
        """In the colours of natural images."""
        mean = self.natural.mean.to(theta)
        about = mixed(self.signal(theta, space), self.natural.mixing.to(theta))
        return (about + mean.view(-1, 1, 1)).clamp(0.0, 1.0)

    def valid(self, theta: Tensor) -> Tensor:
        """All are."""
        return theta


def mixed(plain: Tensor, mixing: Tensor) -> Tensor:
    """(n,C,H,W) of uncorrelated colours (n,D,H,W)."""
    out: Tensor = torch.einsum("cd,ndhw->nchw", mixing, plain)
    return out


def odd(phase: Tensor, wide: int) -> Tensor:
    """Phases (...,H,W//2+1) that a real image can have: in the columns that are their own mirror image, odd in the row.

    Without it the inverse transform would drop half of those columns, and their magnitude with it.
    """
    own = [0] if wide % 2 else [0, wide // 2]
    out = phase.clone()
    for column in own:
        line = phase[..., column]
        out[..., column] = (line - torch.roll(line.flip(-1), 1, -1)) / 2
    return out


def refuse(start: Tensor | None, kind: str) -> None:
    """Raise UsageError where a parameterisation is given an image to start from."""
    if start is not None:
        raise UsageError(f"expected no start for a {kind}, got an image: give it to a recipe of pixels")
