"""The maps of the chosen images, and the figures of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.fold import Item
from auditor.methods.attribute import pixelwise
from auditor.methods.grabcut import bounding_box, box_iou, grabcut, mask_iou
from auditor.methods.gradcam import gradcam, last_maps
from auditor.methods.inputs import TargetClass, checked, wanted_of
from auditor.methods.integrated_gradients import completeness, integrated_gradients
from auditor.methods.randomisation import randomise, spearman, top_count, weighted_layers
from auditor.methods.saliency import gradient, saliency
from auditor.methods.smoothgrad import smoothgrad
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.target import Target


@dataclass(frozen=True)
class Settings:
    """How the maps are made."""

    steps: int
    samples: int
    sigma: float
    fraction: float
    seed: int


def explain(target: Target, dataset: Dataset, items: Sequence[Item], *, settings: Settings) -> dict[str, Array]:
    """Rows for items (position, class, other class or -1, predicted class, its rival or -1): nine maps (H,W), the cut-out, and
    the figures of each image.
    """
    model = target.module
    rows: dict[str, list[Array]] = {}
    layers = weighted_layers(model, dataset.load(np.array([items[0][0]]), target.device))
    control = randomise(model, fraction=settings.fraction, layers=layers, seed=settings.seed)
    for item in items:
        image, wanted = dataset.load(np.array([item[0]]), target.device), wanted_of(*item[1:3])
        complete = integrated_gradients(model, image, wanted, steps=settings.steps)
        maps = attributions(model, image, wanted, complete, settings) | two_classes(model, image, *item[3:])
        maps["control"] = saliency(control, image, wanted)
        row = {name: found[0].float().cpu().numpy() for name, found in maps.items()}
        row["cut"] = grabcut(dataset.pixels([item[0]])[0], row["saliency"])
        row["object_iou"] = np.array(overlap(dataset, item[0], row["cut"]))
        row["randomisation_spearman"] = spearman(maps["saliency"], maps["control"])[0]
        row["completeness_gap"] = completeness(model, image, wanted, complete).double().cpu().numpy()[0]
        row["layers"] = np.array([top_count(len(layers), settings.fraction), len(layers)], dtype=np.int64)
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    return {name: np.stack(values) for name, values in rows.items()}


def attributions(model: nn.Module, image: Tensor, wanted: TargetClass, complete: Tensor, settings: Settings) -> dict[str, Tensor]:
    """Method -> (1,H,W) map; of Grad-CAM NaN where the model has no layer for it."""
    slope = gradient(model, image, wanted)
    found = {
        "saliency": slope,
        "gradient_x_input": image * slope,
        "integrated_gradients": complete,
        "smoothgrad": smoothgrad(model, image, wanted, samples=settings.samples, sigma=settings.sigma, seed=settings.seed),
    }
    try:
        layer = last_maps(model, *checked(image, wanted))
        found["gradcam"] = gradcam(model, image, wanted, layer=layer)
    except UsageError:  # no maps and no tokens, or none that the score depends on
        found["gradcam"] = torch.full_like(image[:, 0], torch.nan)
    return {name: pixelwise(name, value) for name, value in found.items()}


def two_classes(model: nn.Module, image: Tensor, predicted: int, rival: int) -> dict[str, Tensor]:
    """Saliency (1,H,W) of the predicted class and of its rival, and what speaks for the one against the other: gradient x input
    of the difference of their scores. Of the rival NaN where there is none.
    """
    slope = gradient(model, image, predicted)
    other = gradient(model, image, rival) if rival >= 0 else torch.full_like(slope, torch.nan)
    found = {"predicted": slope.abs().amax(1), "rival": other.abs().amax(1)}
    return found | {"contrast": pixelwise("gradient_x_input", image * (slope - other))}  # a gradient is linear in the score


def overlap(dataset: Dataset, position: int, cut: Array) -> float:
    """How well the cut-out meets the object: IoU with its mask, else of both bounding boxes; NaN where the data do not say."""
    mask = dataset.mask(position)
    if mask is not None:
        return mask_iou(cut, mask)
    box = dataset.samples[position].box
    return float("nan") if box is None else box_iou(bounding_box(cut), box)
