"""Targeted ascent: an image is raised towards a class until the model takes it for that (Szegedy 2014, Nguyen 2015)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.methods.attacks.ball import project, stored
from auditor.methods.attacks.victim import Images, gradient, look, margins


@dataclass(frozen=True)
class Fooled:
    """What targeted ascent brought, for n images."""

    images: Tensor
    """(n,C,H,W) in [0,1]; on the 8-bit grid where fooled, if that was asked for."""
    fooled: Tensor
    """(n,) bool: the target class has the highest score, by more than the margin."""
    steps: Tensor
    """(n,) int64 steps taken."""
    scores: Tensor
    """(n,K) scores of `images`."""


def fooling(
    model: Images,
    images: Tensor,
    targets: Tensor,
    *,
    normalise: Images,
    epsilon: float | None = None,
    step: float = 0.5 / 255,
    margin: float = 0.0,
    max_iterations: int = 200,
    eight_bits: bool = True,
) -> Fooled:
    """Raise the target class from each image, a small step at a time, until it has the highest score by more than `margin`.

    Each step goes `step` along the sign of the gradient of log p(target), inside [0,1] and, where epsilon is given, its
    ball. With `eight_bits` it counts only when the image rounded to 8 bits fools too, and that image is returned. A fooled
    image leaves the batch. Raises ValueError for a step that is not positive.
    """
    if step <= 0:
        raise ValueError(f"fooling: expected step > 0, got {step}; 0.5/255 is usual")
    radius = 1.0 if epsilon is None else epsilon
    best, at = images.clone(), images.clone()
    fooled = torch.zeros_like(targets, dtype=torch.bool)
    steps = torch.full_like(targets, max_iterations)
    active = torch.arange(len(images), device=images.device)
    for done in range(max_iterations + 1):
        if not len(active):
            break
        slope, scores = gradient(model, at, targets[active], normalise)
        won = margins(scores, targets[active]) > margin
        best[active] = at
        if eight_bits and bool(won.any()):
            who = active[won]
            grid = stored(at[won], images[who], radius)
            kept = margins(look(model, grid, normalise), targets[who]) > margin
            best[who[kept]] = grid[kept]
            won[won.clone()] = kept
        fooled[active[won]] = True
        steps[active[won]] = done
        active = active[~won]
        at = project(at[~won] - step * slope[~won].sign(), images[active], radius)
    return Fooled(best, fooled, steps, look(model, best, normalise))


def drawn(key: str, predicted: int, classes: int, *, seed: int) -> int:
    """A class other than the predicted one, by a hash of the image's key alone. Raises ValueError for classes < 2."""
    if classes < 2:
        raise ValueError(f"drawn: expected at least 2 classes, got {classes}; one class cannot be led to another")
    number = int.from_bytes(hashlib.sha256(f"{seed}:fooling:{key}".encode()).digest()[:8], "big")
    return (predicted + 1 + number % (classes - 1)) % classes
