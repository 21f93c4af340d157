"""What keeps an optimised picture natural: Yosinski's four (2015), which change the picture after a step, and penalties.

n images, x (n,C,H,W) about the mean colour, g (n,C,H,W) the gradient at the last forward. A pixel is (C,) numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from auditor.methods.ascent.rules import each
from auditor.ops.blur import gaussian_blur
from auditor.ops.regularisers import total_variation


class Regulariser(Protocol):
    """Changes a picture after each step but the last."""

    def __call__(self, x: Tensor, slope: Tensor, step: Tensor) -> Tensor:
        """x (n,C,H,W) afterwards; `step` (n,) counts from 0."""


class Penalty(Protocol):
    """Is taken off the objective."""

    def __call__(self, x: Tensor) -> Tensor:
        """(n,)."""


@dataclass(frozen=True)
class Decay:
    """x (1 - share)."""

    share: float

    def __call__(self, x: Tensor, slope: Tensor, step: Tensor) -> Tensor:
        """x (n,C,H,W) shrunk."""
        return x * (1 - self.share)


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur of `sigma` px at the steps 0, every, 2 every, ..."""

    sigma: float
    every: int = 1

    def __call__(self, x: Tensor, slope: Tensor, step: Tensor) -> Tensor:
        """x (n,C,H,W), blurred where it is an image's turn."""
        turn = step % self.every == 0
        return torch.where(each(turn, x), gaussian_blur(x, self.sigma), x) if bool(turn.any()) else x


@dataclass(frozen=True)
class SmallNorm:
    """Pixels whose norm lies under the given percentile become 0."""

    percent: float

    def __call__(self, x: Tensor, slope: Tensor, step: Tensor) -> Tensor:
        """x (n,C,H,W) without them."""
        return without_smallest(x, torch.linalg.vector_norm(x, dim=1), self.percent)


@dataclass(frozen=True)
class SmallContribution:
    """Pixels whose contribution |sum_c -x g| lies under the given percentile become 0."""

    percent: float

    def __call__(self, x: Tensor, slope: Tensor, step: Tensor) -> Tensor:
        """x (n,C,H,W) without them."""
        return without_smallest(x, (x * slope).sum(1).abs(), self.percent)


def without_smallest(x: Tensor, size: Tensor, percent: float) -> Tensor:
    """x (n,C,H,W) with 0 where `size` (n,H,W) lies under its own percentile of the image."""
    line = torch.quantile(size.flatten(1), percent / 100, dim=1)
    return torch.where((size < each(line, size))[:, None], torch.zeros_like(x), x)


@dataclass(frozen=True)
class L2:
    """weight |x|^2 (Simonyan 2014)."""

    weight: float

    def __call__(self, x: Tensor) -> Tensor:
        """(n,)."""
        return self.weight * x.flatten(1).square().sum(1)


@dataclass(frozen=True)
class Variation:
    """weight TV^2 (Mahendran, Vedaldi 2015)."""

    weight: float

    def __call__(self, x: Tensor) -> Tensor:
        """(n,)."""
        return self.weight * total_variation(x)
