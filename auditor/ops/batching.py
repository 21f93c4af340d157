"""How many images go through a network at once: a pure function of their size and of the kind of device, never of the clock."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch

CPU, ACCELERATOR = 1_204_224, 9_633_792
"""Input numbers at once: 8 and 64 photographs of 224 px. On a CPU larger batches mostly fault pages: 32 photographs took two to
five times as long an image as 8 on EfficientNet-Lite0."""
MOST = 256


def images_at_once(shape: Sequence[int], device: torch.device | str, *, gradient: bool = False) -> int:
    """Images of `shape` (C,H,W) in one batch, from 1 to 256; half as many where the gradient is kept."""
    room = CPU if torch.device(device).type == "cpu" else ACCELERATOR
    return max(1, min(MOST, room // (2 if gradient else 1) // max(1, prod(shape))))
