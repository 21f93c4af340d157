"""A feed-forward net that gives a picture the style it was trained on, for many styles (Johnson, Alahi, Fei-Fei 2016).

Instance norm in the place of batch norm (Ulyanov, Vedaldi, Lempitsky 2016), and all that differs between styles is the gain and
offset after it (Dumoulin, Shlens, Kudlur 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 16
"""Channels at the full size; twice that at half of it, four times at a quarter."""
BLOCKS = 4
"""Residual blocks at a quarter of the size."""
EPS = 1e-5
APART = 0.1
"""Deviation of the first gains and offsets: styles that begin alike are slow to part."""


def instance_norm(maps: Tensor) -> Tensor:
    """(n,c,h,w) less the mean of each map, over its deviation: IN(a x + b) = IN(x), and no image sees another."""
    centred = maps - maps.mean((2, 3), keepdim=True)
    return centred * (centred.square().mean((2, 3), keepdim=True) + EPS).rsqrt()


class ConditionalNorm(nn.Module):
    """gamma_s IN(x) + beta_s, of a blend of styles sum_s b_s gamma_s and sum_s b_s beta_s."""

    def __init__(self, styles: int, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(1 + APART * torch.randn(styles, channels))
        self.beta = nn.Parameter(APART * torch.randn(styles, channels))

    def forward(self, maps: Tensor, blend: Tensor) -> Tensor:
        """(n,c,h,w) under blends (n,S)."""
        scaled: Tensor = instance_norm(maps) * (blend @ self.gamma)[:, :, None, None]
        return scaled + (blend @ self.beta)[:, :, None, None]


def conv(before: int, after: int, side: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that goes on at the border with the pixels that lie there."""
    return nn.Conv2d(before, after, side, stride, side // 2, padding_mode="replicate")


class Normed(nn.Module):
    """A convolution, the norm of its style, and a rectifier where `rectified`."""

    def __init__(self, layer: nn.Conv2d, styles: int, *, rectified: bool = True) -> None:
        super().__init__()
        self.conv, self.norm, self.rectified = layer, ConditionalNorm(styles, layer.out_channels), rectified

    def forward(self, maps: Tensor, blend: Tensor) -> Tensor:
        """(n,c',h',w')."""
        found: Tensor = self.norm(self.conv(maps), blend)
        return functional.relu(found) if self.rectified else found


class Residual(nn.Module):
    """x + two normed convolutions of it, without a rectifier after the sum (Gross & Wilber 2016)."""

    def __init__(self, channels: int, styles: int) -> None:
        super().__init__()
        self.first = Normed(conv(channels, channels, 3), styles)
        self.second = Normed(conv(channels, channels, 3), styles, rectified=False)

    def forward(self, maps: Tensor, blend: Tensor) -> Tensor:
        """(n,c,h,w)."""
        found: Tensor = maps + self.second(self.first(maps, blend), blend)
        return found


class StyleNet(nn.Module):
    """Pictures (n,C,h,w) in [0,1] and blends (n,S) of styles, to pictures of the same size.

    Two convolutions of stride 2, residual blocks, twice nearest-neighbour enlargement with a convolution (Odena 2016: transposed
    ones leave a checkerboard), and sigmoid(gamma IN(IN(x) + change) + beta): at no change the picture with the contrast and
    the brightness that belong to the style.
    """

    def __init__(self, channels: int, styles: int, width: int = WIDTH, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.styles = styles
        wide = (width, 2 * width, 4 * width)
        self.down = nn.ModuleList([
            Normed(conv(channels, wide[0], 9), styles),
            Normed(conv(wide[0], wide[1], 3, 2), styles),
            Normed(conv(wide[1], wide[2], 3, 2), styles),
        ])  # fmt: skip
        self.blocks = nn.ModuleList(Residual(wide[2], styles) for _ in range(blocks))
        self.up = nn.ModuleList([Normed(conv(wide[2], wide[1], 3), styles), Normed(conv(wide[1], wide[0], 3), styles)])
        self.last, self.colours = conv(wide[0], channels, 9), ConditionalNorm(styles, channels)

    def forward(self, images: Tensor, blend: Tensor) -> Tensor:
        """(n,C,h,w) in [0,1]."""
        given = instance_norm(images)
        maps, sides = given, []
        for layer in self.down:
            sides.append(maps.shape[2:])
            maps = layer(maps, blend)
        for block in self.blocks:
            maps = block(maps, blend)
        for layer, side in zip(self.up, sides[:0:-1], strict=True):
            maps = layer(functional.interpolate(maps, size=side, mode="nearest"), blend)
        return torch.sigmoid(self.colours(given + self.last(maps), blend))

    def norms(self) -> list[ConditionalNorm]:
        """All that belongs to the styles."""
        return [module for module in self.modules() if isinstance(module, ConditionalNorm)]

    def begin_styles(self, known: Sequence[int], new: Sequence[int]) -> None:
        """Let new styles begin at the mean of known ones."""
        with torch.no_grad():
            for norm in self.norms():
                for held in (norm.gamma, norm.beta):
                    held[list(new)] = held[list(known)].mean(0)


def one_hot(styles: int, which: Sequence[int], like: Tensor) -> Tensor:
    """(n,S) blends of one style each, in the type and on the device of `like`."""
    return functional.one_hot(torch.tensor(list(which)), styles).to(like)


def multiplications(channels: int, size: tuple[int, int], width: int = WIDTH, blocks: int = BLOCKS) -> int:
    """Of one picture of `size` through a StyleNet of these settings."""
    areas = [size]
    for _ in range(2):
        areas.append((-(-areas[-1][0] // 2), -(-areas[-1][1] // 2)))
    full, half, quarter = (high * across for high, across in areas)
    square = 9 * width * width
    down = 2 * square * half + 8 * square * quarter
    up = 8 * square * half + 2 * square * full
    return 2 * 81 * channels * width * full + down + up + blocks * 2 * 16 * square * quarter
