"""Penalties that keep an optimised picture natural (Mahendran & Vedaldi 2015)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

TINY = 1e-12
"""Under the root for beta < 2, whose slope at a flat pixel is infinite."""


def total_variation(images: Tensor, beta: float = 2.0) -> Tensor:
    """(n,) TV^beta of images (n,C,H,W): sum over pixels and channels of (dx^2 + dy^2)^(beta/2).

    dx and dy are forward differences, 0 across the border, so a ramp of slope a along the width gives a^2 H (W-1)
    at beta = 2. Raises ValueError for beta <= 0.
    """
    if beta <= 0:
        raise ValueError(f"total variation: expected beta > 0, got {beta}; 2 is the reference setting")
    across = functional.pad(images[..., :, 1:] - images[..., :, :-1], (0, 1, 0, 0))
    down = functional.pad(images[..., 1:, :] - images[..., :-1, :], (0, 0, 0, 1))
    squared = across.square() + down.square()
    return (squared if beta == 2 else (squared + TINY).pow(beta / 2)).flatten(1).sum(1)


def alpha_norm(images: Tensor, alpha: float = 6.0) -> Tensor:
    """(n,) |x|_alpha^alpha of images (n,C,H,W): sum over pixels and channels of |x|^alpha; the caller centres x.

    Raises ValueError for alpha < 1.
    """
    if alpha < 1:
        raise ValueError(f"alpha norm: expected alpha >= 1, got {alpha}; 6 is the reference setting")
    return images.abs().pow(alpha).flatten(1).sum(1)
