"""The work on one item: a picture by optimisation and by the net, a blend, a setting, or the classes under style."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from auditor.fold import Item, State
from auditor.methods.faststyle import Setting, one_hot
from auditor.methods.style import aim_of, layer_terms, loss_of, transfer
from auditor.methods.unit import as_pixels, unit_images
from auditor.ops.resize import resized
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.target import Target

PAIR, BLENDED, VARIANTS, STYLISED = range(4)
"""Kinds of items: (PAIR, position, style), (BLENDED, position, step), (VARIANTS, position, number), (STYLISED, position, 0)."""
STEPS = 5
"""Pictures from one style to another, both ends included."""
NOISE = 0
"""Seed of the white noise."""
REPEATS = 5
"""Pictures of the net that are timed."""


@dataclass(frozen=True)
class Variant:
    """A setting that is shown beside the one asked for."""

    label: str
    style: float = 1.0
    """Times the weight of the style."""
    variation: float = 1.0
    """Times the weight of the total variation."""
    scale: float = 1.0
    """Times the scale of the style."""
    both: bool = False
    """Two styles, half and half."""
    own_colours: bool = False


@dataclass(frozen=True)
class Task:
    """What all items share."""

    setting: Setting
    styles: tuple[Tensor, ...]
    net: nn.Module
    evaluations: int

    @staticmethod
    def variants(styles: int) -> tuple[Variant, ...]:
        """The settings that are shown, of so many styles."""
        found = (
            Variant("style weight x 0.1", style=0.1),
            Variant("style weight x 10", style=10.0),
            Variant("style at half its size", scale=0.5),
            Variant("total variation x 10", variation=10.0),
            Variant("colours of the image", own_colours=True),
        )
        return (*found, Variant("two styles, half and half", both=True)) if styles > 1 else found

    def painted(self, images: Tensor, blend: Tensor) -> Tensor:
        """By the net."""
        with torch.no_grad():
            found: Tensor = self.net(images, blend)
        return found


def work(target: Target, dataset: Dataset, items: Sequence[Item], *, task: Task) -> State:
    """Rows of items; what a kind does not give is NaN, -1 or black."""
    made = [row_of(target, dataset, item, task) for item in items]
    return {name: np.stack([row[name] for row in made]) for name in made[0]}


def row_of(target: Target, dataset: Dataset, item: Item, task: Task) -> dict[str, Array]:
    """One item."""
    kind, position, which = item
    size, channels = task.setting.size, target.input_shape[0]
    row: dict[str, Any] = {
        "kind": kind, "position": position, "which": which,
        "picture": np.zeros((*size, channels), np.uint8), "fast": np.zeros((*size, channels), np.uint8),
        "losses": np.full(task.evaluations, np.nan), "noise": np.full(task.evaluations, np.nan), "loss": np.nan,
        "terms": np.full((2, 1 + len(task.setting.layers.style)), np.nan),
        "told": np.full(len(task.styles), -1), "seconds": np.full(2, np.nan),
    }  # fmt: skip
    whole = unit_images(dataset, [position], target.device)
    if kind == STYLISED:
        row["told"] = classes(target, whole, task)
    else:
        row |= {PAIR: pair, BLENDED: blended_by_net, VARIANTS: variant}[kind](target, resized(whole, size), which, task)
    return {name: np.asarray(value) for name, value in row.items()}


def pair(target: Target, image: Tensor, style: int, task: Task) -> Mapping[str, Any]:
    """One image in one style, by optimisation and by the net, with the loss and the terms of both; and by optimisation from white
    noise (Johnson et al. 2016), until it is as low as the net.
    """
    setting, phi = task.setting, task.setting.phi(target)
    blend = one_hot(len(task.styles), [style], image)
    begin = time.perf_counter()
    optimised = partial(
        transfer, phi, image[0], [task.styles[style]], layers=setting.layers, weights=setting.weights,
        style_scale=setting.style_scale, evaluations=task.evaluations,
    )  # fmt: skip
    made = optimised()
    wait(target)
    slow = time.perf_counter() - begin
    fast = task.painted(image, blend)
    wait(target)
    begin = time.perf_counter()
    for _ in range(REPEATS):
        task.painted(image, blend)
    wait(target)
    quick = (time.perf_counter() - begin) / REPEATS
    aim = aim_of(phi, setting.layers, image[0], setting.grams(phi, [task.styles[style]]))
    with torch.no_grad():
        loss = float(loss_of(phi, setting.layers, aim, setting.weights)(fast))
        terms = [layer_terms(phi, setting.layers, aim, x)[:, 0].double().cpu().numpy() for x in (made.picture[None], fast)]
    white = torch.rand(image.shape[1:], generator=torch.Generator().manual_seed(NOISE)).to(image)
    losses = np.full((2, task.evaluations), np.nan)
    for row, found in zip(losses, (made.losses, optimised(start=white, enough=loss).losses), strict=True):
        row[: len(found)] = found
    return {
        "picture": as_pixels(made.picture[None])[0], "fast": as_pixels(fast)[0], "losses": losses[0], "noise": losses[1],
        "loss": loss,
        "terms": np.stack(terms), "seconds": np.array([slow / len(made.losses), quick]),
    }  # fmt: skip


def blended_by_net(target: Target, image: Tensor, step: int, task: Task) -> Mapping[str, Any]:
    """A picture on the way from the first style to the last."""
    share = step / (STEPS - 1)
    ends = [one_hot(len(task.styles), [i], image) for i in (0, len(task.styles) - 1)]
    return {"fast": as_pixels(task.painted(image, (1 - share) * ends[0] + share * ends[1]))[0]}


def variant(target: Target, image: Tensor, number: int, task: Task) -> Mapping[str, Any]:
    """One image under another setting, by optimisation."""
    setting, asked = task.setting, task.variants(len(task.styles))[number]
    weights = replace(
        setting.weights, style=setting.weights.style * asked.style, variation=setting.weights.variation * asked.variation
    )
    made = transfer(
        setting.phi(target), image[0], task.styles[: 2 if asked.both else 1], layers=setting.layers, weights=weights,
        style_scale=setting.style_scale * asked.scale, evaluations=task.evaluations, own_colours=asked.own_colours,
    )  # fmt: skip
    return {"picture": as_pixels(made.picture[None])[0]}


def classes(target: Target, images: Tensor, task: Task) -> Array:
    """(S,) the class of one image (1,C,H,W) in each style, painted by the net at the model's own size."""
    count = len(task.styles)
    painted = task.painted(images.expand(count, -1, -1, -1), one_hot(count, range(count), images))
    scores = target.look(target.preprocess.normalise(painted)).scores
    return np.full(count, -1) if scores is None else scores.argmax(1).cpu().numpy()


def wait(target: Target) -> None:
    """Until the device has done what it was told."""
    if target.device.type == "cuda":
        torch.cuda.synchronize(target.device)
