"""Guided backprop (Springenberg 2015) and deconvnet (Zeiler & Fergus 2014) of class scores and of units, on the operations of a
forward, not on its modules.

Every rectifier of a forward leaves a node in autograd's graph, whether it was a module, a function, in place, or used twice. The
rule replaces what that node passes back: R is the gradient that reaches it, f its output,

    gradient   R f'(x)
    deconvnet  max(R, 0)
    guided     max(R, 0) f'(x) where f > 0, else 0

For ReLU and ReLU6 (below 6) f' is 1 where f > 0, which is the published rule. For smooth rectifiers (SiLU, GELU, Hardswish, ELU,
leaky ReLU) it is generalised: their own derivative stands in place of the step. A unit that is explained and stands at its own
ceiling (ReLU6 at 6) fires, but has no slope: it is given the one below the ceiling, 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.inputs import TargetClass, checked, scores_of
from auditor.ops.batching import images_at_once
from auditor.ops.maps import Layout, as_maps, layout_of
from auditor.ops.truncate import truncated

Rule = Literal["gradient", "guided", "deconvnet"]
RULES: tuple[Rule, ...] = ("gradient", "guided", "deconvnet")
RECTIFIERS = (
    "ReluBackward", "HardtanhBackward", "SiluBackward", "GeluBackward", "HardswishBackward", "LeakyReluBackward", "EluBackward",
    "MishBackward", "SoftplusBackward", "ThresholdBackward", "ClampBackward", "ClampMinBackward", "RreluWithNoiseBackward",
)  # fmt: skip
"""Names of autograd's nodes, without their number."""

CLIPS = ("HardtanhBackward", "ClampBackward")
"""Those with a ceiling."""
CARRIERS = (
    "SumBackward", "GatherBackward", "IndexBackward", "SelectBackward", "SliceBackward", "ViewBackward", "UnsafeViewBackward",
    "ReshapeAliasBackward", "AsStridedBackward", "PermuteBackward", "TransposeBackward", "SqueezeBackward", "UnsqueezeBackward",
    "CloneBackward", "AliasBackward", "TBackward",
)  # fmt: skip
"""Nodes that pick numbers and lay them out, and change none."""


@dataclass
class Intercepted:
    """Rectifiers of a forward."""

    total: int = 0
    """Nodes in the graph of the scores."""
    reached: int = 0
    """Of these, the ones that a gradient passed, and where the rule was applied."""


def rectifiers(root: Any) -> Iterator[Any]:
    """The rectifier nodes of the graph behind an autograd node, each once."""
    seen, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if kind_of(node) in RECTIFIERS:
            yield node
        waiting += [following for following, _ in node.next_functions]


def kind_of(node: Any) -> str:
    """The name of an autograd node without its number."""
    return str(node.name()).rstrip("0123456789")


def own_clip(root: Any) -> Any:
    """The node whose output `root` picks, where that is a rectifier with a ceiling; else None."""
    node = root
    while node is not None and kind_of(node) in CARRIERS:
        node = node.next_functions[0][0]
    return node if node is not None and kind_of(node) in CLIPS else None


def positive(node: Any) -> Tensor | None:
    """Where the output of a rectifier is above 0; None where its node keeps neither input nor output."""
    for kept in ("_saved_result", "_saved_self", "_saved_self_or_result"):
        value = getattr(node, kept, None)
        if isinstance(value, Tensor):
            return value > 0
    return None


def replaced(node: Any, rule: Rule, counts: Intercepted, *, own: bool = False) -> Callable[..., Any]:
    """The hook of one node: the gradients that it passes back, by the rule; `own`: of the unit's own rectifier."""
    mask = positive(node) if rule == "guided" else None

    def hook(passed: tuple[Tensor | None, ...], reached: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...] | None:
        if reached[0] is None or passed[0] is None:
            return None
        counts.reached += 1
        gain = reached[0].clamp_min(0)
        if rule == "deconvnet":
            return (gain, *passed[1:])
        # what the node passed back is R f'(x), so its share where R > 0 is max(R, 0) f'(x)
        kept = gain if own else torch.where(reached[0] > 0, passed[0], torch.zeros_like(passed[0]))
        return (kept if mask is None else kept * mask, *passed[1:])

    return hook


@contextmanager
def rectified(scores: Tensor, rule: Rule) -> Iterator[Intercepted]:
    """Within, a backward pass of `scores` obeys the rule; afterwards its graph is as it was. Yields the counts."""
    counts = Intercepted()
    handles = []
    clip = own_clip(scores.grad_fn)
    for node in rectifiers(scores.grad_fn):
        counts.total += 1
        if rule != "gradient":
            handles.append(node.register_hook(replaced(node, rule, counts, own=node is clip)))
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def passed_back(
    value: Callable[[Tensor, slice], Tensor], images: Tensor, *, rule: Rule, batch: int | None
) -> tuple[Tensor, Intercepted]:
    """(N,C,H,W) what `value(images[part], part)` (n,), one number an image, passes back to each image by the rule; 0 where it
    does not depend on it. And the rectifiers of the first batch. Raises UsageError for a rule that is not known.
    """
    if rule not in RULES:
        raise UsageError(f"expected the rule {', '.join(RULES[:-1])} or {RULES[-1]}, got {rule!r}: choose one of these")
    size = batch or images_at_once(images.shape[1:], images.device, gradient=True)
    found = [torch.zeros_like(images[:0])]
    first = Intercepted()
    for begin in range(0, len(images), size):
        part = slice(begin, begin + size)
        with torch.enable_grad():
            leaf = images[part].clone().requires_grad_(True)
            total = value(leaf, part).sum()
        slope = None
        if total.requires_grad:
            with rectified(total, rule) as counts:
                slope = torch.autograd.grad(total, leaf, allow_unused=True)[0]
            first = counts if begin == 0 else first
        found.append(torch.zeros_like(leaf, requires_grad=False) if slope is None else slope)
    return torch.cat(found), first


def ruled(
    model: nn.Module, inputs: Tensor, target: TargetClass, *, rule: Rule = "guided", batch: int | None = None
) -> tuple[Tensor, Intercepted]:
    """(N,C,H,W) signed map of the score of `target` by the rule, and how many rectifiers of the first batch it reached.

    `model` gives (N,K) pre-softmax scores. Raises UsageError for a rule that is not known.
    """
    images, classes = checked(inputs, target)
    return passed_back(lambda leaf, part: scores_of(model, leaf, classes[part])[1], images, rule=rule, batch=batch)


def guided_backprop(model: nn.Module, inputs: Tensor, target: TargetClass, *, batch: int | None = None) -> Tensor:
    """(N,C,H,W) guided backprop of the score of `target`: only what raises it, through units that fire (Springenberg 2015)."""
    return ruled(model, inputs, target, rule="guided", batch=batch)[0]


def deconvnet(model: nn.Module, inputs: Tensor, target: TargetClass, *, batch: int | None = None) -> Tensor:
    """(N,C,H,W) deconvnet of the score of `target` (Zeiler & Fergus 2014)."""
    return ruled(model, inputs, target, rule="deconvnet", batch=batch)[0]


@dataclass(frozen=True, eq=False)
class Units:
    """One unit an image: a channel of a layer, at one place of its map or where that is largest."""

    layer: str
    """Module path; "path#1" is the second call of a module that is used more than once."""
    channels: int | Tensor
    """One for all N images, or (N,)."""
    places: tuple[int, int] | Tensor | None = None
    """(row, column) for all, or (N,2); None: the maximum of the channel in each image, the first of equal ones."""
    layout: Layout | None = None
    """How the layer's output holds maps; where it is not given: maps by the aspect ratio, channels first or last, then tokens
    (N,T,C) as T rows, then vectors (N,C) as a single place."""


def unit_maps(
    model: nn.Module, inputs: Tensor, units: Units, *, rule: Rule = "guided", batch: int | None = None
) -> tuple[Tensor, Intercepted]:
    """(N,C,H,W) signed map of one unit an image by the rule, and how many rectifiers below it the first batch reached.

    The forward ends at the layer. A batch of images, each with its own unit, takes one forward and one backward: the units are
    summed up, which mixes nothing as no image sees another. `model` is used in the mode it is in; its weights may be frozen.
    Raises UsageError for a rule, channel or place that there is not, TargetError for a layer that the forward does not reach.
    """
    images, channels = checked(inputs, units.channels)
    places = None if units.places is None else torch.as_tensor(units.places, device=images.device).long()
    if places is not None:
        if places.shape not in ((2,), (len(images), 2)):
            raise UsageError(f"expected places as (row, column) or (N,2) with N = {len(images)}, got {tuple(places.shape)}")
        places = places.reshape(-1, 2).expand(len(images), 2)

    def value(leaf: Tensor, part: slice) -> Tensor:
        maps = maps_of(truncated(model, leaf, units.layer), units.layout, leaf)
        return picked(maps, channels[part], None if places is None else places[part])

    return passed_back(value, images, rule=rule, batch=batch)


def maps_of(output: Tensor, layout: Layout | None, images: Tensor) -> Tensor:
    """(n,C,h,w) of a layer's output, as `Units.layout` says."""
    if layout is None and output.ndim in (3, 4):
        layout = layout_of(tuple(output.shape), (images.shape[2], images.shape[3]))
    if layout is not None:
        return as_maps(output, layout)
    if output.ndim not in (2, 3, 4):
        raise UsageError(
            f"expected a layer whose output is (n,C), (n,T,C) or (n,C,h,w), got {tuple(output.shape)}: choose another"
        )
    return output if output.ndim == 4 else output.reshape(len(output), -1, output.shape[-1]).transpose(1, 2)[..., None]


def picked(maps: Tensor, channels: Tensor, places: Tensor | None) -> Tensor:
    """(n,) the value of one channel of each of `maps` (n,C,h,w) at its place (n,2), at its maximum where none is given."""
    count, high, wide = maps.shape[1:]
    if len(channels) and not 0 <= int(channels.min()) <= int(channels.max()) < count:
        raise UsageError(f"expected channels within 0..{count - 1}, got {int(channels.min())}..{int(channels.max())}")
    own = maps[torch.arange(len(maps), device=maps.device), channels].flatten(1)
    if places is None:
        return own.gather(1, own.argmax(1, keepdim=True))[:, 0]
    limits = torch.tensor([high, wide], device=places.device)
    if bool((places < 0).any()) or bool((places >= limits).any()):
        raise UsageError(f"expected places within a map of {high} x {wide}, got {places.tolist()}: rows and columns begin at 0")
    return own.gather(1, places[:, :1] * wide + places[:, 1:])[:, 0]
