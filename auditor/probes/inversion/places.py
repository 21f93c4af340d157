"""Where images are inverted, and what stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from auditor.errors import TargetError
from auditor.ops.truncate import truncated

if TYPE_CHECKING:
    from auditor.target import Target

FEATURES = "features"
"""Scope of the deepest place: what the classifier head is given."""

Side = Literal["output", "input"]
Place = tuple[str, str, Side]
"""(scope shown, layer of the model, which side of it)."""


def places(target: Target, count: int) -> tuple[Place, ...]:
    """At most `count` places in order of depth: spatial layers, any layers where none is spatial, then what the head is given."""
    chosen: tuple[str, ...] = ()
    if count > 1:
        chosen = tuple(target.choose("spatial", count - 1))
        if len(chosen) < 2:  # a transformer has one map, its patch embedding, and then tokens
            chosen = tuple(name for name in target.choose("any", count) if name != target.head)[-(count - 1) :] or chosen
    order = {call.name: call.order for call in target.trace}
    layers: list[Place] = [(name, name, "output") for name in sorted(dict.fromkeys(chosen), key=lambda name: order.get(name, 0))]
    return (*layers, (FEATURES, target.head, "input") if target.head else (FEATURES, "", "output"))


def activation(model: torch.nn.Module, place: Place, images: Tensor) -> Tensor:
    """The activation at a place, differentiable. Raises TargetError where it is not one tensor."""
    _, layer, side = place
    if layer:
        return truncated(model, images, layer, side=side)
    given = model(images)
    if not isinstance(given, torch.Tensor):
        raise TargetError(f"expected a tensor from the model, got {type(given).__name__}; wrap the model to give its features")
    return given
