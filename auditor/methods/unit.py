"""Images as attacks and inversions change them: (n,C,H,W) float32 in [0,1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from auditor.types import Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset


def unit_images(dataset: Dataset, positions: Sequence[int] | Array, device: torch.device | str) -> Tensor:
    """(n,C,H,W) in [0,1] on `device`; exactly k/255 where the data set holds 8 bits."""
    return as_unit(dataset.pixels(np.asarray(positions, dtype=np.int64)), device)


def as_unit(pixels: Array, device: torch.device | str) -> Tensor:
    """(n,H,W,C) uint8 as (n,C,H,W) in [0,1]."""
    return torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).contiguous().float() / 255


def as_pixels(images: Tensor) -> Array:
    """(n,C,H,W) in [0,1] as (n,H,W,C) uint8, rounded."""
    return np.asarray((images.detach() * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
