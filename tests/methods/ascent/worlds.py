"""Models whose best picture is known, and spaces of small images in float64."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from auditor.methods.ascent import Space

torch.set_num_threads(1)


def space(shape: tuple[int, int, int] = (3, 6, 8), *, std: float = 0.25) -> Space:
    """Images in float64, normalised about 0.5."""
    return Space(shape, lambda x: (x - 0.5) / std, (0.5,) * shape[0], dtype=torch.float64)


class Linear(nn.Module):
    """(n,K) = W x of the normalised pixels, in float64."""

    def __init__(self, units: int, size: int, scale: float = 1.0) -> None:
        super().__init__()
        noise = torch.randn(units, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        self.weight = nn.Parameter(scale * noise)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


class Curved(nn.Module):
    """Two convolutions and a smooth bend, in float64: a gradient that depends on the picture."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(2)
            self.first = nn.Conv2d(channels, 5, 3, padding=1)
            self.bend = nn.Softplus()
            self.second = nn.Conv2d(5, 4, 3, padding=1, stride=2)
            self.head = nn.Conv2d(4, 6, 1)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.bend(self.first(x)))).mean((2, 3))
