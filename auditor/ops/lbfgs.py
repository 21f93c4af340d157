"""L-BFGS within bounds, on tensors, with a budget that is counted exactly.

Each step is clipped into the bounds (Johnson et al. 2016 do so), and the metric learns from the step as it was meant: a number at
its bound then seems flatter than it is, and the others go further. On style transfer and textures this ends as low as scipy's
L-BFGS-B, which walks from bound to bound and takes longer for that than the loss.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

MEMORY = 20
"""Pairs of steps and gradients that stand for the curvature."""
SHORTER = 0.3
"""Times the step, where the loss has not fallen enough."""
DECREASE = 1e-4
"""Of what the slope promises: how much the loss must fall (Armijo)."""
AMONG = 10
"""The loss must fall below the highest of so many before it (Grippo et al. 1986): a rise now and then is a short way round."""
SHORTEST = 1e-10
"""Of a whole step: below it the descent has ended."""
CURVED = 1e-10
"""s'y / y'y from which on a pair is kept: the others would not let the metric stay positive."""
FIXED, OWN = 5e-4, 4e-8
"""Seconds that an evaluation takes beside the loss, and for each number: 0.5 ms of 784 numbers, 6 ms of 150,528."""


def step_seconds(shape: Sequence[int]) -> float:
    """About how long the optimiser's own part of an evaluation takes for a picture of `shape` (C,H,W), on one core."""
    return FIXED + math.prod(shape) * OWN


class _SpentError(Exception):
    """The budget is used up, or the loss is small enough."""


@dataclass(frozen=True)
class Minimised:
    """Where a descent ended."""

    value: Tensor
    """The best point that was evaluated, in the shape, type and on the device of the start."""
    losses: tuple[float, ...]
    """The loss at every evaluation, in order; the least of them is that of `value`."""


def minimise(
    loss: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    evaluations: int,
    low: float = 0.0,
    high: float = 1.0,
    enough: float = -math.inf,
    seen: Callable[[int, int], None] | None = None,
) -> Minimised:
    """The least `loss` (a scalar) found from `start`, clamped into [low, high], in at most `evaluations` values with gradients.

    Every point that is evaluated lies within the bounds. It ends at the first loss that is not above `enough`.
    `seen(done, evaluations)` is called after each. Raises ValueError where evaluations < 1 or the first loss is not finite.
    """
    if evaluations < 1:
        raise ValueError(f"expected evaluations >= 1, got {evaluations}; 200 is usual")
    origin = start.detach().clamp(low, high)
    best: list[Tensor] = [origin]
    losses: list[float] = []

    def evaluate(at: Tensor) -> Point:
        if len(losses) == evaluations or (losses and losses[-1] <= enough):
            raise _SpentError
        asked = at.reshape(origin.shape).detach().requires_grad_(True)
        with torch.enable_grad():
            value = loss(asked)
            (slope,) = torch.autograd.grad(value, asked)
        found = float(value.detach())
        if not losses and not math.isfinite(found):
            raise ValueError(f"expected a finite loss at the start, got {found}; check the weights of the terms and the model")
        if not losses or found < min(losses):
            best[0] = asked.detach()
        losses.append(found)
        if seen is not None:
            seen(len(losses), evaluations)
        return Point(at, found, slope.reshape(-1))

    with suppress(_SpentError):
        descend(evaluate, origin.reshape(-1), low, high)
    return Minimised(best[0], tuple(losses))


class Point(NamedTuple):
    """What is known of a place."""

    at: Tensor
    """(P,)."""
    loss: float
    slope: Tensor
    """(P,)."""


def descend(evaluate: Callable[[Tensor], Point], start: Tensor, low: float, high: float) -> None:
    """Go down until no step does, or until `evaluate` raises."""
    here, pairs, recent = evaluate(start), Pairs(), deque[float](maxlen=AMONG)
    while True:
        recent.append(here.loss)
        way = pairs.times(here.slope).neg_()
        found = stepped(evaluate, here, way, max(recent), low, high)
        if found is None:
            # what the pairs know leads nowhere: begin anew, with the numbers that would leave their bounds held
            held = ((here.at <= low) & (here.slope > 0)) | ((here.at >= high) & (here.slope < 0))
            pairs = Pairs()
            way = pairs.times(here.slope.masked_fill(held, 0.0)).neg_()
            found = stepped(evaluate, here, way, max(recent), low, high)
        if found is None:
            return
        there, share = found
        pairs.add(way.mul_(share), there.slope - here.slope)
        here = there


def stepped(
    evaluate: Callable[[Tensor], Point], here: Point, way: Tensor, highest: float, low: float, high: float
) -> tuple[Point, float] | None:
    """A point a share of `way` (P,) on, within the bounds, whose loss has fallen enough below `highest`; None without one."""
    share = 1.0
    while share > SHORTEST:
        at = torch.add(here.at, way, alpha=share).clamp_(low, high)
        promised = float(torch.dot(here.slope, at - here.at))
        if not promised < 0:
            return None
        there = evaluate(at)
        if there.loss <= highest + DECREASE * promised:
            return there, share
        share *= SHORTER
    return None


class Pairs:
    """The last MEMORY steps and changes of the slope, and the inverse of the curvature that they stand for."""

    def __init__(self) -> None:
        self.held = deque[tuple[Tensor, Tensor, Tensor]](maxlen=MEMORY)
        """(s, y, 1 / s'y)."""

    def add(self, step: Tensor, change: Tensor) -> None:
        """One more, unless the curvature along it is not positive."""
        curvature = torch.dot(step, change)
        if float(curvature) > CURVED * float(torch.dot(change, change)):
            self.held.append((step, change, curvature.reciprocal()))

    def times(self, slope: Tensor) -> Tensor:
        """(P,) the inverse curvature times a slope, by the two loops of Nocedal 1980; without a pair a slope of length <= 1."""
        found, shares = slope.clone(), []
        if not self.held:
            return found.mul_(found.abs().sum().clamp_min(1.0).reciprocal())
        for step, change, inverse in reversed(self.held):
            share = inverse * torch.dot(step, found)
            shares.append(share)
            found.addcmul_(change, share, value=-1.0)
        _, change, inverse = self.held[-1]
        found.mul_((inverse * torch.dot(change, change)).reciprocal())
        for (step, change, inverse), share in zip(self.held, reversed(shares), strict=True):
            found.addcmul_(step, share - inverse * torch.dot(change, found))
        return found
