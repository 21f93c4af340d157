"""The rows of the study: one inversion an objective, place and image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from auditor.fold import Item, State
from auditor.methods.inputs import seed_of
from auditor.methods.inversion import Johnson, Mahendran, Objective, invert, psnr
from auditor.methods.unit import as_pixels, as_unit
from auditor.probes.inversion.places import Place, activation
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.target import Target

OBJECTIVES = ("mahendran", "johnson")


@dataclass(frozen=True)
class Settings:
    """What all inversions share."""

    places: tuple[Place, ...]
    objectives: tuple[str, ...]
    iterations: int
    rate: float
    l_a: float
    l_v: float
    tv: float
    seed: int

    def objective(self, number: int) -> Objective:
        """The objective of that number."""
        return Mahendran(self.l_a, self.l_v) if self.objectives[number] == "mahendran" else Johnson(self.tv)

    def named(self, objective: int, place: int) -> str:
        """What names the random start: Mahendran's as ever, so that its pictures stay what they were."""
        own = "" if self.objectives[objective] == "mahendran" else f"{self.objectives[objective]}:"
        return f"inversion:{own}{self.places[place][0]}"


def work(target: Target, dataset: Dataset, items: Sequence[Item], *, settings: Settings) -> State:
    """Rows of items (objective, depth, position): the picture (H,W,C) uint8, its errors, and what the model makes of it."""
    rows: dict[int, dict[str, Array]] = {}
    for objective, depth in sorted({item[:2] for item in items}):
        at = [i for i, item in enumerate(items) if item[:2] == (objective, depth)]
        found = inverted(target, dataset, [items[i][2] for i in at], objective, depth, settings)
        for place, i in enumerate(at):
            rows[i] = {name: column[place] for name, column in found.items()}
    names = ("objective", "depth", "position")
    keys = {name: np.array([item[k] for item in items], np.int64) for k, name in enumerate(names)}
    return keys | {name: np.stack([rows[i][name] for i in range(len(items))]) for name in rows[0]}


def inverted(target: Target, dataset: Dataset, positions: Sequence[int], objective: int, depth: int, settings: Settings) -> State:
    """Columns of the images at `positions`, inverted together."""
    place, normalise = settings.places[depth], target.preprocess.normalise
    images = as_unit(dataset.pixels(positions), target.device)
    light = target.light

    def phi(given: Tensor) -> Tensor:
        return activation(light.model, place, light.prepared(given))

    with torch.no_grad():
        wanted = phi(normalise(images))
    result = invert(
        phi,
        wanted,
        shape=images.shape[1:],
        normalise=normalise,
        seeds=[seed_of(settings.seed, f"{settings.named(objective, depth)}:{dataset.samples[p].key}") for p in positions],
        iterations=settings.iterations,
        rate=settings.rate,
        objective=settings.objective(objective),
    )
    looks = [target.look(normalise(image)) for image in result.images.split(1)]
    taken = [-1 if look.scores is None else int(look.scores[0].argmax()) for look in looks]
    return {
        "picture": as_pixels(result.images),
        "error": result.error.double().cpu().numpy(),
        "psnr": psnr(result.images, images).double().cpu().numpy(),
        "taken": np.array(taken, np.int64),
        "features": torch.cat([look.features for look in looks]).cpu().numpy(),
    }
