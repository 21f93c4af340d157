"""What every attribution method asks of its arguments, and the random numbers it draws."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from auditor.errors import UsageError

TargetClass = int | Tensor
"""A class for all images, or (N,) one an image."""


def checked(inputs: Tensor, target: TargetClass) -> tuple[Tensor, Tensor]:
    """(N,C,H,W) float inputs cut from any graph, and (N,) int64 classes beside them. Raises UsageError."""
    if inputs.ndim != 4 or not inputs.is_floating_point():
        raise UsageError(
            f"expected inputs as a float tensor (N,C,H,W), got {inputs.dtype} {tuple(inputs.shape)}: normalise and batch them"
        )
    classes = torch.as_tensor(target, device=inputs.device)
    if classes.is_floating_point() or classes.dtype == torch.bool or classes.shape not in ((), (1,), (len(inputs),)):
        raise UsageError(
            f"expected target as an int or (N,) ints with N = {len(inputs)}, got {classes.dtype} {tuple(classes.shape)}: "
            "give one class an image"
        )
    return inputs.detach(), classes.long().reshape(-1).expand(len(inputs))


def scores_of(model: nn.Module, images: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """(n,K) scores and (n,) those of `classes`. Raises UsageError where the model gives something else."""
    scores = model(images)
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(images):
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise UsageError(f"expected class scores ({len(images)},K) of the model, got {got}: wrap it so that it returns them")
    if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < scores.shape[1]:
        raise UsageError(
            f"expected target classes within 0..{scores.shape[1] - 1}, got {int(classes.min())}..{int(classes.max())}: "
            "name a class of this model"
        )
    return scores, scores.gather(1, classes[:, None])[:, 0]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """The model in eval mode; every module's own mode is given back, also after an exception."""
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
