"""Which modules a forward pass calls, in which order, with which shapes: the one map of a model that all else reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from auditor.ops.maps import Layout, Shape, layout_of

WIDEST = 0.4
"""Share of a forward's calls that may lie between two chosen blocks before the blocks inside them are looked at."""


FOLLOWERS = (
    "ReLU", "ReLU6", "SiLU", "GELU", "ELU", "Hardswish", "Hardtanh", "Swish", "Mish", "Tanh", "Sigmoid", "Hardsigmoid",
    "BatchNorm2d", "BatchNormAct2d", "GroupNorm", "InstanceNorm2d", "LayerNorm", "LayerNorm2d",
)  # fmt: skip
"""Kinds of modules that finish what the call before them began."""


@dataclass(frozen=True)
class Call:
    """One call of one module."""

    name: str
    """Module path; "path#1" is the second call of a module that is used more than once."""
    path: str
    kind: str
    """The module's class, such as Conv2d."""
    order: int
    """By the end of the call: a container comes after what it contains."""
    leaf: bool
    inputs: Shape | None
    """Of its first tensor, the batch included; None where it gets none."""
    shape: Shape | None
    """Of its output, the batch included; None where that is not one tensor."""
    same: int = 0
    """Calls with the same number give the same tensor: a container, its last module, an identity."""
    overwritten: bool = False
    """Whether a later in-place operation changes the output (a ReLU after a batch norm)."""
    layout: Layout | None = None
    """How the output holds maps; None where it holds none."""


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor in arguments or an output, however nested."""
    if isinstance(value, Tensor):
        return value
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((found for item in items if (found := first_tensor(item)) is not None), None)


@contextmanager
def hooked(model: nn.Module, after: Callable[[str, nn.Module, Any, Any], None]) -> Iterator[None]:
    """`after(path, module, args, output)` at the end of every call; no hook is left behind."""

    def hook(path: str) -> Callable[..., None]:
        def called(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            after(path, module, (args, kwargs), output)

        return called

    handles = [m.register_forward_hook(hook(path), with_kwargs=True) for path, m in model.named_modules() if path]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def trace(model: nn.Module, images: Tensor) -> tuple[tuple[Call, ...], Any]:
    """(calls in order, the model's own output) of one forward of `images` (n,C,H,W) in the model's present mode."""
    counts: Counter[str] = Counter()
    found: list[Call] = []
    outputs: list[tuple[Tensor | None, int]] = []
    numbers: dict[int, int] = {}

    def after(path: str, module: nn.Module, args: Any, output: Any) -> None:
        name = f"{path}#{counts[path]}" if counts[path] else path
        counts[path] += 1
        given, tensor = first_tensor(args), output if isinstance(output, Tensor) else None
        same = numbers.setdefault(id(tensor) if tensor is not None else -len(found) - 1, len(found))
        found.append(
            Call(
                name, path, type(module).__name__, len(found), next(module.children(), None) is None,
                None if given is None else tuple(given.shape), None if tensor is None else tuple(tensor.shape), same,
            )
        )  # fmt: skip
        outputs.append((tensor, 0 if tensor is None else tensor._version))

    with torch.no_grad(), hooked(model, after):
        result = model(images)
    calls = [
        Call(**{**call.__dict__, "overwritten": tensor is not None and tensor._version != version, "layout": layout})
        for call, (tensor, version), layout in zip(found, outputs, layouts(found, images), strict=True)
    ]
    return tuple(calls), result


def layouts(calls: list[Call], images: Tensor) -> list[Layout | None]:
    """How each output holds maps. Attention weights (n,heads,T,T) are none, and neither is what the batch was folded into."""
    side = (images.shape[2], images.shape[3])
    rows = {c.shape[1] for c in calls if c.shape is not None and len(c.shape) == 3}
    grids: set[tuple[int, int]] = set()
    found: list[Layout | None] = []
    for call in calls:
        layout = None
        if call.shape is not None and call.shape[0] == len(images):
            layout = layout_of(call.shape, side, grids)
        if layout is not None and layout.order == "first" and layout.grid[0] == layout.grid[1] and layout.grid[0] in rows:
            layout = None
        if layout is not None and layout.order != "tokens":
            grids.add(layout.grid)
        found.append(layout)
    return found


def spread(items: list[Call], count: int) -> list[Call]:
    """`count` of the items at equal distances, the last among them."""
    if count >= len(items):
        return list(items)
    places = {len(items) - 1 - round(i * len(items) / count) for i in range(count)}
    return [items[place] for place in sorted(places)]


def choose(calls: tuple[Call, ...], kind: str, count: int) -> tuple[str, ...]:
    """At most `count` layers from shallow to deep, blocks rather than what is inside them.

    "spatial": outputs that hold maps of more than one position and channel; the last of each resolution first, then others
    between them. "any": outputs of any shape. One name for each tensor (the outermost module's), and none
    that a later operation overwrites.
    """
    batch = next((call.inputs[0] for call in calls if call.inputs), 0)
    fit = [
        c for c, later in zip(calls, [*calls[1:], None], strict=True)
        if c.shape and c.shape[0] == batch and fits(c, kind) and not c.overwritten and not half_done(c, later)
    ]  # fmt: skip
    outermost: dict[int, Call] = {}
    for call in fit:
        known = outermost.get(call.same)
        if known is None or depth(call) < depth(known):
            outermost[call.same] = call
    distinct = sorted(outermost.values(), key=lambda c: c.same)
    if count < 1 or not distinct:
        return ()
    distinct = shallowest(distinct, count, len(calls))
    ends = distinct
    if kind == "spatial":
        grids = [c.layout.grid for c in distinct if c.layout is not None]
        ends = [c for c, grid, later in zip(distinct, grids, [*grids[1:], None], strict=True) if grid != later]
    chosen = spread(ends, count)
    rest = [c for c in distinct if c not in chosen]
    chosen += spread(rest, count - len(chosen)) if count > len(chosen) else []
    return tuple(c.name for c in sorted(chosen, key=lambda c: c.same))


def depth(call: Call) -> int:
    """How many modules a call stands inside."""
    return call.name.count(".")


def shallowest(distinct: list[Call], count: int, calls: int) -> list[Call]:
    """The outermost modules that are enough, and leave out no more than WIDEST of the calls between two of them."""
    for level in range(max(depth(c) for c in distinct) + 1):
        held = [c for c in distinct if depth(c) <= level]
        places = [0, *(c.same for c in held), distinct[-1].same]
        if len(held) >= count and max(b - a for a, b in pairwise(places)) <= WIDEST * calls:
            return held
    return distinct


def half_done(call: Call, later: Call | None) -> bool:
    """Whether a call is no whole operation: a padding, attention weights, or an operation that the next call rectifies or
    normalises. A block is whole: what normalises it belongs to the next one.
    """
    follows = call.leaf and later is not None and later.leaf and later.inputs == call.shape == later.shape
    return (
        "Pad" in call.kind
        or call.kind in ("Softmax", "LogSoftmax")
        or (follows and later is not None and later.kind.endswith(FOLLOWERS))
    )


def fits(call: Call, kind: str) -> bool:
    """Whether an output is of the kind."""
    return call.layout is not None if kind == "spatial" else call.shape is not None and len(call.shape) >= 2


def find_head(calls: tuple[Call, ...], outputs: int) -> str:
    """The module whose input is the penultimate features: the last leaf that makes `outputs` channels from others; "" if none.

    A linear layer, or a 1x1 convolution before a global pool (SqueezeNet).
    """
    kinds = ("Linear", "NonDynamicallyQuantizableLinear", "Conv2d", "LazyLinear", "NormLinear")
    for call in reversed(calls):
        if not (call.leaf and call.kind in kinds and call.shape and call.inputs and "#" not in call.name):
            continue
        channels = call.shape[-1] if call.kind != "Conv2d" else call.shape[1]
        if channels == outputs and call.shape[0] == call.inputs[0]:
            return call.name
    return ""
