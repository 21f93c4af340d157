"""What every attribution method asks of its arguments, and the random numbers it draws."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.ops.heap import hold_memory

Classes = int | Tensor
"""A class for all images, or (N,) one an image."""
TargetClass = Classes | tuple[Classes, Classes]
"""What a map explains: the score S_a of a class, or of a pair (a, b) the contrast of the two, S_a - S_b."""


def wanted_of(first: int, other: int = -1) -> TargetClass:
    """The class `first`, or its contrast with `other` where that is a class (0 or above)."""
    return first if other < 0 else (first, other)


def checked(inputs: Tensor, target: TargetClass) -> tuple[Tensor, Tensor]:
    """(N,C,H,W) float inputs cut from any graph, and int64 classes beside them: (N,), (N,2) of a contrast. Raises UsageError."""
    if inputs.ndim != 4 or not inputs.is_floating_point():
        raise UsageError(
            f"expected inputs as a float tensor (N,C,H,W), got {inputs.dtype} {tuple(inputs.shape)}: normalise and batch them"
        )
    if not isinstance(target, tuple):
        return inputs.detach(), one_each(inputs, target)
    if len(target) != 2:
        raise UsageError(f"expected a contrast of two classes (a, b), got {len(target)}: give one class an image as a tensor")
    return inputs.detach(), torch.stack([one_each(inputs, classes) for classes in target], 1)


def one_each(inputs: Tensor, target: Classes) -> Tensor:
    """(N,) int64 classes beside inputs (N,...), on their device. Raises UsageError."""
    classes = torch.as_tensor(target, device=inputs.device)
    if classes.is_floating_point() or classes.dtype == torch.bool or classes.shape not in ((), (1,), (len(inputs),)):
        raise UsageError(
            f"expected target as an int or (N,) ints with N = {len(inputs)}, got {classes.dtype} {tuple(classes.shape)}: "
            "give one class an image"
        )
    return classes.long().reshape(-1).expand(len(inputs))


def scores_of(model: nn.Module, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """(n,K) scores, and (n,) those of `classes` (n,), S_a - S_b of (n,2). Raises UsageError where these are not what it gives."""
    scores = model(images)
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(images):
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise UsageError(f"expected class scores ({len(images)},K) of the model, got {got}: wrap it so that it returns them")
    if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < scores.shape[1]:
        raise UsageError(
            f"expected target classes within 0..{scores.shape[1] - 1}, got {int(classes.min())}..{int(classes.max())}: "
            "name a class of this model"
        )
    return scores, own_of(scores, classes)


def own_of(scores: Tensor, classes: Tensor) -> Tensor:
    """(n,) those of (n,K) `scores` that `classes` (n,) ask for; S_a - S_b of (n,2)."""
    if classes.ndim == 2:
        pair = scores.gather(1, classes)
        return pair[:, 0] - pair[:, 1]
    return scores.gather(1, classes[:, None])[:, 0]


def judged(model: nn.Module, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) score and probability of each image's class; of a contrast (n,2), S_a - S_b and p_a / (p_a + p_b)."""
    return judged_scores(scores_of(model, images, classes)[0], classes)


def judged_scores(scores: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """`judged` of (n,K) scores."""
    own = own_of(scores, classes)
    if classes.ndim == 2:
        return own, torch.sigmoid(own)
    return own, torch.softmax(scores, 1).gather(1, classes[:, None])[:, 0]


def own_score(model: nn.Module, classes: Tensor) -> Callable[[Tensor], Tensor]:
    """images (n,C,H,W) -> (n,) the score that one image's `classes`, () or (2,), ask for: what captum's methods are given."""
    return lambda images: scores_of(model, images, repeated(classes, len(images)))[1]


def repeated(classes: Tensor, count: int) -> Tensor:
    """(count,) or (count,2): the classes, () or (2,), of one image for each of `count`."""
    return classes.expand(count, *classes.shape)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """The model in eval mode; every module's own mode is given back, also after an exception."""
    hold_memory()
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Random numbers of `device` and of the CPU from `seed`; the generators go on afterwards as if nothing was drawn."""
    cuda = [device] if device.type == "cuda" else []
    mps = torch.mps.get_rng_state() if device.type == "mps" else None
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        if mps is not None:
            torch.mps.manual_seed(seed)
        try:
            yield
        finally:
            if mps is not None:
                torch.mps.set_rng_state(mps)


def seed_of(seed: int, name: str) -> int:
    """A seed of 63 bits for one named thing, the same in every process."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big") >> 1
