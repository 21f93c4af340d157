"""Guided backprop (Springenberg 2015) and deconvnet (Zeiler & Fergus 2014), on the operations of a forward, not on its modules.

Every rectifier of a forward leaves a node in autograd's graph, whether it was a module, a function, in place, or used twice. The
rule replaces what that node passes back: R is the gradient that reaches it, f its output,

    gradient   R f'(x)
    deconvnet  max(R, 0)
    guided     max(R, 0) f'(x) where f > 0, else 0

For ReLU and ReLU6 (below 6) f' is 1 where f > 0, which is the published rule. For smooth rectifiers (SiLU, GELU, Hardswish, ELU,
leaky ReLU) it is generalised: their own derivative stands in place of the step.
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

Rule = Literal["guided", "deconvnet"]
RECTIFIERS = (
    "ReluBackward", "HardtanhBackward", "SiluBackward", "GeluBackward", "HardswishBackward", "LeakyReluBackward", "EluBackward",
    "MishBackward", "SoftplusBackward", "ThresholdBackward", "ClampBackward", "ClampMinBackward", "RreluWithNoiseBackward",
)  # fmt: skip
"""Names of autograd's nodes, without their number."""


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
        if node.name().rstrip("0123456789") in RECTIFIERS:
            yield node
        waiting += [following for following, _ in node.next_functions]


def positive(node: Any) -> Tensor | None:
    """Where the output of a rectifier is above 0; None where its node keeps neither input nor output."""
    for kept in ("_saved_result", "_saved_self", "_saved_self_or_result"):
        value = getattr(node, kept, None)
        if isinstance(value, Tensor):
            return value > 0
    return None


def replaced(node: Any, rule: Rule, counts: Intercepted) -> Callable[..., Any]:
    """The hook of one node: the gradients that it passes back, by the rule."""
    mask = positive(node) if rule == "guided" else None

    def hook(passed: tuple[Tensor | None, ...], reached: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...] | None:
        if reached[0] is None or passed[0] is None:
            return None
        counts.reached += 1
        gain = reached[0].clamp_min(0)
        if rule == "deconvnet":
            return (gain, *passed[1:])
        # what the node passed back is R f'(x), so its share where R > 0 is max(R, 0) f'(x)
        kept = torch.where(reached[0] > 0, passed[0], torch.zeros_like(passed[0]))
        return (kept if mask is None else kept * mask, *passed[1:])

    return hook


@contextmanager
def rectified(scores: Tensor, rule: Rule) -> Iterator[Intercepted]:
    """Within, a backward pass of `scores` obeys the rule; afterwards its graph is as it was. Yields the counts."""
    counts = Intercepted()
    handles = []
    for node in rectifiers(scores.grad_fn):
        counts.total += 1
        handles.append(node.register_hook(replaced(node, rule, counts)))
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def ruled(
    model: nn.Module, inputs: Tensor, target: TargetClass, *, rule: Rule = "guided", batch: int | None = None
) -> tuple[Tensor, Intercepted]:
    """(N,C,H,W) signed map of the score of `target` by the rule, and how many rectifiers of the first batch it reached.

    `model` gives (N,K) pre-softmax scores. Raises UsageError for a rule that is not known.
    """
    if rule not in ("guided", "deconvnet"):
        raise UsageError(f"expected the rule guided or deconvnet, got {rule!r}")
    images, classes = checked(inputs, target)
    size = batch or images_at_once(images.shape[1:], images.device, gradient=True)
    found = [torch.zeros_like(images[:0])]
    first = Intercepted()
    for begin in range(0, len(images), size):
        with torch.enable_grad():
            leaf = images[begin : begin + size].clone().requires_grad_(True)
            _, own = scores_of(model, leaf, classes[begin : begin + size])
            total = own.sum()
        if not total.requires_grad:
            found.append(torch.zeros_like(leaf, requires_grad=False))
            continue
        with rectified(total, rule) as counts:
            slope = torch.autograd.grad(total, leaf, allow_unused=True)[0]
        first = counts if begin == 0 else first
        found.append(torch.zeros_like(leaf, requires_grad=False) if slope is None else slope)
    return torch.cat(found), first


def guided_backprop(model: nn.Module, inputs: Tensor, target: TargetClass, *, batch: int | None = None) -> Tensor:
    """(N,C,H,W) guided backprop of the score of `target`: only what raises it, through units that fire (Springenberg 2015)."""
    return ruled(model, inputs, target, rule="guided", batch=batch)[0]


def deconvnet(model: nn.Module, inputs: Tensor, target: TargetClass, *, batch: int | None = None) -> Tensor:
    """(N,C,H,W) deconvnet of the score of `target` (Zeiler & Fergus 2014)."""
    return ruled(model, inputs, target, rule="deconvnet", batch=batch)[0]
