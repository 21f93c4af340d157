"""The gradient's sign: FGSM (Goodfellow 2015) and PGD (Madry 2018), in L-inf and L2."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from auditor.methods.attacks.ball import Norm, begin, project, steepest, stored
from auditor.methods.attacks.victim import Attacked, Images, Record, climb, cross_entropy, errs, gradient, look


def fgsm(
    model: Images,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    normalise: Images,
    norm: Norm = "linf",
    slope: Tensor | None = None,
) -> Attacked:
    """One step of epsilon along the sign of the loss gradient, in L2 along the gradient; `slope` (n,C,H,W) where it is known."""
    slope = gradient(model, images, labels, normalise)[0] if slope is None else slope
    moved = project(images + epsilon * steepest(slope, norm), images, epsilon, norm)
    grid = stored(moved, images, epsilon, norm)
    fallen, kept = errs(model, moved, labels, normalise), errs(model, grid, labels, normalise)
    return Attacked(moved, fallen, kept, torch.ones_like(labels))


def pgd(
    model: Images,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    normalise: Images,
    norm: Norm = "linf",
    steps: int = 10,
    seeds: Sequence[int] | None = None,
    restarts: int = 1,
    eight_bits: bool = True,
    batch: int = 0,
) -> Attacked:
    """`steps` steps of 2.5 epsilon / steps along the steepest direction, projected after each.

    Starts at the images, or with `seeds` (one an image) at a random point of the ball; of `restarts` runs the first that
    makes an image fall counts, and the later ones start at other points. An image leaves the batch at once when it has fallen,
    with `eight_bits` when it has fallen in 8 bits too. Raises ValueError for steps < 1, and for restarts without seeds.
    """
    if steps < 1:
        raise ValueError(f"pgd: expected steps >= 1, got {steps}; 10 is usual")
    if restarts < 1 or (restarts > 1 and seeds is None):
        raise ValueError(f"pgd: expected restarts >= 1, and seeds where there are several, got {restarts}; give a seed an image")
    record = Record(model, images, labels, epsilon, normalise=normalise, norm=norm, patient=eight_bits)
    who = torch.arange(len(images), device=images.device)
    for run in range(restarts):
        if len(who):
            chosen = None if seeds is None else [int(seeds[i]) + 7919 * run for i in who.tolist()]
            start = begin(images[who], epsilon, chosen, norm)
            who = descend(record, start, who, steps=steps, batch=batch)
    return record.result()


def descend(record: Record, at: Tensor, who: Tensor, *, steps: int, batch: int) -> Tensor:
    """One run from `at` (m,C,H,W), the images of the places `who` (m,); the places that still go on."""
    stride = 2.5 * record.epsilon / steps
    for step in range(steps + 1):
        if not len(who):
            break
        if step < steps:
            slope, _, scores = climb(record.model, at, cross_entropy(record.labels[who]), record.normalise, batch)
            stay = record.note(at, who, scores)
        else:
            stay = record.note(at, who, look(record.model, at, record.normalise, batch))
            return who[stay]
        who = who[stay]
        record.steps[who] += 1
        moved = at[stay] + stride * steepest(slope[stay], record.norm)
        at = project(moved, record.origin[who], record.epsilon, record.norm)
    return who
