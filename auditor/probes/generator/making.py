"""The rows of the study: what the generator makes of images kept back, and the pictures of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from auditor.fold import Item, State
from auditor.methods.ascent import Space, Task, Units, ascend
from auditor.methods.generator import Range, code_recipe, measured_range
from auditor.methods.inputs import seed_of
from auditor.methods.taken import taken_for
from auditor.methods.unit import as_pixels, unit_images
from auditor.ops.resize import resized
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.target import Target

IMAGE, CLASS = 0, 1
"""What an item is about: an image kept back, or a class."""


@dataclass(frozen=True, eq=False)
class Settings:
    """What all items share."""

    module: nn.Module
    """The generator."""
    features: Array
    """(N,D) of the data."""
    seed: int
    mean: Array | None = None
    """(C,H,W) mean image in [0,1]; the generator's own where not given."""


def make(target: Target, dataset: Dataset, items: Sequence[Item], *, settings: Settings) -> State:
    """Rows of items (IMAGE, position, 0) and (CLASS, class, number of the start)."""
    space = Space.of(target.preprocess, target.input_shape[1:], target.device)
    kind = np.array([item[0] for item in items], np.int64)
    shown = torch.zeros(len(items), *space.shape, device=target.device)
    error, mean_error = np.full(len(items), np.nan), np.full(len(items), np.nan)
    before = np.full(len(items), -1, np.int64)
    for i in np.flatnonzero(kind == IMAGE).tolist():
        position = items[i][1]
        image = unit_images(dataset, [position], target.device)
        code = torch.from_numpy(np.asarray(settings.features[[position]], dtype=np.float32)).to(target.device)
        with torch.no_grad():
            made = resized(settings.module(code), space.shape[1:])
        shown[i] = made[0]
        error[i], mean_error[i] = squared(made, image), squared(mean_image(settings, space), image)
        before[i] = taken_for(target, image)["own_class"][0]
    at = np.flatnonzero(kind == CLASS).tolist()
    if at:
        shown[at] = raised(target, [items[i] for i in at], settings, space)
    told = taken_for(target, shown)
    return {
        "kind": kind,
        "unit": np.array([item[1] for item in items], np.int64),
        "start": np.array([item[2] for item in items], np.int64),
        "picture": as_pixels(shown),
        "error": error,
        "mean_error": mean_error,
        "before": before,
        "taken": told["own_class"],
        "share": told["own_probability"],
        "second": told["second_class"],
    }


def raised(target: Target, items: Sequence[Item], settings: Settings, space: Space) -> Tensor:
    """(n,C,H,W) pictures of classes."""
    recipe = code_recipe(settings.module, range_of(target, settings))
    tasks = [Task(recipe, label, seed_of(settings.seed, f"generator:{label}:{start}")) for _, label, start in items]
    return torch.stack([made.image for made in ascend(Units(target.module).lean(space), tasks, space)])


def range_of(target: Target, settings: Settings) -> Range:
    """The range of the codes: that of the features over the data, or the bounds that a generator brings."""
    own = target.generator
    if own is None or own.bounds is None:
        return measured_range(settings.features, target.device)
    low, high = own.bounds
    middle = (low + high) / 2
    return Range(low, high, middle, middle)


def mean_image(settings: Settings, space: Space) -> Tensor:
    """(1,C,H,W)."""
    given = settings.module.average if settings.mean is None else torch.from_numpy(settings.mean).to(space.device)
    assert isinstance(given, Tensor)
    return resized(given[None], space.shape[1:])


def squared(made: Tensor, image: Tensor) -> float:
    """Mean squared difference of images in [0,1]."""
    return float((made - image).square().mean())
