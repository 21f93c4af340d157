"""The set that an attack stays in: a ball in L-inf or L2 about each image, cut with [0,1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Norm: TypeAlias = Literal["linf", "l2"]

SLACK = 1e-6
"""Of one 8-bit level: 2/255*255 is not 2 in every float."""

TINY = 1e-12


def wide(values: Tensor) -> Tensor:
    """(n,) as (n,1,1,1)."""
    return values.view(-1, 1, 1, 1)


def length(change: Tensor, norm: Norm) -> Tensor:
    """(n,) length of each change (n,C,H,W): the largest pixel, or the root of the summed squares."""
    flat = change.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.square().sum(1).sqrt()


def project(images: Tensor, origin: Tensor, epsilon: float | Tensor, norm: Norm = "linf") -> Tensor:
    """Into the ball of radius epsilon, one number or (n,), about `origin`, and into [0,1]."""
    if norm == "linf":
        room = wide(epsilon) if isinstance(epsilon, Tensor) else epsilon
        return images.clamp(origin - room, origin + room).clamp(0.0, 1.0)
    change = images - origin
    shrunk = (epsilon / length(change, "l2").clamp_min(TINY)).clamp_max(1.0)
    return (origin + change * wide(shrunk)).clamp(0.0, 1.0)


def steepest(slope: Tensor, norm: Norm) -> Tensor:
    """The direction of length 1 along which the slope rises fastest: its sign, or itself at unit length; 0 where it is 0."""
    return slope.sign() if norm == "linf" else slope / wide(length(slope, "l2").clamp_min(TINY))


def begin(images: Tensor, epsilon: float, seeds: Sequence[int] | None, norm: Norm = "linf") -> Tensor:
    """The images, or with one seed an image a random point of the ball about each: uniform in L-inf, in L2 on a random ray."""
    if seeds is None:
        return images.clone()
    drawn = [torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    noise = 2 * torch.stack(drawn).to(images) - 1
    if norm == "linf":
        return project(images + epsilon * noise, images, epsilon)
    far = torch.tensor([float(torch.rand((), generator=torch.Generator().manual_seed(seed + 104_729))) for seed in seeds])
    return project(images + epsilon * steepest(noise, "l2") * wide(far.to(images)), images, epsilon, "l2")


def whole_levels(epsilon: float) -> int:
    """How many 8-bit levels fit in epsilon."""
    return int(epsilon * 255 + SLACK)


def stored(images: Tensor, origin: Tensor, epsilon: float, norm: Norm = "linf") -> Tensor:
    """The images as 8 bits keep them. L-inf: no pixel moves by more whole levels than fit in epsilon. L2: rounded, no more."""
    grid = (images * 255).round()
    if norm == "linf":
        levels, base = whole_levels(epsilon), (origin * 255).round()
        grid = grid.clamp(base - levels, base + levels)
    return grid.clamp(0.0, 255.0) / 255
