"""Small random changes before each forward, so that a picture holds however it is looked at. n images, one generator each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional


class Transform(Protocol):
    """Of images (n,C,H,W) to images of the same shape, differentiable; draws from each image's own generator (CPU)."""

    def __call__(self, images: Tensor, generators: Sequence[Generator]) -> Tensor:
        """(n,C,H,W)."""


def uniform(generators: Sequence[Generator], count: int, like: Tensor) -> Tensor:
    """(n,count) in [-1,1), a row a generator."""
    rows = [torch.rand(count, generator=generator, dtype=torch.float64) for generator in generators]
    return (2 * torch.stack(rows) - 1).to(like)


@dataclass(frozen=True)
class Jitter:
    """Rolled by up to `pixels` either way along both sides; what leaves on one side comes back on the other."""

    pixels: int

    def __call__(self, images: Tensor, generators: Sequence[Generator]) -> Tensor:
        """(n,C,H,W)."""
        return torch.stack([rolled(image, drawn(self.pixels, g)) for image, g in zip(images, generators, strict=True)])


def drawn(most: int, generator: Generator) -> tuple[int, int]:
    """(down, across), each from -most to most."""
    down, across = torch.randint(-most, most + 1, (2,), generator=generator).tolist()
    return down, across


def rolled(image: Tensor, shift: tuple[int, int]) -> Tensor:
    """(C,H,W) moved down and across, around the edges."""
    return torch.roll(image, shift, (-2, -1))


@dataclass(frozen=True)
class Affine:
    """Turned, scaled and moved about the centre, in one bilinear look-up; beyond the border the image is mirrored."""

    degrees: float = 10.0
    scale: float = 1.1
    """Larger or smaller by up to this factor, evenly in the logarithm."""
    shift: float = 1 / 14
    """Share of the sides."""

    def __call__(self, images: Tensor, generators: Sequence[Generator]) -> Tensor:
        """(n,C,H,W)."""
        u = uniform(generators, 4, images)
        return turned(images, u[:, 0] * self.degrees, self.scale ** u[:, 1], 2 * self.shift * u[:, 2:])


def turned(images: Tensor, degrees: Tensor, scale: Tensor, move: Tensor) -> Tensor:
    """(n,C,H,W) turned by `degrees` (n,), enlarged by `scale` (n,), moved by `move` (n,2) half sides (across, down)."""
    high, wide = images.shape[-2:]
    angle = degrees * (math.pi / 180)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    rows = (
        torch.stack([cos, sin * (high / wide), move[:, 0]], 1),
        torch.stack([-sin * (wide / high), cos, move[:, 1]], 1),
    )
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


@dataclass(frozen=True)
class Noise:
    """Normal noise of deviation `sigma`, in units where an image spans [0,1]."""

    sigma: float

    def __call__(self, images: Tensor, generators: Sequence[Generator]) -> Tensor:
        """(n,C,H,W), not clipped."""
        noise = torch.stack([torch.randn(images.shape[1:], generator=generator) for generator in generators])
        return images + self.sigma * noise.to(images)
