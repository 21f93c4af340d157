"""Integrated gradients (Sundararajan, Taly & Yan 2017), by captum."""

from __future__ import annotations

import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.inputs import TargetClass, checked, own_score, scores_of
from auditor.methods.occlusion import filling
from auditor.ops.batching import images_at_once


def integrated_gradients(
    model: nn.Module,
    inputs: Tensor,
    target: TargetClass,
    *,
    steps: int = 32,
    baseline: float | Tensor = 0.0,
    batch: int | None = None,
) -> Tensor:
    """(N,C,H,W) (x - x') times the mean gradient on the straight line from the baseline x' to x, by Gauss-Legendre.

    `steps` points an image; `baseline` as `fill` of occlusion, in the units of `inputs` (0 is the mean pixel of normalised
    ones). The attributions of an image sum to S(x) - S(x') as far as the points are dense enough: see `completeness`.
    """
    images, classes = checked(inputs, target)
    if steps < 1:
        raise UsageError(f"expected at least 1 step of integration, got {steps}")
    start = filling(baseline, images)
    size = batch or images_at_once(images.shape[1:], images.device, gradient=True)
    found = [torch.zeros_like(images[:0])]
    for n in range(len(images)):
        leaf = images[n : n + 1].clone().requires_grad_(True)
        found.append(
            IntegratedGradients(own_score(model, classes[n]))
            .attribute(
                leaf,
                baselines=start[n : n + 1].contiguous(),
                n_steps=steps,
                method="gausslegendre",
                internal_batch_size=size,
            )
            .detach()
        )
    return torch.cat(found)


def completeness(
    model: nn.Module, inputs: Tensor, target: TargetClass, attribution: Tensor, *, baseline: float | Tensor = 0.0
) -> Tensor:
    """(N,) |sum of the attribution - (S(x) - S(x'))| / |S(x) - S(x')|: 0 is complete. NaN where the score does not move."""
    images, classes = checked(inputs, target)
    with torch.no_grad():
        rise = scores_of(model, images, classes)[1] - scores_of(model, filling(baseline, images).contiguous(), classes)[1]
    gap = (attribution.flatten(1).sum(1) - rise).abs()
    return torch.where(rise != 0, gap / rise.abs(), torch.nan)
