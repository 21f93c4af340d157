"""Gradient ascent on many pictures at once, each on its own course: what is done is replaced by what waits.

Every slot holds one picture with its own parameters, step, moments and random numbers. All slots share one forward, which ends
where the objective is read, and one backward to the parameters alone. So a picture's result does not depend on which others are
made with it, up to how the device rounds batches of other sizes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from auditor.methods.ascent.parameters import Parameterisation
from auditor.methods.ascent.redirect import redirected
from auditor.methods.ascent.regularisers import Penalty, Regulariser
from auditor.methods.ascent.rules import Moments, Rule
from auditor.methods.ascent.space import Space
from auditor.methods.ascent.transforms import Transform
from auditor.ops.batching import images_at_once

Objective = Callable[[Tensor, Tensor], Tensor]
"""(normalised images (n,C,H,W), units (n,) int64) -> (n,) what is raised, each of its own image alone."""
OPERATIONS = 60
"""Small operations on tensors around each call of the model, about: a plan's word."""


@dataclass(frozen=True, eq=False)
class Recipe:
    """How a picture is made. One iteration: clip to the valid range, forward, step, regularise; the last ends at the forward."""

    parameterisation: Parameterisation
    rule: Rule
    iterations: int
    """Forwards; one more than steps. At least 1."""
    transforms: tuple[Transform, ...] = ()
    regularisers: tuple[Regulariser, ...] = ()
    """In this order after each step; of pixels only."""
    penalties: tuple[Penalty, ...] = ()
    kept: float = 1.0
    """What is left of the parameters after each step, as a factor: 0.99 of a generator's code (Nguyen 2016)."""


@dataclass(frozen=True)
class Task:
    """One picture to be made."""

    recipe: Recipe
    unit: int = 0
    """What the objective is told: a class, a channel."""
    seed: int = 0
    start: Tensor | None = None
    """(C,H,W) in [0,1]; by the parameterisation where not given."""
    until: float | None = None
    """Done before its time once the objective is at least this."""


@dataclass(frozen=True)
class Made:
    """A picture."""

    image: Tensor
    """(C,H,W) in [0,1]; without transforms it is the very image of the final forward."""
    value: float
    """The objective at the final forward, with the transforms it had."""
    steps: int


@dataclass
class Slot:
    """A picture in the making."""

    number: int
    task: Task
    theta: Tensor
    moments: Moments
    generator: Generator
    step: int = 0
    value: float = float("nan")
    silent: bool = False
    """Whether its last gradient was 0 in every entry; the next one is led past the rectifiers that stopped it."""

    @property
    def last(self) -> bool:
        """Whether the next forward is the final one."""
        return self.step >= self.task.recipe.iterations - 1


def ascend(objective: Objective, tasks: Sequence[Task], space: Space, *, slots: int | None = None) -> list[Made]:
    """The pictures of `tasks`, in their order; at most `slots` are in the making at a time.

    The model behind `objective` is in eval mode (see `frozen`). Raises ValueError for a recipe that cannot be carried out.
    """
    for task in tasks:
        check(task.recipe)
    room = slots or images_at_once(space.shape, space.device, gradient=True)
    waiting, active = deque(enumerate(tasks)), list[Slot]()
    made: dict[int, Made] = {}
    while waiting or active:
        while waiting and len(active) < room:
            active.append(opened(*waiting.popleft(), space))
        for slot in advance(objective, active, space):
            made[slot.number] = closed(slot, space)
            active.remove(slot)
    return [made[number] for number in range(len(tasks))]


def check(recipe: Recipe) -> None:
    """Raise ValueError for fewer than one iteration, and for regularisers of what is no picture."""
    if recipe.iterations < 1:
        raise ValueError(f"expected at least 1 iteration, got {recipe.iterations}: one is the start, looked at")
    if recipe.regularisers and not recipe.parameterisation.pixelwise:
        kind = type(recipe.parameterisation).__name__
        raise ValueError(f"expected regularisers with Pixels alone, got them with {kind}: leave them out, or give penalties")


def opened(number: int, task: Task, space: Space) -> Slot:
    """A slot at its start."""
    generator = Generator().manual_seed(task.seed)
    theta = task.recipe.parameterisation.begin(space, task.start, generator)
    return Slot(number, task, theta, task.recipe.rule.begin(theta), generator)


def closed(slot: Slot, space: Space) -> Made:
    """What a finished slot has made."""
    parameterisation = slot.task.recipe.parameterisation
    with torch.no_grad():
        image = parameterisation.images(parameterisation.valid(slot.theta[None]), space)[0]
    return Made(image.clone(), slot.value, slot.step)


def advance(objective: Objective, slots: Sequence[Slot], space: Space) -> list[Slot]:
    """One iteration of all slots; returns those that are done, their parameters as at this forward."""
    groups: dict[int, list[Slot]] = {}
    for slot in slots:
        groups.setdefault(id(slot.task.recipe), []).append(slot)
    order = [slot for group in groups.values() for slot in group]
    parts = [Part(group, space) for group in groups.values()]
    with torch.set_grad_enabled(not all(slot.last for slot in order)):
        given = space.normalise(torch.cat([part.shown() for part in parts]))
        units = torch.tensor([slot.task.unit for slot in order], device=space.device)
        values = objective(given, units)
        total = values.sum() - torch.stack([part.penalty() for part in parts]).sum()
        leaves = [part.theta for part in parts]
        slopes: Sequence[Tensor | None] = [None] * len(parts)
        if total.requires_grad:
            silent = torch.tensor([slot.silent for slot in order], device=space.device)
            with redirected(values, silent) if bool(silent.any()) else nullcontext():
                slopes = torch.autograd.grad(total, leaves, allow_unused=True)
    done = []
    for slot, value in zip(order, values.detach().tolist(), strict=True):
        slot.value = value
        if slot.last or (slot.task.until is not None and value >= slot.task.until):
            done.append(slot)
    with torch.no_grad():
        for part, slope in zip(parts, slopes, strict=True):
            part.step(torch.zeros_like(part.theta) if slope is None else slope, done)
    return done


class Part:
    """The slots of one recipe, in one iteration."""

    def __init__(self, slots: list[Slot], space: Space) -> None:
        self.slots, self.space, self.recipe = slots, space, slots[0].task.recipe
        theta = torch.stack([slot.theta for slot in slots])
        self.theta = self.recipe.parameterisation.valid(theta).requires_grad_(True)
        self.images = self.theta

    def shown(self) -> Tensor:
        """(m,C,H,W) the images as the model sees them: in the image's own values, transformed."""
        self.images = images = self.recipe.parameterisation.images(self.theta, self.space)
        for transform in self.recipe.transforms:
            images = transform(images, [slot.generator for slot in self.slots])
        return images

    def penalty(self) -> Tensor:
        """() what is taken off the objective."""
        about = self.images - self.space.centre
        return sum((penalty(about).sum() for penalty in self.recipe.penalties), torch.zeros((), device=self.space.device))

    def step(self, slope: Tensor, done: Sequence[Slot]) -> None:
        """Move every slot that is not done; one that is keeps the parameters of the forward."""
        theta, count = self.theta.detach(), torch.tensor([slot.step for slot in self.slots], device=self.theta.device)
        held = tuple(torch.stack(parts) for parts in zip(*(slot.moments for slot in self.slots), strict=True))
        change, moments = self.recipe.rule.move(slope, held, count)
        moved = self.recipe.kept * (theta + change)
        if self.recipe.regularisers:
            moved = moved - self.space.centre
            for regulariser in self.recipe.regularisers:
                moved = regulariser(moved, slope, count)
            moved = moved + self.space.centre
        heard = slope.flatten(1).any(1).tolist()
        for i, slot in enumerate(self.slots):
            slot.silent = not heard[i]
            if any(slot is other for other in done):
                slot.theta = theta[i]
            else:
                slot.theta, slot.moments, slot.step = moved[i], tuple(part[i] for part in moments), slot.step + 1
