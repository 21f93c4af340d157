"""Small changes that make a model err: FGSM (Goodfellow 2015), PGD (Madry 2018), targeted fooling (Szegedy 2014).

Images are (n,C,H,W) in [0,1] and every change is bounded there (L-inf); `normalise` turns them into what the model is
given, and is differentiated through. The model gives (n,K) scores, is in eval mode and never mixes images, so an image's
result does not depend on its neighbours in the batch. Epsilons are in units where an image spans [0,1].
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Images = Callable[[Tensor], Tensor]
"""(n,C,H,W) -> (n,C,H,W) or (n,K)."""

SLACK = 1e-6
"""Of one 8-bit level: 2/255*255 is not 2 in every float."""


@dataclass(frozen=True)
class Attacked:
    """What an attack brought, for n images."""

    images: Tensor
    """(n,C,H,W) in [0,1], within epsilon: where fallen, the first image found that falls."""
    fallen: Tensor
    """(n,) bool: the label no longer has the highest score."""
    fallen_8bit: Tensor
    """(n,) bool: some image of the attack falls when stored in 8 bits, without leaving the ball."""


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


def margins(scores: Tensor, labels: Tensor) -> Tensor:
    """(n,) score of the label minus the highest other score: below 0 another class wins, at 0 the lower class number wins."""
    own = scores.gather(1, labels[:, None])[:, 0]
    return own - scores.scatter(1, labels[:, None], -torch.inf).amax(1)


def gradient(model: Images, images: Tensor, labels: Tensor, normalise: Images) -> tuple[Tensor, Tensor]:
    """Gradient of the cross-entropy at the images (n,C,H,W), and the scores (n,K) found on the way.

    A score that does not depend on the image at all has the gradient 0.
    """
    with torch.enable_grad():
        at = images.detach().requires_grad_(True)
        scores = model(normalise(at))
        loss = functional.cross_entropy(scores.float(), labels, reduction="sum")
        slope = torch.autograd.grad(loss, at, allow_unused=True)[0] if loss.requires_grad else None
    return torch.zeros_like(images) if slope is None else slope, scores.detach()


def look(model: Images, images: Tensor, normalise: Images) -> Tensor:
    """(n,K) scores, without a gradient."""
    with torch.no_grad():
        return model(normalise(images))


def project(images: Tensor, origin: Tensor, epsilon: float) -> Tensor:
    """Into the L-inf ball of radius epsilon about `origin`, and into [0,1]."""
    return images.clamp(origin - epsilon, origin + epsilon).clamp(0.0, 1.0)


def stored(images: Tensor, origin: Tensor, epsilon: float) -> Tensor:
    """The images as 8 bits keep them; no pixel moves by more whole levels than fit in epsilon."""
    levels = int(epsilon * 255 + SLACK)
    base = (origin * 255).round()
    return (images * 255).round().clamp(base - levels, base + levels).clamp(0.0, 255.0) / 255


def errs(model: Images, images: Tensor, labels: Tensor, normalise: Images) -> Tensor:
    """(n,) bool: the highest score is not the label's."""
    return look(model, images, normalise).argmax(1) != labels


def fgsm(
    model: Images, images: Tensor, labels: Tensor, epsilon: float, *, normalise: Images, slope: Tensor | None = None
) -> Attacked:
    """One step of epsilon along the sign of the loss gradient (Goodfellow 2015); `slope` (n,C,H,W) where it is known."""
    slope = gradient(model, images, labels, normalise)[0] if slope is None else slope
    moved = project(images + epsilon * slope.sign(), images, epsilon)
    grid = stored(moved, images, epsilon)
    return Attacked(moved, errs(model, moved, labels, normalise), errs(model, grid, labels, normalise))


def begin(images: Tensor, epsilon: float, seeds: Sequence[int] | None) -> Tensor:
    """The images, or with one seed an image a uniform point of the ball about each."""
    if seeds is None:
        return images.clone()
    noise = [torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return project(images + epsilon * (2 * torch.stack(noise).to(images) - 1), images, epsilon)


def pgd(
    model: Images,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    normalise: Images,
    steps: int = 10,
    seeds: Sequence[int] | None = None,
) -> Attacked:
    """`steps` steps of 2.5 epsilon / steps along the gradient's sign, projected after each (Madry 2018).

    Starts at the images, or with `seeds` (one an image) at a random point of the ball. An image leaves the batch once it
    has fallen both as floats and in 8 bits. Raises ValueError for steps < 1.
    """
    if steps < 1:
        raise ValueError(f"pgd: expected steps >= 1, got {steps}; 10 is usual")
    best = begin(images, epsilon, seeds)
    fallen = torch.zeros_like(labels, dtype=torch.bool)
    grid_fallen = torch.zeros_like(fallen)
    active, at = torch.arange(len(images), device=images.device), best.clone()
    for step in range(steps + 1):
        if not len(active):
            break
        if step < steps:
            slope, scores = gradient(model, at, labels[active], normalise)
        else:
            slope, scores = torch.zeros_like(at), look(model, at, normalise)
        wrong = scores.argmax(1) != labels[active]
        best[active] = torch.where(fallen[active][:, None, None, None], best[active], at)
        fallen[active] |= wrong
        if bool(wrong.any()):
            who = active[wrong]
            grid_fallen[who] |= errs(model, stored(at[wrong], images[who], epsilon), labels[who], normalise)
        stay = ~(fallen & grid_fallen)[active]
        active = active[stay]
        at = project(at[stay] + 2.5 * epsilon / steps * slope[stay].sign(), images[active], epsilon)
    return Attacked(best, fallen, grid_fallen)


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
