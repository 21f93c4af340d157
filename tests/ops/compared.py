"""Numbers from a seed, and how far two tensors are apart."""

from __future__ import annotations

import torch
from torch import Tensor

EXACT = 1e-12
"""Of the largest value, in float64."""


def drawn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, of the largest value."""
    assert found.shape == wanted.shape
    assert wanted.abs().max() > 0
    return float((found - wanted).abs().max() / wanted.abs().max())
