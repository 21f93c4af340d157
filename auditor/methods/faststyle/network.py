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
"""Half the channels at half the size, a quarter of those at a quarter of it."""
BLOCKS = 4
"""Residual blocks at a quarter of the size."""
FOLD = 2
"""Side of the squares of pixels that are laid into channels, before the first convolution and back after the last: at the full
size nothing is convolved, where a map costs the most and the style has the least to say."""
SIDE = 5
"""Side of the first and of the last convolution, in squares."""
EPS = 1e-5
APART = 0.1
"""Deviation of the first gains and offsets: styles that begin alike are slow to part."""


def instance_norm(maps: Tensor) -> Tensor:
    """(n,c,h,w) less the mean of each map, over its deviation: IN(a x + b) = IN(x), and no image sees another."""
    return torch.group_norm(maps, maps.shape[1], eps=EPS)  # of one channel each: one kernel, forwards and backwards


class ConditionalNorm(nn.Module):
    """gamma_s IN(x) + beta_s, of a blend of styles sum_s b_s gamma_s and sum_s b_s beta_s."""

    def __init__(self, styles: int, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(1 + APART * torch.randn(styles, channels))
        self.beta = nn.Parameter(APART * torch.randn(styles, channels))

    def forward(self, maps: Tensor, blend: Tensor) -> Tensor:
        """(n,c,h,w) under blends (n,S)."""
        gain, offset = ((blend @ held)[:, :, None, None] for held in (self.gamma, self.beta))
        return torch.addcmul(offset, instance_norm(maps), gain)


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

    Squares of FOLD x FOLD pixels as channels (Shi et al. 2016), a convolution of stride 2, residual blocks, nearest-neighbour
    enlargement with a convolution (Odena 2016: transposed ones leave a checkerboard), squares again, and
    sigmoid(gamma IN(IN(x) + change) + beta): at no change the picture with the contrast and the brightness that belong to the
    style.
    """

    def __init__(self, channels: int, styles: int, width: int = WIDTH, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.styles = styles
        inner, half, quarter = channels * FOLD**2, 2 * width, 4 * width
        self.first, self.down = Normed(conv(inner, half, SIDE), styles), Normed(conv(half, quarter, 3, 2), styles)
        self.blocks = nn.ModuleList(Residual(quarter, styles) for _ in range(blocks))
        self.up = Normed(conv(quarter, half, 3), styles)
        self.last, self.colours = conv(half, inner, SIDE), ConditionalNorm(styles, channels)

    def forward(self, images: Tensor, blend: Tensor) -> Tensor:
        """(n,C,h,w) in [0,1]."""
        given, (high, across) = instance_norm(images), images.shape[2:]
        whole = functional.pad(given, (0, -across % FOLD, 0, -high % FOLD), mode="replicate")
        maps = self.first(functional.pixel_unshuffle(whole, FOLD), blend)
        side = maps.shape[2:]
        maps = self.down(maps, blend)
        for block in self.blocks:
            maps = block(maps, blend)
        maps = self.up(functional.interpolate(maps, size=side, mode="nearest"), blend)
        change = functional.pixel_shuffle(self.last(maps), FOLD)[:, :, :high, :across]
        return torch.sigmoid(self.colours(given + change, blend))

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
    half = -(-size[0] // FOLD), -(-size[1] // FOLD)
    quarter = -(-half[0] // 2), -(-half[1] // 2)
    square = 9 * width * width
    ends = 2 * SIDE**2 * channels * FOLD**2 * 2 * width + 8 * square
    return ends * half[0] * half[1] + (8 + blocks * 2 * 16) * square * quarter[0] * quarter[1]
