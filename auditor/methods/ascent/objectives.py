"""What is raised: a unit of a layer, a class score, or a whole layer; and the model while it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.ascent.space import Space
from auditor.methods.inputs import evaluating
from auditor.ops.lean import Light, channels_last, cheaper
from auditor.ops.maps import Layout, as_maps
from auditor.ops.truncate import truncated

TRIED = 4
"""Forwards that a lean copy is tried with: two images by the model and by the copy."""
Place = Literal["mean", "centre"]


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """The model in eval mode, no weight of it asking for a gradient; given back as it was, also after an exception."""
    asked = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with evaluating(model):
        for parameter in asked:
            parameter.requires_grad_(False)
        try:
            yield model
        finally:
            for parameter in asked:
                parameter.requires_grad_(True)


@dataclass(frozen=True)
class Units:
    """Units of a layer: channels of maps (n,C,H,W), columns of (n,K) or of tokens (n,T,K). The forward ends at the layer."""

    model: nn.Module
    layer: str = ""
    """Module path, "path#1" for a second call; "" is the model's own output."""
    at: Place = "mean"
    """A channel's mean over its map, or its value in the middle of it (Yosinski 2015)."""
    layout: Layout | None = None
    """How the output holds maps; where not given, four axes are (n,K,H,W) and three are tokens (n,T,K)."""
    last: bool = False
    """Whether the model is given images with their channels innermost, which not every one bears."""

    def __call__(self, images: Tensor, units: Tensor) -> Tensor:
        """(n,) activation of unit i of image i. Raises UsageError where the layer has no such unit."""
        output = truncated(self.model, Light(self.model, self.last).prepared(images), self.layer)
        return pick(by_unit(output if self.layout is None else as_maps(output, self.layout), self.at), units, self.layer)

    def lean(self, space: Space) -> Units:
        """The same units at less cost, up to rounding; see `lean_at`."""
        light = lean_at(self.model, self.layer, space)
        return replace(self, model=light.model, last=light.last)


@dataclass(frozen=True)
class Energy:
    """Half the squared length of a layer's output, whose gradient at the layer is the activation itself (Mordvintsev 2015)."""

    model: nn.Module
    layer: str
    last: bool = False
    """As of `Units`."""

    def __call__(self, images: Tensor, units: Tensor) -> Tensor:
        """(n,); the units do not matter."""
        return 0.5 * truncated(self.model, Light(self.model, self.last).prepared(images), self.layer).flatten(1).square().sum(1)

    def lean(self, space: Space) -> Energy:
        """The same at less cost, up to rounding; see `lean_at`."""
        light = lean_at(self.model, self.layer, space)
        return replace(self, model=light.model, last=light.last)


def lean_at(model: nn.Module, layer: str, space: Space) -> Light:
    """A copy of `model` that gives the output of `layer` at less cost (`ops.lean`), or `model` where there is none.

    Tried on two images of noise of `space`, from a seed of its own.
    """
    noise = space.normalise(space.drawn(torch.rand((2, *space.shape), generator=torch.Generator().manual_seed(0))))
    found = cheaper(model, noise, lambda net, images: truncated(net, images, layer))
    return Light(model) if found is None else Light(found, channels_last(noise))


def by_unit(output: Tensor, at: Place) -> Tensor:
    """(n,K) of a layer's output (n,K), (n,T,K) or (n,K,H,W). Raises UsageError for another."""
    if output.ndim == 2:
        return output
    if output.ndim == 3:
        return output.mean(1) if at == "mean" else output[:, output.shape[1] // 2]
    if output.ndim == 4:
        return output.mean((2, 3)) if at == "mean" else output[:, :, output.shape[2] // 2, output.shape[3] // 2]
    raise UsageError(f"expected a layer of (n,K), (n,T,K) or (n,K,H,W), got {tuple(output.shape)}: choose another layer")


def pick(values: Tensor, units: Tensor, layer: str) -> Tensor:
    """(n,) column units[i] of row i of (n,K). Raises UsageError where there is none."""
    if len(units) and not 0 <= int(units.min()) <= int(units.max()) < values.shape[1]:
        where = f"layer {layer!r}" if layer else "the model's output"
        raise UsageError(
            f"expected units within 0..{values.shape[1] - 1} of {where}, got {int(units.min())}..{int(units.max())}: name others"
        )
    return values.gather(1, units[:, None])[:, 0]
