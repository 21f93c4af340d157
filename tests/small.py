"""A small classifier, and pictures for it: 3 x 16 x 16 to 3 classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auditor.preprocess import Geometry, Preprocess

PREPROCESS = Preprocess(Geometry("RGB", (16, 16), None, "nearest"), (0.5,) * 3, (0.25,) * 3)


class Net(nn.Module):
    """A convolution, a ReLU, a mean, a line."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).relu().mean((2, 3)))


def net() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


def images(n: int = 30) -> Any:
    return np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)
