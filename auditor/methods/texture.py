"""Texture: a picture with the Gram matrices of another, and nothing else of it (Gatys, Ecker, Bethge 2015).

Of maps less the source's own means, with one more channel that is constant, c: G holds the covariance and c times the means,
and is met where both are; c^2 = |covariance|, so that both weigh alike. With F F^T of the maps as they are, the squares of the
means outweigh all else at layers without a rectifier: its share falls to 1e-4 and less while blades of grass and single stones
are still missing (EfficientNet-Lite0 at 224 px, 200 evaluations).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.methods.gram import Phi, gram, gram_share, takes, wide
from auditor.ops.lbfgs import minimise
from auditor.ops.resize import resized

NOISE = 0.1
"""Deviation of the noise about the source's mean colour from which the synthesis starts."""

SMALLEST = 40
"""Pixels of a side below which there is no coarse start."""


@dataclass(frozen=True)
class Synthesised:
    """A texture, and how near it came."""

    picture: Tensor
    """(C,H,W) in [0,1]."""
    share: Tensor
    """(L,) |G - G'|^2 / |G'|^2 of each layer at the picture, G as `centred` gives it."""
    begin: Tensor
    """(L,) the same at the noise."""
    losses: tuple[float, ...]
    """The mean over the layers at each evaluation."""


def noise_like(source: Tensor, size: tuple[int, int], seed: int) -> Tensor:
    """(1,C,H,W) noise about the mean colour of a source (C,h,w), the same for a seed on every device."""
    draw = torch.randn(1, source.shape[0], *size, generator=torch.Generator().manual_seed(seed)).to(source)
    return (source.mean((1, 2))[None, :, None, None] + NOISE * draw).clamp(0.0, 1.0)


def synthesise(
    phi: Phi,
    source: Tensor,
    *,
    size: tuple[int, int] | None = None,
    evaluations: int = 200,
    seed: int = 0,
    seen: Callable[[int, int], None] | None = None,
) -> Synthesised:
    """A picture of `size` (H,W), the source's own where None, with the Gram matrices of `source` (C,h,w) at the layers of `phi`,
    as `centred` gives them.

    By L-BFGS on the mean over the layers of |G - G'|^2 / |G'|^2, within [0,1]: from noise at half the size first, where the model
    takes that and it is at least SMALLEST, then from what came of it, as from white noise the large shapes come last of all.
    """
    high, across = size or (source.shape[1], source.shape[2])
    half, halves = (source.shape[1] // 2, source.shape[2] // 2), (high // 2, across // 2)
    noise = noise_like(source, (high, across), seed)
    start = noise
    if min(*half, *halves) >= SMALLEST and all(takes(phi, len(source), s, source.device) for s in (half, halves)):
        coarse = resized(source[None], half)[0]
        first = minimise(mean_share(phi, coarse), noise_like(source, halves, seed), evaluations=evaluations)
        start = resized(first.value, (high, across))
    ended = minimise(mean_share(phi, source), start, evaluations=evaluations, seen=seen)
    shares = shares_of(phi, source)
    with torch.no_grad():
        return Synthesised(ended.value[0], shares(ended.value), shares(noise), ended.losses)


def centred(maps: Tensor, of: Tensor) -> Tensor:
    """(n,c+1,c+1) the Gram matrix of maps (n,c,h,w) less the means of others (1,c,h',w'), and of a channel of c beside them.

    c^2 is the length of the others' covariance.
    """
    mean = wide(of).mean((2, 3), keepdim=True)
    less, size = wide(maps) - mean, gram(wide(of) - mean).norm().sqrt()
    return gram(torch.cat([less, size.expand(len(less), 1, *less.shape[2:])], 1))


def shares_of(phi: Phi, source: Tensor) -> Callable[[Tensor], Tensor]:
    """Images (1,C,H,W) -> (L,) |G - G'|^2 / |G'|^2, G' those of `source` (C,h,w), both as `centred` gives them."""
    with torch.no_grad():
        known = phi(source[None])
        wanted = [centred(maps, maps) for maps in known]

    def shares(images: Tensor) -> Tensor:
        found = [centred(maps, of) for maps, of in zip(phi(images), known, strict=True)]
        return torch.stack([gram_share(a, b)[0] for a, b in zip(found, wanted, strict=True)])

    return shares


def mean_share(phi: Phi, source: Tensor) -> Callable[[Tensor], Tensor]:
    """Their mean over the layers."""
    shares = shares_of(phi, source)
    return lambda images: shares(images).mean()
