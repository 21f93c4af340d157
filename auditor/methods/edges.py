"""The outlines of an image without any model: what a map that knows nothing of the weights tends to show (Adebayo 2018)."""

from __future__ import annotations

import torch
from torch import Tensor


def edges(images: Tensor) -> Tensor:
    """(N,H,W) length of the gradient of the grey images (N,C,H,W), by central differences; a side of one pixel has none."""
    grey = images.mean(1)
    slopes = [torch.gradient(grey, dim=axis)[0] if grey.shape[axis] > 1 else torch.zeros_like(grey) for axis in (1, 2)]
    return torch.hypot(*slopes)
