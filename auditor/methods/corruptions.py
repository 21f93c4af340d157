"""Common corruptions of photographs at five severities (Hendrycks & Dietterich 2019): functions of batches on any device.

Images are (n,C,H,W) float in [0,1], and so are the results. Severity 0 is the image itself. Every image has a seed of its own,
so its result does not depend on its batch; the numbers are drawn on the CPU, so a pattern is the same on every device. There are
two sets of amounts, as in the paper: those of ImageNet-C, and for images of up to 64 px those of CIFAR-10-C; lengths are in
pixels of an image of 224 and of 32 px. Where the paper's tool is another one (snow, fog, elastic, darkness, saturate, the blurs
of small images, pixelate of small images) the amounts are set here by eye: these figures stand beside each other, not beside
published ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from auditor.methods.inputs import seed_of
from auditor.methods.jpeg import jpeg as coded
from auditor.ops.blur import gaussian_blur as blurred

SEVERITIES = (1, 2, 3, 4, 5)
LARGE, SMALL = 224, 32
"""Pixels of the side for which the lengths of either set of amounts are given."""
MOST_SMALL = 64
"""Pixels of the shorter side up to which the small amounts are used."""


@dataclass(frozen=True)
class Draw:
    """The random numbers of n images of one shape, each from the image's seed and a name."""

    seeds: Sequence[int]
    like: Tensor

    def field(self, name: str, *shape: int, normal: bool = False) -> Tensor:
        """(n,*shape) uniform in [0,1), or normal."""
        draw = torch.randn if normal else torch.rand
        drawn = [draw(shape, generator=self.generator(seed, name)) for seed in self.seeds]
        return torch.stack(drawn).to(self.like)

    def counts(self, name: str, rates: Tensor) -> Tensor:
        """(n,...) Poisson counts of `rates` (n,...)."""
        rows = zip(self.seeds, rates.cpu(), strict=True)
        return torch.stack([torch.poisson(row, generator=self.generator(seed, name)) for seed, row in rows]).to(self.like)

    @staticmethod
    def generator(seed: int, name: str) -> torch.Generator:
        """The source of the numbers of one image and one name."""
        return torch.Generator().manual_seed(seed_of(seed, name))


Corrupt = Callable[[Tensor, Draw, float], Tensor]


def filtered(images: Tensor, kernel: Tensor) -> Tensor:
    """Each channel under one kernel (k,k), or under its image's (n,k,k), the border repeated."""
    n, channels, height, width = images.shape
    side = kernel.shape[-1]
    padded = functional.pad(images, (side // 2,) * 4, mode="replicate")
    weights = kernel.expand(n, side, side).repeat_interleave(channels, 0)[:, None]
    mixed = functional.conv2d(padded.reshape(1, n * channels, *padded.shape[2:]), weights, groups=n * channels)
    return mixed.view(n, channels, height, width)


def offsets(reach: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of a kernel of side 2 reach + 1, from its middle."""
    line = torch.arange(-reach, reach + 1, device=like.device, dtype=like.dtype)
    return line[:, None], line[None, :]


def gaussian_noise(images: Tensor, draw: Draw, amount: float) -> Tensor:
    """Normal noise of a standard deviation."""
    return images + amount * draw.field("gaussian", *images.shape[1:], normal=True)


def shot_noise(images: Tensor, draw: Draw, photons: float) -> Tensor:
    """Poisson noise of so many photons in a white pixel."""
    return draw.counts("shot", images * photons) / photons


def impulse_noise(images: Tensor, draw: Draw, share: float) -> Tensor:
    """A share of the values is black or white."""
    chance, side = draw.field("impulse", *images.shape[1:]), draw.field("side", *images.shape[1:])
    return torch.where(chance < share, (side < 0.5).to(images), images)


def speckle_noise(images: Tensor, draw: Draw, amount: float) -> Tensor:
    """Normal noise in proportion to the brightness."""
    return images * (1 + amount * draw.field("speckle", *images.shape[1:], normal=True))


def gaussian_blur(images: Tensor, _draw: Draw, pixels: float) -> Tensor:
    """A Gaussian of a standard deviation."""
    return blurred(images, max(0.2, pixels))


def defocus_blur(images: Tensor, _draw: Draw, pixels: float) -> Tensor:
    """A disc of a radius, its rim soft."""
    radius = max(0.6, pixels)
    y, x = offsets(math.ceil(radius) + 1, images)
    kernel = (radius + 0.5 - (x**2 + y**2).sqrt()).clamp(0, 1)
    return filtered(images, kernel / kernel.sum())


def motion_blur(images: Tensor, draw: Draw, pixels: float) -> Tensor:
    """A line of a half length at an angle of the image's own."""
    reach = max(0.7, pixels)
    y, x = offsets(math.ceil(reach) + 1, images)
    angle = math.pi * draw.field("angle", 1, 1)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    kernel = (reach + 0.5 - along.abs()).clamp(0, 1) * (1 - across.abs()).clamp_min(0)
    return filtered(images, kernel / kernel.sum((1, 2), keepdim=True))


def zoom_blur(images: Tensor, _draw: Draw, most: float) -> Tensor:
    """The mean over zooms from 1 to `most`."""
    zooms = torch.linspace(1.0, most, 8).tolist()
    n = len(images)
    total = torch.zeros_like(images)
    for zoom in zooms:
        eye = torch.tensor([[1 / zoom, 0, 0], [0, 1 / zoom, 0]], dtype=images.dtype, device=images.device)
        grid = functional.affine_grid(eye.expand(n, 2, 3), list(images.shape), align_corners=False)
        total += functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return total / len(zooms)


def clouds(images: Tensor, draw: Draw) -> Tensor:
    """(n,1,H,W) in [0,1]: noise of all scales, each half as strong as the next coarser one."""
    height, width = images.shape[2:]
    total = torch.zeros(len(images), 1, height, width, dtype=images.dtype, device=images.device)
    cells, weight = 2, 1.0
    while cells <= min(height, width):
        coarse = draw.field(f"cloud{cells}", 1, cells, cells)
        total += weight * functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)
        cells, weight = 2 * cells, weight / 2
    low, high = total.amin((2, 3), keepdim=True), total.amax((2, 3), keepdim=True)
    return (total - low) / (high - low).clamp_min(1e-6)


def fog(images: Tensor, draw: Draw, amount: float) -> Tensor:
    """Clouds laid over it, and contrast taken away."""
    top = images.amax((1, 2, 3), keepdim=True)
    return (images + amount * clouds(images, draw)) * top / (top + amount).clamp_min(1e-6)


def snow(images: Tensor, draw: Draw, share: float) -> Tensor:
    """White flakes, blown aslant, over a paler image."""
    side = max(28, round(min(images.shape[2:]) / 2))
    size = tuple(images.shape[2:])
    flakes = (draw.field("flakes", 1, side, side) < share).to(images)
    flakes = functional.interpolate(flakes, size=size, mode="bilinear", align_corners=False)
    streaks = motion_blur(flakes, draw, max(1.6, min(size) / 37)) * 1.6
    pale = images + share * (0.5 + 0.5 * images.mean(1, keepdim=True) - images).clamp_min(0)
    return pale + streaks.clamp(0, 1) * (1 - pale)


def brightness(images: Tensor, _draw: Draw, amount: float) -> Tensor:
    """Lighter by so much."""
    return images + amount


def darkness(images: Tensor, _draw: Draw, share: float) -> Tensor:
    """Only a share of the light, as at dusk."""
    return images * share


def contrast(images: Tensor, _draw: Draw, share: float) -> Tensor:
    """Only a share of the distance from the channel's mean."""
    middle = images.mean((2, 3), keepdim=True)
    return middle + share * (images - middle)


def saturate(images: Tensor, _draw: Draw, share: float) -> Tensor:
    """Colours washed out to a share of their distance from grey."""
    grey = images.mean(1, keepdim=True)
    return grey + share * (images - grey)


def cells(side: int, count: int, like: Tensor) -> Tensor:
    """(count,side): how much of each pixel lies in each of `count` equal cells of a line."""
    ends = torch.arange(side + 1, dtype=torch.float64)
    width = side / count
    low = torch.arange(count, dtype=torch.float64)[:, None] * width
    return (torch.minimum(ends[1:], low + width) - torch.maximum(ends[:-1], low)).clamp_min(0).to(like)


def pixelate(images: Tensor, _draw: Draw, share: float) -> Tensor:
    """Stored at a share of its sides: each block becomes its mean, and a pixel on two blocks a mix of both."""
    height, width = images.shape[2:]
    down, across = (cells(side, max(1, round(side * share)), images) for side in (height, width))
    stored = (down / down.sum(1, keepdim=True)) @ images @ (across / across.sum(1, keepdim=True)).T
    return down.T @ stored @ across


def elastic(images: Tensor, draw: Draw, pixels: float) -> Tensor:
    """Each place moved by about so many pixels, neighbours alike."""
    height, width = images.shape[2:]
    coarse = draw.field("bend", 2, 7, 7, normal=True)
    bend = functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    eye = torch.eye(2, 3, dtype=images.dtype, device=images.device)
    grid = functional.affine_grid(eye.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    unit = torch.tensor([2 / width, 2 / height], dtype=images.dtype, device=images.device)
    moved = grid + pixels * bend.permute(0, 2, 3, 1) * unit
    return functional.grid_sample(images, moved, padding_mode="border", align_corners=False)


def jpeg(images: Tensor, _draw: Draw, quality: float) -> Tensor:
    """JPEG's loss at a quality."""
    return coded(images, quality)


Amounts = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Kind:
    """A corruption with what it is given at severities 1 to 5: to photographs, and to small images."""

    group: str
    function: Corrupt
    large: Amounts
    small: Amounts
    pixels: bool = False
    """Whether the amounts are lengths, in pixels of an image of LARGE or SMALL."""
    colour: bool = False
    """Whether it is only of images in colour."""

    def amount(self, severity: int, side: int) -> float:
        """What it is given at a severity from 1 to 5, for images with a shorter side of so many pixels."""
        amounts, reference = (self.small, SMALL) if side <= MOST_SMALL else (self.large, LARGE)
        return amounts[severity - 1] * (side / reference if self.pixels else 1.0)


KINDS: dict[str, Kind] = {
    "gaussian_noise": Kind("noise", gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38), (0.04, 0.06, 0.08, 0.09, 0.1)),
    "shot_noise": Kind("noise", shot_noise, (60, 25, 12, 5, 3), (500, 250, 100, 75, 50)),
    "impulse_noise": Kind("noise", impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27), (0.01, 0.02, 0.03, 0.05, 0.07)),
    "speckle_noise": Kind("noise", speckle_noise, (0.15, 0.2, 0.35, 0.45, 0.6), (0.06, 0.1, 0.12, 0.16, 0.2)),
    "gaussian_blur": Kind("blur", gaussian_blur, (1, 2, 3, 4, 6), (0.4, 0.6, 0.7, 0.8, 1), pixels=True),
    "defocus_blur": Kind("blur", defocus_blur, (3, 4, 6, 8, 10), (0.7, 0.85, 1.0, 1.25, 1.5), pixels=True),
    "motion_blur": Kind("blur", motion_blur, (4, 7, 10, 14, 18), (1, 1.5, 2, 2.5, 3), pixels=True),
    "zoom_blur": Kind("blur", zoom_blur, (1.1, 1.15, 1.2, 1.25, 1.3), (1.05, 1.1, 1.15, 1.2, 1.25)),
    "fog": Kind("weather", fog, (0.75, 1.0, 1.5, 2.0, 2.5), (0.2, 0.5, 0.75, 1.0, 1.5)),
    "snow": Kind("weather", snow, (0.06, 0.1, 0.15, 0.2, 0.28), (0.03, 0.05, 0.08, 0.12, 0.17)),
    "brightness": Kind("weather", brightness, (0.1, 0.2, 0.3, 0.4, 0.5), (0.05, 0.1, 0.15, 0.2, 0.3)),
    "darkness": Kind("weather", darkness, (0.7, 0.5, 0.35, 0.25, 0.15), (0.8, 0.65, 0.5, 0.4, 0.3)),
    "contrast": Kind("digital", contrast, (0.4, 0.3, 0.2, 0.1, 0.05), (0.75, 0.5, 0.4, 0.3, 0.15)),
    "saturate": Kind("digital", saturate, (0.7, 0.5, 0.3, 0.15, 0.0), (0.7, 0.5, 0.3, 0.15, 0.0), colour=True),
    "pixelate": Kind("digital", pixelate, (0.6, 0.5, 0.4, 0.3, 0.25), (0.95, 0.85, 0.75, 0.6, 0.5)),
    "elastic": Kind("digital", elastic, (2, 3, 4.5, 6, 8), (0.4, 0.6, 0.8, 1.1, 1.4), pixels=True),
    "jpeg": Kind("digital", jpeg, (25, 18, 15, 10, 7), (80, 65, 58, 50, 40)),
}
"""In four groups."""


def of_images(kinds: Sequence[str], channels: int) -> tuple[str, ...]:
    """Those of `kinds` that change images of so many channels: a grey one has no colour to lose."""
    return tuple(kind for kind in kinds if channels == 3 or not KINDS[kind].colour)


def corrupt(images: Tensor, kind: str, severity: int, *, seeds: Sequence[int]) -> Tensor:
    """Images (n,C,H,W) in [0,1] under a kind of KINDS at a severity from 0 (the image itself) to 5; `seeds`: one an image.

    Raises ValueError for a kind or severity that is not known.
    """
    if kind not in KINDS:
        raise ValueError(f"expected a corruption among {', '.join(KINDS)}, got {kind!r}; choose one of these")
    if severity not in (0, *SEVERITIES):
        raise ValueError(f"expected a severity from 0 to 5, got {severity!r}; 3 is the middle one")
    if severity == 0 or not len(images):
        return images
    found = KINDS[kind]
    return found.function(images, Draw(seeds, images), found.amount(severity, min(images.shape[2:]))).clamp(0.0, 1.0)
