"""Gaussian blur of images, as scipy.ndimage.gaussian_filter does it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

TRUNCATE = 4.0
"""The kernel ends at this many deviations."""


def gaussian_kernel(sigma: float, like: Tensor) -> Tensor:
    """(2r+1,) weights that sum to 1, r = 4 sigma rounded; of the type and on the device of `like`."""
    radius = int(TRUNCATE * sigma + 0.5)
    places = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    weights = torch.exp(-0.5 * (places / sigma) ** 2)
    return weights / weights.sum()


def mirrored(side: int, radius: int, device: torch.device) -> Tensor:
    """(side + 2 radius,) indices that continue a line by its mirror image, the border pixel twice, however often that takes."""
    places = torch.arange(-radius, side + radius, device=device) % (2 * side)
    return torch.minimum(places, 2 * side - 1 - places)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """(n,C,H,W) blurred with a deviation of `sigma` px. Raises ValueError for sigma <= 0."""
    if sigma <= 0:
        raise ValueError(f"gaussian blur: expected sigma > 0, got {sigma}; leave the blur out instead")
    count, channels, high, wide = images.shape
    kernel = gaussian_kernel(sigma, images)
    radius = len(kernel) // 2
    flat = images.reshape(count * channels, 1, high, wide)
    flat = functional.conv2d(flat[:, :, mirrored(high, radius, images.device)], kernel.view(1, 1, -1, 1))
    flat = functional.conv2d(flat[:, :, :, mirrored(wide, radius, images.device)], kernel.view(1, 1, 1, -1))
    return flat.reshape(images.shape)
