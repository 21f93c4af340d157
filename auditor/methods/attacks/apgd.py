"""APGD, which chooses its own step size, on the cross-entropy and on the targeted DLR loss (Croce & Hein 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from auditor.methods.attacks.ball import TINY, Norm, begin, project, steepest, wide
from auditor.methods.attacks.victim import Attacked, Images, Record, Rise, climb, cross_entropy, look

MOMENTUM, RISING = 0.75, 0.75
"""Alpha and rho of the paper: the weight of the new step, and the share of steps that must raise the loss."""
TARGETS = 9


@dataclass
class Run:
    """The state of the m images that still go on; every field is (m,...)."""

    at: Tensor
    before: Tensor
    best: Tensor
    slope: Tensor
    best_slope: Tensor
    value: Tensor
    best_value: Tensor
    checked: Tensor
    """The best value at the last checkpoint."""
    rises: Tensor
    """Steps since then that raised the value."""
    halved: Tensor
    """Whether the step was halved there."""
    step: Tensor

    def keep(self, stay: Tensor) -> None:
        """Only the images of (m,) bool."""
        if not bool(stay.all()):
            for field in fields(self):
                setattr(self, field.name, getattr(self, field.name)[stay])


def checkpoints(steps: int) -> tuple[int, ...]:
    """The steps after which the step size is looked at: 22 % apart, then 3 % less each time, at least 6 %."""
    gap, shrink, least = max(int(0.22 * steps), 1), max(int(0.03 * steps), 1), max(int(0.06 * steps), 1)
    found, at = [], gap
    while at <= steps:
        found.append(at)
        gap = max(gap - shrink, least)
        at += gap
    return tuple(found)


def dlr_targeted(labels: Tensor, targets: Tensor) -> Rise:
    """-(z_y - z_t) / (z_1 - (z_3 + z_4) / 2), blind to shift and scale; z_t - z_y where there are fewer than 4 classes."""

    def rise(scores: Tensor, rows: Tensor) -> Tensor:
        own, wanted = (scores.gather(1, classes[rows][:, None])[:, 0] for classes in (labels, targets))
        if scores.shape[1] < 4:
            return wanted - own
        top = scores.topk(4, dim=1).values
        return (wanted - own) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + TINY)

    return rise


def apgd(
    model: Images,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    normalise: Images,
    norm: Norm = "linf",
    steps: int = 100,
    seeds: Sequence[int] | None = None,
    targets: Tensor | None = None,
    batch: int = 0,
) -> Attacked:
    """APGD-CE; with `targets` (n,) classes, APGD on the targeted DLR loss towards those.

    The step starts at 2 epsilon and is halved, back at the best image so far, where at a checkpoint fewer than 75 % of the steps
    raised the loss, or where neither step nor best value has changed since the last. Starts at the images, or with `seeds`
    (one an image) at a random point of the ball. It leaves the batch once it falls. Raises ValueError for steps < 1.
    """
    if steps < 1:
        raise ValueError(f"apgd: expected steps >= 1, got {steps}; 100 is usual")
    rises = cross_entropy(labels) if targets is None else dlr_targeted(labels, targets)
    record = Record(model, images, labels, epsilon, normalise=normalise, norm=norm)
    who = torch.arange(len(images), device=images.device)
    if not len(who):
        return record.result()
    at = begin(images, epsilon, seeds, norm)
    slope, value, scores = climb(model, at, rises, normalise, batch)
    zero = torch.zeros_like(value)
    run = Run(at, at, at, slope, slope, value, value, value, zero, zero.bool(), zero + 2 * epsilon)
    stay = record.note(at, who, scores)
    run.keep(stay)
    who, looks, last = who[stay], checkpoints(steps), 0
    for step in range(1, steps + 1):
        if not len(who):
            break
        record.steps[who] += 1
        move(run, images[who], epsilon, norm, first=step == 1)
        if step == steps:
            record.note(run.at, who, look(model, run.at, normalise, batch))
            break
        places = who
        run.slope, value, scores = climb(model, run.at, lambda s, rows, p=places: rises(s, p[rows]), normalise, batch)  # type: ignore[misc]
        stay = record.note(run.at, who, scores)
        take(run, value)
        run.keep(stay)
        who = who[stay]
        if step in looks:
            check(run, step - last)
            last = step
    return record.result()


def move(run: Run, origin: Tensor, epsilon: float, norm: Norm, *, first: bool) -> None:
    """One step with momentum; the first has none."""
    ahead = project(run.at + wide(run.step) * steepest(run.slope, norm), origin, epsilon, norm)
    if not first:
        ahead = run.at + MOMENTUM * (ahead - run.at) + (1 - MOMENTUM) * (run.at - run.before)
        ahead = project(ahead, origin, epsilon, norm)
    run.before, run.at = run.at, ahead


def take(run: Run, value: Tensor) -> None:
    """Count a rise, and keep the best image with its slope."""
    run.rises = run.rises + (value > run.value)
    run.value = value
    better = value > run.best_value
    run.best, run.best_slope = torch.where(wide(better), run.at, run.best), torch.where(wide(better), run.slope, run.best_slope)
    run.best_value = torch.maximum(value, run.best_value)


def check(run: Run, taken: int) -> None:
    """At a checkpoint, `taken` steps after the last: halve the step, from the best image on, where it no longer helps."""
    stuck = (run.rises < RISING * taken) | (~run.halved & (run.checked >= run.best_value))
    run.step = torch.where(stuck, run.step / 2, run.step)
    run.at, run.slope = torch.where(wide(stuck), run.best, run.at), torch.where(wide(stuck), run.best_slope, run.slope)
    run.halved, run.checked, run.rises = stuck, run.best_value, torch.zeros_like(run.rises)


def apgd_targeted(
    model: Images,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    normalise: Images,
    norm: Norm = "linf",
    steps: int = 100,
    seeds: Sequence[int] | None = None,
    targets: int = TARGETS,
    batch: int = 0,
) -> Attacked:
    """APGD-T: towards each of the `targets` (9) likeliest other classes in turn; an image that falls gets no further one."""
    scores = look(model, images, normalise, batch)
    ranked = scores.scatter(1, labels[:, None], -torch.inf).argsort(stable=True, dim=1, descending=True)
    best, steps_taken = images.clone(), torch.zeros_like(labels)
    fallen = torch.zeros_like(labels, dtype=torch.bool)
    fallen_8bit = fallen.clone()
    left = torch.arange(len(images), device=images.device)
    for rank in range(min(targets, scores.shape[1] - 1)):
        if not len(left):
            break
        chosen = None if seeds is None else [int(seeds[i]) + 7919 * rank for i in left.tolist()]
        found = apgd(
            model, images[left], labels[left], epsilon, normalise=normalise, norm=norm, steps=steps, seeds=chosen,
            targets=ranked[left, rank], batch=batch,
        )  # fmt: skip
        best[left], fallen[left], fallen_8bit[left] = found.images, found.fallen, found.fallen_8bit
        steps_taken[left] += found.steps
        left = left[~found.fallen]
    return Attacked(best, fallen, fallen_8bit, steps_taken)
