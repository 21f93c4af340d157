"""How far a step goes along the gradient. n images; `slope` is dS/d(parameters), (n,...).

Published rates are for pixels of 0 to 255: along images in [0,1] a rate of 100 is 100 / 255^2, and a step of 1.5 is 1.5/255.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Moments = tuple[Tensor, ...]
"""What a rule keeps of each image between steps, (n,...)."""

LEVELS = 255.0
REFERENCE = (2.0 / 100.0) ** 0.5
"""Length of a gradient by pixels of 0 to 255 at which Yosinski's rate of 100 and progress of 2.0 give the same step."""


class Rule(Protocol):
    """A step size policy."""

    def begin(self, theta: Tensor) -> Moments:
        """What is kept of one image with parameters `theta` (...)."""

    def move(self, slope: Tensor, moments: Moments, step: Tensor) -> tuple[Tensor, Moments]:
        """(what is added to the parameters (n,...), the moments afterwards); `step` (n,) counts from 0."""


def each(values: Tensor, like: Tensor) -> Tensor:
    """(n,) values so shaped that they multiply `like` (n,...) image by image."""
    return values.view(-1, *(1,) * (like.ndim - 1))


def squared(slope: Tensor) -> Tensor:
    """(n,) |g|^2 of (n,...)."""
    return slope.flatten(1).square().sum(1)


@dataclass(frozen=True)
class Constant:
    """x + rate g (Yosinski 2015)."""

    rate: float = 100.0
    """For pixels of 0 to 255."""

    def begin(self, theta: Tensor) -> Moments:
        """Nothing is kept."""
        return ()

    def move(self, slope: Tensor, moments: Moments, step: Tensor) -> tuple[Tensor, Moments]:
        """rate g."""
        return self.rate / LEVELS**2 * slope, moments


@dataclass(frozen=True)
class Progress:
    """x + min(most, desired / |g|^2) g: the objective would rise by `desired` were it linear (Yosinski 2015)."""

    desired: float = 2.0
    most: float = 100.0
    """The largest rate, for pixels of 0 to 255."""

    def begin(self, theta: Tensor) -> Moments:
        """Nothing is kept."""
        return ()

    def move(self, slope: Tensor, moments: Moments, step: Tensor) -> tuple[Tensor, Moments]:
        """rate g, the rate by image; where g is 0 nothing moves."""
        rate = (self.desired / squared(slope)).clamp_max(self.most / LEVELS**2)
        return each(rate, slope) * slope, moments


@dataclass(frozen=True)
class Relative:
    """A published rule with its rates in units of this model's own gradients, and its steps `strength` times as long.

    A rate of 100 was chosen for one network. Here it stands for 100 (|g*| / |g0|)^2: g0 is the first gradient of the picture that
    is not 0, and |g*| = sqrt(2 / 100) the length at which a rate of 100 and a progress of 2 are one. A model whose scores are
    multiplied by k so makes the same picture with steps of 1/k.
    """

    rule: Constant | Progress
    strength: float = 1.0

    def begin(self, theta: Tensor) -> Moments:
        """|g0|^2, 0 until it is known."""
        return (theta.new_zeros(()),)

    def move(self, slope: Tensor, moments: Moments, step: Tensor) -> tuple[Tensor, Moments]:
        """As the rule moves where gradients are |g0| / |g*| times as long."""
        first = torch.where(moments[0] > 0, moments[0], squared(slope))
        longer = torch.where(first > 0, first.sqrt() / (REFERENCE * LEVELS), torch.ones_like(first))
        change, _ = self.rule.move(slope / each(longer, slope), (), step)
        return self.strength * change / each(longer, slope), (first,)


@dataclass(frozen=True)
class MeanStep:
    """x + step g / mean|g|: parameters move by `step` on average (Mordvintsev 2015, DeepDream; of a code Nguyen 2016)."""

    step: float = 1.5 / LEVELS
    """In units of the parameters: of pixels where an image spans [0,1]."""
    over: int | None = None
    """Steps over which it falls from `step` to 0, in equal parts; always the same where not given."""

    def begin(self, theta: Tensor) -> Moments:
        """Nothing is kept."""
        return ()

    def move(self, slope: Tensor, moments: Moments, step: Tensor) -> tuple[Tensor, Moments]:
        """step g / mean|g|; where g is 0 nothing moves."""
        mean = slope.abs().flatten(1).mean(1)
        left = torch.ones_like(mean) if self.over is None else (1 - step / self.over).clamp_min(0.0).to(mean.dtype)
        return each(left * self.step / mean.clamp_min(torch.finfo(slope.dtype).tiny), slope) * slope, moments


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma, Ba 2015), ascending."""

    rate: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8

    def begin(self, theta: Tensor) -> Moments:
        """The two moments, 0."""
        return torch.zeros_like(theta), torch.zeros_like(theta)

    def move(self, slope: Tensor, moments: Moments, step: Tensor) -> tuple[Tensor, Moments]:
        """rate m / (sqrt v + epsilon), both freed of their bias towards the start."""
        (one, two), count = self.betas, each(step + 1, slope).to(slope.dtype)
        first = torch.lerp(slope, moments[0], one)
        second = torch.lerp(slope.square(), moments[1], two)
        scaled = (second / (1 - two**count)).sqrt() + self.epsilon
        return self.rate * first / (1 - one**count) / scaled, (first, second)
