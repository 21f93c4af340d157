"""Style transfer: the content of one picture in the texture of others (Gatys, Ecker, Bethge 2016).

    loss(x) = content |F - F0|^2 / |F0|^2 + style mean_l |G_l - sum_i b_i G_l,i|^2 / |sum_i b_i G_l,i|^2 + variation TV(x) / C

F are the maps of the content layer, G the Gram matrices of `auditor.methods.gram`, b the blend of the styles, which sums to 1.
TV is the sum over pixels of the squared slopes, which does not change with the resolution. The paper's losses are sums
(1/2 |F - F0|^2, and E with 1/4N^2M^2), so its ratio of weights does not carry over: here every term is a share, whatever the
layers and the size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from auditor.errors import TargetError, UsageError
from auditor.methods.gram import TINY, Phi, gram, gram_share, texture_layers, wide
from auditor.ops.lbfgs import minimise
from auditor.ops.regularisers import total_variation
from auditor.ops.resize import resized

if TYPE_CHECKING:
    from auditor.target import Target

STYLE = 10.0
"""Weight of the style beside a content weight of 1."""

VARIATION = 1e-4
"""Weight of the total variation."""

CONTENT = 8
"""Pixels to a position of the content layer, at most: deeper ones hold what is there, and no longer how it looks."""

YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
"""RGB to brightness and two colour axes (NTSC)."""


@dataclass(frozen=True)
class Weights:
    """What counts how much."""

    content: float = 1.0
    style: float = STYLE
    variation: float = VARIATION

    def __post_init__(self) -> None:
        if min(self.content, self.style, self.variation) < 0:
            raise UsageError(f"expected weights of 0 and more, got {self}; raise them")


@dataclass(frozen=True)
class Layers:
    """Which maps of a Phi are read."""

    style: tuple[int, ...]
    content: int


@dataclass(frozen=True)
class Transferred:
    """A picture, and how near it is to its two models."""

    picture: Tensor
    """(C,H,W) in [0,1]."""
    content: float
    """|F - F0| / |F0| at the content layer."""
    style: float
    """Mean over the style layers of |G - G'| / |G'|."""
    losses: tuple[float, ...]
    """The whole loss at each evaluation of the last size."""


@dataclass(frozen=True)
class Aim:
    """What a transfer comes near to."""

    maps: Tensor
    """(1,c,h,w) F0."""
    grams: tuple[Tensor, ...]
    """(1,c,c) a style layer: the blend."""


def blended(phi: Phi, layers: Layers, styles: Sequence[Tensor], blend: Sequence[float] | None = None) -> tuple[Tensor, ...]:
    """(1,c,c) a style layer: sum b_i G_i of styles (C,h,w), b scaled to sum 1, equal where None.

    Raises UsageError where there is no style, or `blend` has another length, a negative number, or only zeros.
    """
    shares = [1.0] * len(styles) if blend is None else [float(b) for b in blend]
    if not styles or len(shares) != len(styles) or min(shares) < 0 or sum(shares) <= 0:
        raise UsageError(f"blend: expected a number of 0 and more for each of {len(styles)} styles, got {shares}")
    found: list[Tensor] = []
    with torch.no_grad():
        for style, share in zip(styles, shares, strict=True):
            maps = phi(style[None])
            grams = [share / sum(shares) * gram(maps[i]) for i in layers.style]
            found = grams if not found else [a + b for a, b in zip(found, grams, strict=True)]
    return tuple(found)


def aim_of(phi: Phi, layers: Layers, content: Tensor, grams: tuple[Tensor, ...]) -> Aim:
    """The aim of a content (C,H,W) and Gram matrices."""
    with torch.no_grad():
        return Aim(wide(phi(content[None])[layers.content]), grams)


def layer_terms(phi: Phi, layers: Layers, aim: Aim, images: Tensor) -> Tensor:
    """(1 + L, n) of images (n,C,H,W): |F - F0|^2 / |F0|^2, and below it |G - G'|^2 / |G'|^2 of each style layer."""
    maps = phi(images)
    apart = (wide(maps[layers.content]) - aim.maps).flatten(1).square().sum(1)
    content = apart / aim.maps.flatten(1).square().sum(1).clamp_min(TINY)
    shares = [gram_share(gram(maps[i]), wanted) for i, wanted in zip(layers.style, aim.grams, strict=True)]
    return torch.stack([content, *shares])


def terms(phi: Phi, layers: Layers, aim: Aim, images: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) |F - F0|^2 / |F0|^2 and (n,) the mean over the style layers of |G - G'|^2 / |G'|^2, of images (n,C,H,W)."""
    found = layer_terms(phi, layers, aim, images)
    return found[0], found[1:].mean(0)


def loss_of(phi: Phi, layers: Layers, aim: Aim, weights: Weights) -> Callable[[Tensor], Tensor]:
    """Images (n,C,H,W) -> (n,) the whole loss."""

    def loss(images: Tensor) -> Tensor:
        content, style = terms(phi, layers, aim, images)
        smooth = total_variation(images) / images.shape[1]
        return weights.content * content + weights.style * style + weights.variation * smooth

    return loss


def transfer(
    phi: Phi,
    content: Tensor,
    styles: Sequence[Tensor],
    *,
    layers: Layers,
    weights: Weights | None = None,
    blend: Sequence[float] | None = None,
    sizes: Sequence[tuple[int, int]] = (),
    style_scale: float = 1.0,
    evaluations: int = 200,
    own_colours: bool = False,
    start: Tensor | None = None,
    enough: float = -math.inf,
    seen: Callable[[int, int], None] | None = None,
) -> Transferred:
    """`content` (C,H,W) in the texture of `styles` (C,h,w), all in [0,1], by L-BFGS from the content, or from `start` (C,h,w).

    `sizes` (H,W), coarse to fine: each starts from what came of the one before; the content's own where empty. A style is brought
    to the area of each size, its sides times `style_scale`, in its own aspect ratio: smaller gives finer strokes. `own_colours`:
    the brightness is the result's, the colours are the content's (Gatys et al. 2016, Preserving color). Each size ends at the
    first loss that is not above `enough`.
    """
    weights, steps = weights or Weights(), list(sizes) or [(content.shape[1], content.shape[2])]
    picture = None if start is None else start[None]
    for number, size in enumerate(steps):
        image = resized(content[None], size)[0] if size != tuple(content.shape[1:]) else content
        grams = blended(phi, layers, [scaled(style, size, style_scale) for style in styles], blend)
        aim = aim_of(phi, layers, image, grams)
        whole = loss_of(phi, layers, aim, weights)

        def told(done: int, _total: int, before: int = number) -> None:
            if seen is not None:
                seen(before * evaluations + done, len(steps) * evaluations)

        begin = image[None] if picture is None else resized(picture, size)

        def summed(images: Tensor, whole: Callable[[Tensor], Tensor] = whole) -> Tensor:
            return whole(images).sum()

        ended = minimise(summed, begin, evaluations=evaluations, enough=enough, seen=told)
        picture = ended.value
    assert picture is not None
    if own_colours:
        picture = recoloured(picture, image[None])
    with torch.no_grad():
        apart, off = terms(phi, layers, aim, picture)
    return Transferred(picture[0], float(apart.sqrt()), float(off.sqrt()), ended.losses)


def scaled(style: Tensor, size: tuple[int, int], scale: float) -> Tensor:
    """A style (C,h,w) of about `scale`^2 times the pixels of `size`, in its own aspect ratio."""
    if scale <= 0:
        raise UsageError(f"style scale: expected a number above 0, got {scale}; 1 is the default")
    factor = scale * (size[0] * size[1] / (style.shape[1] * style.shape[2])) ** 0.5
    sides = max(1, round(style.shape[1] * factor)), max(1, round(style.shape[2] * factor))
    return style if sides == tuple(style.shape[1:]) else resized(style[None], sides)[0]


def recoloured(images: Tensor, colours: Tensor) -> Tensor:
    """The brightness of images (n,3,H,W) in the colours of others (n,3,H,W), in [0,1]; as they are where they have no colour."""
    if images.shape[1] != 3:
        return images
    to = torch.tensor(YIQ, dtype=images.dtype, device=images.device)
    bright = functional.conv2d(images, to[:1, :, None, None])
    hue = functional.conv2d(colours, to[1:, :, None, None])
    back = torch.linalg.inv(to.double()).to(images.dtype)
    return functional.conv2d(torch.cat([bright, hue], 1), back[:, :, None, None]).clamp(0, 1)


def style_layers(target: Target, count: int = 5) -> tuple[tuple[str, ...], Layers]:
    """(names from shallow to deep, which of them): `texture_layers` for the style, and for the content the deepest of these that
    is no coarser than CONTENT pixels. Raises TargetError where no layer gives maps.
    """
    names = texture_layers(target, count)
    if not names:
        raise TargetError("expected a model with at least one layer that gives maps, found none; give another model")
    layout = {call.name: call.layout for call in target.trace}
    fine = [i for i, name in enumerate(names) if (held := layout[name]) and held.grid[0] * CONTENT >= target.input_shape[1]]
    return names, Layers(tuple(range(len(names))), fine[-1] if fine else 0)
