"""The rows of the study: a picture for each class or unit and each recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from auditor.fold import Item, State
from auditor.methods.ascent import Natural, Recipe, Space, Task, Units, ascend, measured, recipe
from auditor.methods.inputs import seed_of
from auditor.methods.taken import taken_for
from auditor.methods.unit import as_pixels, unit_images
from auditor.ops.maps import Layout
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.target import Target

CLASS = -1
"""The layer of an item that is about a class."""
FULL = 0.995
"""Quantile of |x - mean| that is shown as black or white where contrast is raised."""


@dataclass(frozen=True)
class Settings:
    """What all pictures share."""

    recipes: tuple[str, ...]
    iterations: int
    strength: float
    layers: tuple[str, ...]
    natural: tuple[int, ...]
    """Positions of the images whose colours and spectrum are taken."""
    seed: int

    def recipe(self, number: int, natural: Natural) -> Recipe:
        """The recipe of that number."""
        return recipe(self.recipes[number], iterations=self.iterations, natural=natural, strength=self.strength)


def make(target: Target, dataset: Dataset, items: Sequence[Item], *, settings: Settings) -> State:
    """Rows of items (layer number or CLASS, unit or class, recipe number)."""
    space = Space.of(target.preprocess, target.input_shape[1:], target.device)
    natural = measured(unit_images(dataset, settings.natural, target.device))
    recipes = {number: settings.recipe(number, natural) for number in sorted({item[2] for item in items})}
    pictures, value = torch.zeros(len(items), *space.shape, device=target.device), np.zeros(len(items), np.float32)
    for layer in sorted({item[0] for item in items}):
        at = [i for i, item in enumerate(items) if item[0] == layer]
        name = "" if layer == CLASS else settings.layers[layer]
        tasks = [Task(recipes[items[i][2]], items[i][1], seed(settings, items[i])) for i in at]
        objective = Units(target.module) if layer == CLASS else Units(target.model, name, layout=layout_of(target, name))
        pictures[at] = torch.stack([made.image for made in ascend(objective.lean(space), tasks, space)])
        units = torch.tensor([items[i][1] for i in at], device=target.device)
        value[at] = fired(objective, pictures[at], units, space)
    shown, contrast = displayed(pictures, space, [recipes[item[2]].parameterisation.pixelwise for item in items])
    return {
        "layer": np.array([item[0] for item in items], np.int64),
        "unit": np.array([item[1] for item in items], np.int64),
        "recipe": np.array([item[2] for item in items], np.int64),
        "value": value,
        "picture": as_pixels(shown),
        "contrast": contrast,
        **taken_for(target, pictures),
    }


def layout_of(target: Target, layer: str) -> Layout | None:
    """How a layer holds maps."""
    return next(call.layout for call in target.trace if call.name == layer)


def seed(settings: Settings, item: Item) -> int:
    """One an item, whatever else is made."""
    layer = "class" if item[0] == CLASS else settings.layers[item[0]]
    return seed_of(settings.seed, f"visualisation:{layer}:{item[1]}:{settings.recipes[item[2]]}")


def fired(objective: Units, pictures: Tensor, units: Tensor, space: Space) -> Array:
    """(n,) the objective at each picture, without transforms."""
    with torch.no_grad():
        found = [objective(space.normalise(picture[None]), unit[None]) for picture, unit in zip(pictures, units, strict=True)]
    return np.asarray(torch.cat(found).float().cpu().numpy())


def displayed(pictures: Tensor, space: Space, pixels: Sequence[bool]) -> tuple[Tensor, Array]:
    """((n,C,H,W) as shown, (n,) how often their contrast was raised): pictures of pixels are stretched about the mean colour."""
    about = pictures - space.centre
    reach = torch.quantile(about.abs().flatten(1), FULL, dim=1).clamp_min(1e-6)
    raised = torch.where(torch.tensor(pixels, device=pictures.device), (0.5 / reach).clamp_min(1.0), torch.ones_like(reach))
    return (space.centre + about * raised.view(-1, 1, 1, 1)).clamp(0.0, 1.0), raised.cpu().numpy()
