"""What one base image has brought, and how much work was saved."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, nn

from auditor.ops.lean import folded
from auditor.types import Array

DENSE = 0.8
"""Share of a map that windows cover from which on whole maps are carried: laying and reading cost more than they save."""


class Kept:
    """What has been computed, by what it was computed from."""

    def __init__(self) -> None:
        self.kept: dict[Hashable, tuple[Any, Any]] = {}
        self.lasting: set[int] = set()
        """Identities of weights that follow from a model's own."""

    def once(self, what: str, given: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """`compute()`, kept by what it was computed from: tensors by identity, all else by value."""
        key = (what, *(id(x) if isinstance(x, Tensor) else repr(x) for x in given))
        if key not in self.kept:
            self.kept[key] = (compute(), given)  # `given` is held, so that no other tensor can take its identity
        return self.kept[key][0]


class Work(Kept):
    """Maps of the base image, each computed once; multiplications done and avoided."""

    def __init__(self, of_weights: Kept | None = None) -> None:
        super().__init__()
        self.of_weights = Kept() if of_weights is None else of_weights
        """What follows from a model's own weights alone: it serves the next image, too."""
        self.known = 0
        """How much the first batch of windows left kept."""
        self.done = 0
        """Multiplications of convolutions, as they were done."""
        self.whole = 0
        """As whole images would have taken."""
        self.moved = 0
        """Numbers copied to lay windows into their surroundings."""
        self.changed: tuple[Array | float, Array | float] = (0.0, 0.0)
        """(n,) for each window of the last batch: rows, and columns, that it can have changed in the convolutions' outputs, each
        output as often as it takes multiplications; 0 where whole maps are carried."""

    def folded(self, weight: Tensor, bias: Tensor | None, norm: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        """A convolution's weight (O,I,kh,kw) and bias with the batch norm (mean, variance, weight, bias, eps) behind it."""
        *own, eps = norm
        keeper = self.keeper(weight)
        found: tuple[Tensor, Tensor] = keeper.once("fold", (weight, bias, *norm), lambda: folded(weight, bias, *own, eps=eps))
        keeper.lasting.add(id(found[0]))
        return found

    def keeper(self, weight: Tensor) -> Kept:
        """Where what follows from a weight is kept: with the image where the forward made the weight, and may make it anew."""
        own = isinstance(weight, nn.Parameter) or id(weight) in self.of_weights.lasting
        return self.of_weights if own else self

    def laid_out(self, weight: Tensor) -> Tensor:
        """The weight in the memory layout of the maps."""
        found: Tensor = self.keeper(weight).once(
            "layout", (weight,), lambda: weight.contiguous(memory_format=torch.channels_last)
        )
        return found

    @property
    def gain(self) -> float:
        """How many times less was computed, a number moved counted as MOVE multiplications."""
        return self.whole / max(1.0, self.done + MOVE * self.moved)


MOVE = 16
"""Multiplications taken to cost as much as copying one number. With it `gain` says 2.6 of ResNet-18 and 8.5 of VGG-16 (224 px,
window and stride 16, one thread of a CPU), where 2.7 and 7.3 were measured against whole images in batches."""
