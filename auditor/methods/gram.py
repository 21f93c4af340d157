"""Gram matrices of maps: what of an image is texture, wherever it stands (Gatys, Ecker, Bethge 2015).

Our convention: F is (C,M), C channels at M positions; G = F F^T / M, so that G does not grow with the picture; a layer's loss
is E = sum (G - G')^2 / (4 C^2). Where layers are added, each E is divided by that of G = 0, which leaves |G - G'|^2 / |G'|^2:
a share, whatever the channels and the scale of the layer. Other packages divide by C H W, or by nothing: their style weights do
not carry over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from auditor.errors import TargetError
from auditor.ops.truncate import truncated

if TYPE_CHECKING:
    from auditor.target import Target

Phi = Callable[[Tensor], tuple[Tensor, ...]]
"""Images (n,C,H,W) in [0,1] -> maps (n,c,h,w), one a layer, differentiable."""

TINY = 1e-12
"""Floor of |G'|^2: a layer that is silent for a picture has no scale of its own."""

COARSEST = 16
"""Pixels to a position: deeper layers see a small picture as a few numbers, and hold no texture."""


def wide(maps: Tensor) -> Tensor:
    """Maps in at least 32 bits: sums of squares do not fit into fewer."""
    return maps.float() if maps.dtype.itemsize < 4 else maps


def gram(maps: Tensor) -> Tensor:
    """(n,C,C) F F^T / M of maps (n,C,h,w), M = h w."""
    flat = wide(maps).flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def gram_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """(n,) sum (G - G')^2 / (4 C^2) of Gram matrices (n,C,C)."""
    return (found - wanted).square().flatten(1).sum(1) / (4 * wanted.shape[-1] ** 2)


def gram_share(found: Tensor, wanted: Tensor) -> Tensor:
    """(n,) |G - G'|^2 / |G'|^2: the loss in units of that of G = 0."""
    scale = gram_loss(wanted.new_zeros(()).expand_as(wanted), wanted).clamp_min(TINY)
    return gram_loss(found, wanted) / scale


def watched(model: nn.Module, images: Tensor, layers: Sequence[str], *, before: str | None = None) -> tuple[Tensor, ...]:
    """The outputs of `layers`, named from shallow to deep, in one differentiable forward that ends at the last of them.

    With `before`, a module path, the forward goes on to what that module is given, which comes last.

    Leaves no hook behind. Raises TargetError where a layer is unknown, comes after the last, or is changed in place later.
    """
    if not layers and before is None:
        raise TargetError("expected at least one layer, got none; see `choose`")
    kept: dict[str, tuple[Tensor, int]] = {}

    def keeper(layer: str) -> Callable[[nn.Module, Any, Any], None]:
        left = [int(layer.partition("#")[2] or 0)]

        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            if left[0] == 0 and isinstance(output, Tensor):
                kept[layer] = output, output._version
            left[0] -= 1

        return keep

    modules = dict(model.named_modules())
    passed = layers[:-1] if before is None else layers
    with ExitStack() as hooks:
        for layer in passed:
            path = layer.partition("#")[0]
            if path not in modules:
                raise TargetError(f"expected a layer of the model, got {layer!r}; see `choose`")
            hooks.callback(modules[path].register_forward_hook(keeper(layer)).remove)
        end = layers[-1] if before is None else before
        last = truncated(model, images, end, side="output" if before is None else "input")
    for layer in passed:
        if layer not in kept:
            raise TargetError(f"expected layers from shallow to deep, but {layer!r} is not before {end!r}; sort them")
        if kept[layer][0]._version != kept[layer][1]:
            raise TargetError(f"layer {layer!r} is changed in place by a later one; choose that one")
    return (*(kept[layer][0] for layer in passed), last)


def phi_of(target: Target, layers: Sequence[str]) -> Phi:
    """The maps of some layers of a target, in any layout."""
    normalise = target.preprocess.normalise

    def phi(images: Tensor) -> tuple[Tensor, ...]:
        found = watched(target.light.model, target.light.prepared(normalise(images)), layers)
        return tuple(target.maps(layer, output) for layer, output in zip(layers, found, strict=True))

    return phi


def texture_layers(target: Target, count: int) -> tuple[str, ...]:
    """At most `count` layers with maps from shallow to deep: the first of all, and others no coarser than COARSEST pixels.

    Where all are coarser, the finest there are.
    """
    layout = {call.name: call.layout for call in target.trace}
    high, wide = target.input_shape[1:]

    def fine(layer: str) -> bool:
        held = layout[layer]
        return held is not None and held.grid[0] * COARSEST >= high and held.grid[1] * COARSEST >= wide

    every = target.choose("spatial", len(target.trace))
    for wanted in range(count - 1, count + len(every)):
        found = [layer for layer in target.choose("spatial", max(wanted, 1)) if fine(layer)]
        if len(found) >= count - 1:
            break
    first = [layer for layer in every[:1] if layer not in found]
    return tuple([*first, *found][:count]) or every[:count]


def takes(phi: Phi, channels: int, size: tuple[int, int], device: torch.device) -> bool:
    """Whether images of `size` (H,W) give maps at the layers of `phi`: models of tokens take their own size alone."""
    try:
        with torch.no_grad():
            return all(min(maps.shape[2:]) > 0 for maps in phi(torch.full((1, channels, *size), 0.5, device=device)))
    except (TargetError, RuntimeError, ValueError, AssertionError):
        return False
