"""Insertion (Petsiuk, Das & Saenko 2018): if a map is right, showing what it calls important first brings the class up first.

The image begins blurred beyond recognition: a blurred start brings in fewer edges of its own than a flat one does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from auditor.methods.deletion import deletion
from auditor.methods.inputs import TargetClass, checked
from auditor.methods.occlusion import Size, filling


def blurred(inputs: Tensor, share: float) -> Tensor:
    """(N,C,H,W) inputs under a Gaussian with a deviation of `share` of each side; its weights are those within the image."""
    down, across = (gaussian(side, share * side, inputs) for side in inputs.shape[2:])
    return down @ inputs @ across.T


def gaussian(side: int, deviation: float, like: Tensor) -> Tensor:
    """(side,side): row i holds the weights of a Gaussian about pixel i, which sum to 1; device and type of `like`."""
    place = torch.arange(side, device=like.device, dtype=like.dtype)
    if deviation <= 0:
        return torch.eye(side, device=like.device, dtype=like.dtype)
    return torch.softmax(-((place[:, None] - place[None]) ** 2) / (2 * deviation**2), 1)


def insertion(
    model: nn.Module,
    inputs: Tensor,
    target: TargetClass,
    order: Tensor,
    *,
    cell: Size,
    start: float | Tensor,
    steps: int = 20,
    batch: int | None = None,
) -> Tensor:
    """(N,steps+1) probability of the class as the cells of the image appear on `start` in `order` (N,T).

    `start` as `fill` of `occlusion`, such as `blurred(inputs, 1 / 8)`; all else as in `deletion`.
    """
    images, _ = checked(inputs, target)
    return deletion(model, filling(start, images).contiguous(), target, order, cell=cell, steps=steps, fill=images, batch=batch)
