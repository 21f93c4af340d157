"""Grad-CAM (Selvaraju 2017): which places of the last maps raise the score; on a transformer, which tokens."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.errors import UsageError
from auditor.methods.inputs import TargetClass, checked, scores_of
from auditor.ops.batching import images_at_once


def gradcam(
    model: nn.Module, inputs: Tensor, target: TargetClass, *, layer: str | None = None, batch: int | None = None
) -> Tensor:
    """(N,H,W) max(0, sum over channels of w_c a_c), w_c the mean gradient of the score in channel c, enlarged bilinearly.

    `layer`: a module path whose output is maps (n,C,h,w) or tokens (n,T,D); the last such one that the forward calls where None.
    Of tokens, those beyond the largest square (class and register tokens, which come first) are left out.
    Raises UsageError for a layer that is unknown, is not called, or gives neither.
    """
    images, classes = checked(inputs, target)
    size = batch or images_at_once(images.shape[1:], images.device, gradient=True)
    name = layer if layer is not None else last_maps(model, images[:1], classes[:1])
    found = [images.new_zeros((0, *images.shape[2:]))]
    for begin in range(0, len(images), size):
        some, own = images[begin : begin + size], classes[begin : begin + size]
        found.append(one_batch(model, some, own, name))
    return torch.cat(found)


def one_batch(model: nn.Module, images: Tensor, classes: Tensor, layer: str) -> Tensor:
    """(n,H,W) of one batch."""
    kept: list[Tensor] = []
    modules: dict[str, Any] = dict(model.named_modules())
    if layer not in modules:
        raise UsageError(f"expected a layer of the model, got {layer!r}: name one of {', '.join(list(modules)[1:9])}, ...")

    def keep(_module: nn.Module, _args: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or output.ndim not in (3, 4):
            raise UsageError(
                f"expected maps (n,C,h,w) or tokens (n,T,D) at {layer!r}, got {shape_of(output)}: choose another layer"
            )
        leaf = output if output.requires_grad else output.detach().requires_grad_(True)
        kept.append(leaf)
        return leaf.clone()  # what follows may work in place

    handle = modules[layer].register_forward_hook(keep)
    try:
        with torch.enable_grad():
            total = scores_of(model, images, classes)[1].sum()
    finally:
        handle.remove()
    if len(kept) == 0:
        raise UsageError(f"expected the forward to call {layer!r}, it did not: choose a layer that the model uses")
    slope: Any = torch.autograd.grad(total, kept[-1], allow_unused=True)[0]
    if slope is None:
        return images.new_zeros((len(images), *images.shape[2:]))
    maps, slopes = (spatial(value, layer) for value in (kept[-1].detach(), slope))
    weighted = (slopes.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).clamp_min(0)
    enlarged: Any = functional.interpolate(weighted.float(), size=images.shape[2:], mode="bilinear", align_corners=False)
    found: Tensor = enlarged[:, 0]
    return found


def spatial(value: Tensor, layer: str) -> Tensor:
    """(n,C,h,w) of maps, or of tokens (n,T,D) whose last s x s of them are a grid."""
    if value.ndim == 4:
        return value
    side = math.isqrt(value.shape[1])
    if side < 2:
        raise UsageError(f"expected at least 4 tokens at {layer!r}, got {value.shape[1]}: choose another layer")
    grid: Tensor = value[:, -side * side :].transpose(1, 2).reshape(len(value), value.shape[2], side, side)
    return grid


def last_maps(model: nn.Module, images: Tensor, classes: Tensor) -> str:
    """The path of the last module whose output is maps of the image's aspect ratio on which the score depends; else tokens.

    After its last attention a transformer reads the class token alone, so the last tokens that still matter lie before that.
    """
    kept: list[tuple[str, Tensor]] = []

    def keep(path: str, output: Any) -> None:
        if isinstance(output, Tensor) and output.requires_grad and is_grid(output, images):
            kept.append((path, output))

    handles = [m.register_forward_hook(lambda _m, _i, output, path=p: keep(path, output)) for p, m in model.named_modules() if p]
    try:
        with torch.enable_grad():
            total = scores_of(model, images.clone().requires_grad_(True), classes)[1].sum()
    finally:
        for handle in handles:
            handle.remove()
    slopes = torch.autograd.grad(total, [tensor for _, tensor in kept], allow_unused=True) if kept and total.requires_grad else ()
    reached = [
        (path, tensor.ndim) for (path, tensor), slope in zip(kept, slopes, strict=False)
        if slope is not None and bool(spatial(slope, path).any())
    ]  # fmt: skip
    maps = [path for path, axes in reached if axes == 4]
    tokens = [path for path, axes in reached if axes == 3]
    chosen = tokens if tokens and len(maps) <= 1 else maps  # a transformer's one map is its patch embedding
    if not chosen:
        raise UsageError("expected a layer with maps (n,C,h,w) or tokens (n,T,D), found none: name one with layer=")
    return chosen[-1]


def is_grid(output: Tensor, images: Tensor) -> bool:
    """Whether an output is maps of the image's aspect ratio with more than one place, or at least four tokens."""
    if output.shape[0] != len(images):
        return False
    if output.ndim == 4:
        (height, width), (h, w) = images.shape[2:], output.shape[2:]
        return h * w > 1 and abs(h * width - w * height) <= 2 * max(height, width)
    return output.ndim == 3 and output.shape[1] >= 4


def shape_of(output: Any) -> str:
    """What an output is, in words."""
    return str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__
