"""Lesson: a helper net that is trained on the audited data with the target's own features, before a study that needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from auditor.types import Array, Json


class Learner(Protocol):
    """A net in training."""

    module: nn.Module
    """The net, on the target's device."""

    def step(self, index: int) -> float:
        """One step of the optimiser; returns the loss before it. Depends on the state and on `index` alone: torch's generator
        is seeded before each step, so that a run which goes on from a checkpoint has the bytes of one that was never stopped.
        """

    def save(self) -> dict[str, Any]:
        """State dicts of net and optimiser: tensors, numbers, strings, lists and dicts only."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `save` gave."""


@dataclass(frozen=True)
class Lesson:
    """What is to be trained. Two probes that ask for equal lessons share one net."""

    name: str
    settings: Mapping[str, Json]
    """All that decides the result beside target, data, seed and steps: a part of the key that the net is kept under."""
    steps: int
    start: Callable[[Any, Any, int], Learner]
    """(target, dataset, seed) -> a learner that has taken no step."""


@dataclass(frozen=True)
class Trained:
    """A helper net, trained."""

    module: nn.Module
    """On the target's device, in evaluation mode, its weights frozen."""
    losses: Array
    """(steps,) float64: the loss before each step."""
    seconds: float
    """What the training took by the clock of the machine that did it: for `Finding.timings` only."""
