"""The rows of the study: which images fall at each epsilon, and what targeted ascent brings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from auditor.fold import Item, State, concatenate
from auditor.methods.attack import fooling
from auditor.methods.robustness import sweep
from auditor.methods.unit import as_pixels, unit_images
from auditor.ops.batching import images_at_once

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.target import Target

GROUP, CHUNK = 4, 4
"""Images an item of the robustness study holds, and items a chunk."""

ROBUST, FOOL = 0, 1
"""The two kinds of item: (ROBUST, position...) and (FOOL, position, target class)."""

SWEPT = ("fgsm", "pgd", "fgsm_8bit", "pgd_8bit")


def work(
    target: Target, dataset: Dataset, items: Sequence[Item], *, epsilons: tuple[float, ...], steps: int, max_iterations: int
) -> State:
    """Rows of both kinds of item; the columns of the other kind hold -1 or 0."""
    rows, groups = len(items), [item[1:] if item[0] == ROBUST else () for item in items]
    flat = [position for group in groups for position in group]
    place = np.array([(i, j) for i, group in enumerate(groups) for j in range(len(group))], dtype=np.int64).reshape(-1, 2)
    shape = (rows, GROUP, len(epsilons))
    out: State = {
        "kind": np.array([item[0] for item in items]),
        "position": np.full((rows, GROUP), -1, dtype=np.int64),
        "silent": np.zeros((rows, GROUP), dtype=bool),
        **{name: np.zeros(shape, dtype=bool) for name in SWEPT},
    }
    if flat:
        at = (place[:, 0], place[:, 1])
        out["position"][at] = flat
        for name, column in attacked(target, dataset, flat, epsilons, steps).items():
            out[name][at] = column
    return {**out, **fooling_rows(target, dataset, items, max_iterations)}


def attacked(target: Target, dataset: Dataset, positions: list[int], epsilons: tuple[float, ...], steps: int) -> State:
    """The sweep of n images as arrays, by the names of `Fallen`."""
    size = images_at_once(target.input_shape, target.device, gradient=True)
    parts: list[State] = []
    for begin in range(0, len(positions), size):
        some = positions[begin : begin + size]
        images = unit_images(dataset, some, target.device)
        labels = torch.as_tensor(np.asarray(dataset.labels)[some], device=target.device)
        fallen = sweep(target.module, images, labels, epsilons, normalise=target.preprocess.normalise, steps=steps)
        parts.append({name: getattr(fallen, name).cpu().numpy() for name in ("silent", *SWEPT)})
    return concatenate(parts)


def fooling_rows(target: Target, dataset: Dataset, items: Sequence[Item], max_iterations: int) -> State:
    """What targeted ascent brought for the items of kind FOOL."""
    rows = len(items)
    out: State = {
        "source": np.full(rows, -1, dtype=np.int64),
        "class": np.full(rows, -1, dtype=np.int64),
        "fooled": np.zeros(rows, dtype=bool),
        "iterations": np.zeros(rows, dtype=np.int64),
        "confidence": np.zeros(rows, dtype=np.float32),
        "picture": np.zeros((rows, *dataset.pixels([0]).shape[1:]), dtype=np.uint8),
    }
    at = [i for i, item in enumerate(items) if item[0] == FOOL]
    if at:
        out["source"][at], out["class"][at] = [items[i][1] for i in at], [items[i][2] for i in at]
        images = unit_images(dataset, out["source"][at], target.device)
        classes = torch.as_tensor(out["class"][at], device=target.device)
        result = fooling(target.module, images, classes, normalise=target.preprocess.normalise, max_iterations=max_iterations)
        out["fooled"][at] = result.fooled.cpu().numpy()
        out["iterations"][at] = result.steps.cpu().numpy()
        out["confidence"][at] = result.scores.float().softmax(1).gather(1, classes[:, None])[:, 0].cpu().numpy()
        out["picture"][at] = as_pixels(result.images)
    return out
