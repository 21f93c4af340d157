"""What a model's output means: class scores, by one look at one batch. Whatever else it gives is refused by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from auditor.errors import ContractError

FEATURES_HINT = "audit it with --task features for the probes that need no class scores"


RANDOM = "Its scores differ between two forwards of the same images: the forward is random, and its figures move by chance."
"""The note of a model that is random in eval mode; what attacks it follows gradients of another draw."""


def unwrapped(output: Any) -> tuple[Any, str]:
    """(the part that holds the scores, where it was): `.logits`, ["logits"], the first of a tuple, or the output itself."""
    if isinstance(output, Tensor):
        return output, ""
    if isinstance(getattr(output, "logits", None), Tensor):
        return output.logits, ".logits"
    if isinstance(output, dict) and isinstance(output.get("logits"), Tensor):
        return output["logits"], '["logits"]'
    if isinstance(output, tuple) and output and isinstance(output[0], Tensor):
        return output[0], f"the first of {len(output)}"
    return output, ""


def described(output: Any) -> str:
    """What was got, in words."""
    if isinstance(output, Tensor):
        return f"{str(output.dtype).removeprefix('torch.')} {tuple(output.shape)}"
    if isinstance(output, dict):
        return f"a dict of {', '.join(map(str, list(output)[:6]))}"
    if isinstance(output, list | tuple):
        inner = described(output[0]) if output else "nothing"
        return f"a {type(output).__name__} of {len(output)}, first {inner}"
    return type(output).__name__


def refusal(output: Any, batch: int) -> str | None:
    """Why an unwrapped output cannot be class scores; None where it can."""
    boxes = output[0] if isinstance(output, list) and output else output
    if isinstance(boxes, dict) and "boxes" in boxes:
        return "this is a detector (boxes, labels, scores)"
    if isinstance(output, dict) and isinstance(output.get("out"), Tensor) and output["out"].ndim == 4:
        return f"this is a segmentation model ({described(output['out'])} in 'out')"
    if not isinstance(output, Tensor):
        return "these are no class scores"
    if output.ndim == 4:
        return f"this looks like segmentation or a feature map, {described(output)}"
    if output.ndim not in (1, 2) or output.shape[0] != batch:
        return f"expected logits ({batch},K)"
    if not output.is_floating_point():
        return "these are class numbers, not scores"
    return None


def final_operation(output: Tensor) -> str:
    """The operation that made a tensor, as autograd names it; "" where it has no gradient."""
    node = output.grad_fn
    while node is not None and node.name().rstrip("0123456789") in ("ViewBackward", "SqueezeBackward", "UnsafeViewBackward"):
        node = node.next_functions[0][0] if node.next_functions else None
    return "" if node is None else node.name()


def check(model: nn.Module, images: Tensor) -> tuple[int, str, tuple[str, ...]]:
    """(classes K, where the scores are, notes) of a classifier, from one batch (n,C,H,W).

    One logit is a binary classifier with K = 2. Raises ContractError, with what was got and what to do.
    """
    with torch.enable_grad():
        raw = model(images.detach().requires_grad_(True))
    output, where = unwrapped(raw)
    why = refusal(output, len(images))
    if why is not None:
        raise ContractError(
            f"expected class scores (logits) of shape ({len(images)},K); got {described(raw)}: {why}; {FEATURES_HINT}"
        )
    notes = [f"Scores are taken from {where} of its output."] if where else []
    last = final_operation(output)
    scores = output.detach().float().reshape(len(images), -1)
    if not bool(torch.isfinite(scores).all()):
        raise ContractError("the scores of a test batch are NaN or infinite; check the weights and the preprocessing")
    if last.startswith("Sigmoid"):
        kind = "a probability after a sigmoid" if scores.shape[1] == 1 else f"{scores.shape[1]} sigmoids: a multi-label model"
        raise ContractError(
            f"expected logits of one label an image; got {kind}; return the logits before the sigmoid, or {FEATURES_HINT}"
        )
    if scores.shape[1] > 1 and (last.startswith("Softmax") or sums_to_one(scores)):
        raise ContractError(
            "expected logits; got rows that sum to 1: a softmax stands in the model; return what goes into it (wrap the model), "
            "since saturated probabilities hide gradients"
        )
    if last.startswith("LogSoftmax"):
        notes.append("Its outputs are log-probabilities, which serve as logits.")
    if scores.shape[1] == 1:
        notes.append("One logit: a binary classifier, read as the scores (0, z).")
    return max(2, scores.shape[1]), where or ("one" if scores.shape[1] == 1 else ""), tuple(notes)


def sums_to_one(scores: Tensor) -> bool:
    """Whether all rows (n,K) are probabilities."""
    return bool((scores >= 0).all()) and bool(((scores.sum(1) - 1).abs() < 1e-3).all())


class Scores(nn.Module):
    """A model whose output is (n,K) scores, whatever it was wrapped in; one logit z becomes the two scores (0, z)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """(n,C,H,W) normalised -> (n,K)."""
        return as_scores(self.model(images))


def as_scores(raw: Any) -> Tensor:
    """(n,K) scores of an output that `check` has accepted."""
    output: Tensor = unwrapped(raw)[0]
    output = output.reshape(len(output), -1)
    return torch.cat([torch.zeros_like(output), output], 1) if output.shape[1] == 1 else output
