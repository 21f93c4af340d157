"""The rows of the study: which images fall to what, the signs of masked gradients, and what targeted ascent brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from auditor.fold import Item, State, concatenate
from auditor.methods.attacks.fooling import fooling
from auditor.methods.attacks.minimal import minimal
from auditor.methods.attacks.worst import ATTACKS, STANDS, UNCHANGED, Budget, worst_case
from auditor.methods.inputs import seed_of
from auditor.methods.masking import as_arrays, signs
from auditor.methods.robustness import sweep
from auditor.methods.unit import as_pixels, unit_images
from auditor.ops.batching import images_at_once

if TYPE_CHECKING:
    from torch import Tensor

    from auditor.dataset import Dataset
    from auditor.target import Target

GROUP, CHUNK = 4, 8
"""Images an item of the robustness study holds, and items a chunk."""

ROBUST, FOOL, TESTED, NOISE = 0, 1, 2, 3
"""Kinds of item: (ROBUST, position...), (TESTED, position...) whose images are looked at for masked gradients too,
(FOOL, position, target class), (NOISE, number, target class)."""

SWEPT = ("fgsm", "pgd", "fgsm_8bit", "pgd_8bit")
SIGNS = ("silent", "saturated", "untrue", "unbroken", "random", "optimises")
NOISE_MARGIN = 5.0
"""By how much the class leads that noise is raised to: about 99 % against one rival."""


@dataclass(frozen=True)
class Plan:
    """What an image goes through."""

    epsilons: tuple[float, ...]
    epsilon: float
    epsilon_l2: float
    steps: int
    strong: bool
    budget: Budget
    distance_steps: int
    max_iterations: int
    seed: int


def work(target: Target, dataset: Dataset, items: Sequence[Item], *, plan: Plan) -> State:
    """Rows of all kinds of item; the columns of the other kinds hold -1 or 0."""
    rows = len(items)
    out: State = {
        "kind": np.array([item[0] for item in items]),
        "position": np.full((rows, GROUP), -1, dtype=np.int64),
        **{name: np.zeros((rows, GROUP, len(plan.epsilons)), dtype=bool) for name in SWEPT},
        **{name: np.zeros((rows, GROUP), dtype=bool) for name in (*SIGNS, "strong_8bit")},
        **{name: np.full((rows, GROUP), UNCHANGED, dtype=np.int64) for name in ("by_linf", "by_l2")},
        "distance": np.full((rows, GROUP), np.nan),
    }
    for kinds, look in (((ROBUST, TESTED), attacked), ((TESTED,), tested)):
        places = [(i, j) for i, item in enumerate(items) if item[0] in kinds for j in range(len(item) - 1)]
        if places:
            at = tuple(np.array(places, dtype=np.int64).T)
            positions = [items[i][1 + j] for i, j in places]
            out["position"][at] = positions
            for name, column in in_parts(target, dataset, positions, plan, look).items():
                out[name][at] = column
    return {**out, **fooling_rows(target, dataset, items, plan)}


Part = Callable[["Target", "Tensor", "Tensor", list[int], Plan], State]


def in_parts(target: Target, dataset: Dataset, positions: list[int], plan: Plan, look: Part) -> State:
    """`look` at images in batches that fit, as one table."""
    size = images_at_once(target.input_shape, target.device, gradient=True)
    parts: list[State] = []
    for begin in range(0, len(positions), size):
        some = positions[begin : begin + size]
        images = unit_images(dataset, some, target.device)
        labels = torch.as_tensor(np.asarray(dataset.labels)[some], device=target.device)
        seeds = [seed_of(plan.seed, f"attack:{dataset.samples[p].key}") for p in some]
        parts.append(look(target, images, labels, seeds, plan))
    return concatenate(parts)


def attacked(target: Target, images: Tensor, labels: Tensor, seeds: list[int], plan: Plan) -> State:
    """FGSM and PGD at every epsilon, then the strong attacks on what stands at the stated one, in L-inf and in L2."""
    normalise = target.preprocess.normalise
    fallen = sweep(target.module, images, labels, plan.epsilons, normalise=normalise, steps=plan.steps)
    out: State = {name: getattr(fallen, name).cpu().numpy() for name in SWEPT}
    out["silent"] = fallen.silent.cpu().numpy()
    if not plan.strong:
        return out
    at = plan.epsilons.index(plan.epsilon)
    left = torch.nonzero(~(fallen.fgsm | fallen.pgd)[:, : at + 1].any(1))[:, 0]
    by, grid = np.full(len(labels), UNCHANGED), np.zeros(len(labels), dtype=bool)
    if len(left):
        mine = [seeds[i] for i in left.tolist()]
        found = worst_case(
            target.module, images[left], labels[left], plan.epsilon, normalise=normalise, seeds=mine, budget=plan.budget
        )
        by[left.cpu().numpy()], grid[left.cpu().numpy()] = found.by.cpu().numpy(), found.fallen_8bit.cpu().numpy()
    other = worst_case(
        target.module,
        images,
        labels,
        plan.epsilon_l2,
        normalise=normalise,
        norm="l2",
        attacks=ATTACKS,
        seeds=seeds,
        budget=plan.budget,
    )
    return {**out, "by_linf": by, "strong_8bit": grid, "by_l2": other.by.cpu().numpy()}


def tested(target: Target, images: Tensor, labels: Tensor, _seeds: list[int], plan: Plan) -> State:
    """The signs of masked gradients, and the smallest change in L2."""
    normalise = target.preprocess.normalise
    out = as_arrays(signs(target.module, images, labels, normalise=normalise))
    if plan.distance_steps:
        near = minimal(target.module, images, labels, normalise=normalise, steps=plan.distance_steps)
        out["distance"] = near.distance.double().cpu().numpy()
    return out


def fooling_rows(target: Target, dataset: Dataset, items: Sequence[Item], plan: Plan) -> State:
    """What targeted ascent brought for the items of kinds FOOL and NOISE."""
    rows, shape = len(items), dataset.pixels([0]).shape[1:]
    out: State = {
        "source": np.full(rows, -1, dtype=np.int64),
        "class": np.full(rows, -1, dtype=np.int64),
        "fooled": np.zeros(rows, dtype=bool),
        "iterations": np.zeros(rows, dtype=np.int64),
        "confidence": np.zeros(rows, dtype=np.float32),
        "picture": np.zeros((rows, *shape), dtype=np.uint8),
        "start": np.zeros((rows, *shape), dtype=np.uint8),
    }
    for kind, margin in ((FOOL, 0.0), (NOISE, NOISE_MARGIN)):
        at = [i for i, item in enumerate(items) if item[0] == kind]
        if not at:
            continue
        out["source"][at], out["class"][at] = [items[i][1] for i in at], [items[i][2] for i in at]
        if kind == FOOL:
            images = unit_images(dataset, out["source"][at], target.device)
        else:
            images = torch.stack([noise(target.input_shape, plan.seed, items[i][1]) for i in at]).to(target.device)
        classes = torch.as_tensor(out["class"][at], device=target.device)
        result = fooling(
            target.module,
            images,
            classes,
            normalise=target.preprocess.normalise,
            max_iterations=plan.max_iterations,
            margin=margin,
        )
        out["fooled"][at] = result.fooled.cpu().numpy()
        out["iterations"][at] = result.steps.cpu().numpy()
        out["confidence"][at] = result.scores.float().softmax(1).gather(1, classes[:, None])[:, 0].cpu().numpy()
        out["picture"][at], out["start"][at] = as_pixels(result.images), as_pixels(images)
    return out


def noise(shape: Sequence[int], seed: int, number: int) -> Tensor:
    """(C,H,W) in 8 bits about mid-grey, from the number alone: an image without an object."""
    generator = torch.Generator().manual_seed(seed_of(seed, f"noise:{number}"))
    drawn = 0.5 + 0.1 * torch.randn(tuple(shape), generator=generator)
    return (drawn.clamp(0, 1) * 255).round() / 255


__all__ = ["ATTACKS", "CHUNK", "FOOL", "GROUP", "NOISE", "ROBUST", "SIGNS", "STANDS", "TESTED", "Plan", "work"]
