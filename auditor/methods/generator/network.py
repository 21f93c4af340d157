"""An up-convolutional net from a feature vector to an image (Dosovitskiy & Brox 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

COARSEST = 7
"""Longer side of the smallest map, at most."""
DOUBLINGS = 4
"""Channels double towards the coarse maps so often, at most."""
LEAK = 0.2
"""Slope of the rectifiers below 0, as in Dosovitskiy & Brox."""


def output_size(shape: Sequence[int], most: int) -> tuple[int, int]:
    """(h,w) of the images that are generated for inputs of `shape` (C,H,W): no side above `most`, their ratio kept."""
    high, wide = shape[-2:]
    scale = min(1.0, most / max(high, wide))
    return max(1, round(high * scale)), max(1, round(wide * scale))


def pyramid(size: tuple[int, int]) -> list[tuple[int, int]]:
    """The sides of the maps, from the coarsest to `size`: each half of the next, rounded up."""
    sides = [size]
    while max(sides[0]) > COARSEST:
        sides.insert(0, (-(-sides[0][0] // 2), -(-sides[0][1] // 2)))
    return sides


def widths(count: int, width: int) -> list[int]:
    """Channels of `count` maps, from the coarsest to the finest."""
    return [width * 2 ** min(count - 1 - i, DOUBLINGS) for i in range(count)]


class UpConv(nn.Module):
    """Codes (n,D) to images (n,C,h,w) in [0,1].

    A linear layer to the coarsest map; at each doubling nearest-neighbour enlargement, a 3x3 convolution, batch norm and a leaky
    rectifier (enlargement in the place of their transposed convolutions, which leave a checkerboard: Odena 2016); a sigmoid.
    """

    def __init__(self, features: int, channels: int, size: tuple[int, int], width: int) -> None:
        """`width`: channels of the finest maps."""
        super().__init__()
        self.sides = pyramid(size)
        wide = widths(len(self.sides), width)
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("average", torch.full((channels, *size), 0.5))
        self.linear = nn.Linear(features, wide[0] * self.sides[0][0] * self.sides[0][1])
        self.norm = nn.BatchNorm2d(wide[0])
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise(wide))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in wide[1:])
        self.last = nn.Conv2d(wide[-1], channels, 3, padding=1)

    centre: Tensor
    """(D,) that is taken off a code."""
    spread: Tensor
    """() that a code is divided by then."""
    average: Tensor
    """(C,h,w) in [0,1]: the mean of the images it was trained on, what it would give without a code."""

    def forward(self, codes: Tensor) -> Tensor:
        """(n,C,h,w)."""
        flat = self.linear((codes - self.centre) / self.spread)
        maps = functional.leaky_relu(self.norm(flat.view(len(codes), -1, *self.sides[0])), LEAK)
        for size, conv, norm in zip(self.sides[1:], self.convs, self.norms, strict=True):
            maps = functional.leaky_relu(norm(conv(functional.interpolate(maps, size=size, mode="nearest"))), LEAK)
        return torch.sigmoid(self.last(maps))


def multiplications(features: int, channels: int, size: tuple[int, int], width: int) -> int:
    """Of one image through an UpConv of these settings."""
    sides = pyramid(size)
    wide = widths(len(sides), width)
    found = features * wide[0] * sides[0][0] * sides[0][1]
    for (high, across), (inner, outer) in zip(sides[1:], pairwise(wide), strict=True):
        found += 9 * inner * outer * high * across
    return found + 9 * wide[-1] * channels * size[0] * size[1]
