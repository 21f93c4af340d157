"""Ascent in the code of a generator (DGN-AM, Nguyen et al. 2016): a parameterisation and a recipe of the ascent engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from auditor.methods.ascent import Recipe, Space
from auditor.methods.ascent.rules import MeanStep
from auditor.ops.resize import resized
from auditor.types import Array

STEPS, KEPT, DEVIATIONS = 200, 0.99, 3.0
"""Published: steps, what is left of the code after each, and where it is clipped, in deviations above the mean."""
STEP, NOISE = 8 / 12, 1 / 12
"""The published first step of 8.0, and the deviation of the start of 1.0, in units of the range of a code: the fc6 of CaffeNet
that they were chosen for has a mean + 3 sigma of 12 (8 to 17), and its range begins at 0."""


@dataclass(frozen=True, eq=False)
class Range:
    """Where the code of a generator lies. D numbers each."""

    low: Tensor
    high: Tensor
    rest: Tensor
    """What it decays to: 0, or the mean where a number can be negative, whose 0 means nothing."""
    start: Tensor
    """What ascent begins about: the mean."""

    @property
    def size(self) -> float:
        """Mean of high - low: what steps are measured in."""
        return float((self.high - self.low).mean())


def measured_range(features: Array, device: torch.device | str = "cpu") -> Range:
    """The range of features (N,D), N >= 1.

    From 0 to mean + 3 sigma for those that are never negative, as published. The others may go as far below their mean, but not
    below the lowest value that was seen: a smooth rectifier has a floor.
    """
    data = np.asarray(features, dtype=np.float64)
    mean, deviation, least = data.mean(0), data.std(0), data.min(0)
    positive = least >= 0
    low = np.where(positive, 0.0, np.maximum(mean - DEVIATIONS * deviation, least))
    high = mean + DEVIATIONS * deviation
    rest = np.where(positive, 0.0, mean)
    return Range(*(torch.tensor(part, dtype=torch.float32, device=device) for part in (low, high, rest, mean)))


@dataclass(frozen=True, eq=False)
class Code:
    """The code, about its rest, of a generator's image."""

    pixelwise: ClassVar[bool] = False
    generator: Callable[[Tensor], Tensor]
    """Codes (n,D) to images (n,C,h,w) in [0,1]."""
    range: Range | None = None
    """Where the code stays; anywhere where not given, and then a start must be."""
    begins: Tensor | None = None
    """(D,); by `range`, with seeded noise, where not given."""

    def begin(self, space: Space, start: Tensor | None, generator: Generator) -> Tensor:
        """(D,) about the rest. `start` would be an image, and a code has none: raises ValueError."""
        if start is not None:
            raise ValueError("expected no image to start a code from: give `begins`, its features")
        if self.begins is not None:
            return self.begins.detach().to(device=space.device, dtype=space.dtype) - self.rest(space)
        if self.range is None:
            raise ValueError("expected a range or a start of the code, got neither: give `range`")
        noise = space.drawn(torch.randn(self.range.start.shape, generator=generator))
        return self.range.start + NOISE * self.range.size * noise - self.range.rest

    def rest(self, space: Space) -> Tensor:
        """(D,) or ()."""
        return torch.zeros((), device=space.device, dtype=space.dtype) if self.range is None else self.range.rest

    def codes(self, theta: Tensor) -> Tensor:
        """(n,D)."""
        return theta if self.range is None else theta + self.range.rest

    def images(self, theta: Tensor, space: Space) -> Tensor:
        """At the size of the space."""
        return resized(self.generator(self.codes(theta)), space.shape[1:])

    def valid(self, theta: Tensor) -> Tensor:
        """Clipped to the range."""
        if self.range is None:
            return theta
        return torch.minimum(torch.maximum(theta, self.range.low - self.range.rest), self.range.high - self.range.rest)


def code_recipe(generator: Callable[[Tensor], Tensor], where: Range, *, steps: int = STEPS) -> Recipe:
    """The published course: `steps` of 8.0 falling to 0 in equal parts along g / mean|g|, the code times 0.99 after each."""
    return Recipe(Code(generator, where), MeanStep(STEP * where.size, over=steps), steps + 1, kept=KEPT)
