"""The smallest change that makes an image fall, looked for by FMN (Pintor et al. 2021): an upper bound on the true distance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.methods.attacks.ball import TINY, Norm, length, project, steepest, wide
from auditor.methods.attacks.victim import Images, Rise, climb, errs, margins

BISECTIONS = 8
BEYOND = 1.005
"""The radius goes a little beyond where the slope says that the border lies: on it nothing falls."""


@dataclass(frozen=True)
class Nearest:
    """For n images."""

    images: Tensor
    """(n,C,H,W) in [0,1]: the nearest image found that falls; the image itself where none was."""
    distance: Tensor
    """(n,) its distance in the norm; 0 where the image is wrong as it is, infinite where none was found."""


def minimal(
    model: Images, images: Tensor, labels: Tensor, *, normalise: Images, norm: Norm = "l2", steps: int = 40, batch: int = 0
) -> Nearest:
    """FMN: a ball that shrinks while the image falls and grows while it does not, walked along the margin's slope.

    Until something is found the radius is where the slope says that the border lies. Last, the line from the image to the nearest
    that falls is bisected. Raises ValueError for steps < 1.
    """
    if steps < 1:
        raise ValueError(f"minimal: expected steps >= 1, got {steps}; 40 is usual")
    best, distance = images.clone(), torch.full((len(images),), torch.inf, dtype=images.dtype, device=images.device)
    if not len(images):
        return Nearest(best, distance)
    lower: Rise = lambda scores, rows: -margins(scores, labels[rows])  # noqa: E731
    radius, at = distance.clone(), images
    for step in range(steps):
        slope, value, scores = climb(model, at, lower, normalise, batch)
        fell, far = scores.argmax(1) != labels, length(at - images, norm)
        nearer = fell & (far < distance)
        best, distance = torch.where(wide(nearer), at, best), torch.where(nearer, far, distance)
        decay = (1 + math.cos(math.pi * step / steps)) / 2
        rate, gain = 0.01 + 0.99 * decay, 0.001 + 0.049 * decay
        found = distance.isfinite()
        steep = length(slope, "l2") if norm == "l2" else slope.flatten(1).abs().sum(1)
        reach = BEYOND * (far + (-value).clamp_min(0).to(far) / steep.clamp_min(TINY))
        known = torch.where(fell, torch.minimum(radius * (1 - gain), distance), radius * (1 + gain))
        radius = torch.where(found, torch.where(radius.isfinite(), known, distance), reach)
        stride = rate * (1.0 if norm == "l2" else radius_step(radius))
        moved = at + wide(stride * torch.ones_like(radius)) * steepest(slope, norm)
        at = project(moved, images, radius.nan_to_num(posinf=1e6), norm)
    return polished(model, images, labels, Nearest(best, distance), normalise=normalise, norm=norm, batch=batch)


def radius_step(radius: Tensor) -> Tensor:
    """A stride in L-inf: twice the radius, so that the first step reaches every face of the ball."""
    return 2 * radius.nan_to_num(posinf=1.0).clamp_max(1.0)


def polished(
    model: Images, images: Tensor, labels: Tensor, found: Nearest, *, normalise: Images, norm: Norm, batch: int
) -> Nearest:
    """Bisect the line from each image to the one found; only images that fall are kept."""
    near, far = torch.zeros_like(found.distance), torch.ones_like(found.distance)
    best = found.images
    change = found.images - images
    for _ in range(BISECTIONS):
        middle = (near + far) / 2
        tried = images + wide(middle) * change
        fell = errs(model, tried, labels, normalise, batch) & found.distance.isfinite()
        best = torch.where(wide(fell), tried, best)
        near, far = torch.where(fell, near, middle), torch.where(fell, middle, far)
    shorter = torch.where(found.distance.isfinite(), length(best - images, norm), found.distance)
    return Nearest(best, shorter)
