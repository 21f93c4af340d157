"""Deletion (Petsiuk, Das & Saenko 2018): if a map is right, hiding what it calls important first makes the class vanish first.

The image is cut into disjoint cells, so that after each step any two orders have hidden the same share of the image.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.inputs import TargetClass, checked, judged, repeated
from auditor.methods.occlusion import Size, boxes, filling
from auditor.ops.batching import images_at_once
from auditor.types import Array


def cell_numbers(shape: tuple[int, int], cell: Size, device: torch.device) -> Tensor:
    """(H,W) int64 number of the cell in which each pixel lies, row by row; the last ones are cut off at the border."""
    rows, columns = boxes(shape, cell, cell)
    down, across = (torch.tensor([end - begin for begin, end in spans], device=device) for spans in (rows, columns))
    row = torch.arange(len(rows), device=device).repeat_interleave(down)
    column = torch.arange(len(columns), device=device).repeat_interleave(across)
    return row[:, None] * len(columns) + column[None, :]


def cell_order(maps: Tensor, cell: Size) -> Tensor:
    """(N,T) cells by the mean of the map (N,H,W) over each, highest first; equal cells by number."""
    numbers = cell_numbers((maps.shape[1], maps.shape[2]), cell, maps.device).flatten()
    count = int(numbers.max()) + 1
    total = torch.zeros(len(maps), count, dtype=maps.dtype, device=maps.device).index_add_(1, numbers, maps.flatten(1))
    return (total / torch.bincount(numbers, minlength=count)).argsort(dim=1, descending=True, stable=True)


def hidden_counts(cells: int, steps: int) -> Array:
    """(steps+1,) how many of `cells` are hidden after each step, from none to all."""
    return np.round(np.linspace(0, cells, steps + 1)).astype(np.int64)


def deletion(
    model: nn.Module,
    inputs: Tensor,
    target: TargetClass,
    order: Tensor,
    *,
    cell: Size,
    steps: int = 20,
    fill: float | Tensor = 0.0,
    batch: int | None = None,
) -> Tensor:
    """(N,steps+1) probability of the class as the cells are filled in `order` (N,T), `hidden_counts` of them at a time.

    `model`, `inputs`, `target`, `fill` as in `occlusion` (for a contrast (a, b) the probability is p_a / (p_a + p_b)); `cell` in
    pixels. At most `batch` images a forward (by their size, where None).
    Raises UsageError for an order that is not of this image's cells.
    """
    images, classes = checked(inputs, target)
    cover = filling(fill, images)
    numbers = cell_numbers((images.shape[2], images.shape[3]), cell, images.device)
    cells = int(numbers.max()) + 1
    if order.shape != (len(images), cells):
        raise UsageError(f"expected an order ({len(images)},{cells}) of all cells of each image, got {tuple(order.shape)}")
    rank = order.to(images.device).argsort(dim=1)
    counts = torch.as_tensor(hidden_counts(cells, steps), device=images.device)
    size = batch or images_at_once(images.shape[1:], images.device)
    curves = []
    with torch.no_grad():
        for n in range(len(images)):
            hidden = rank[n][numbers][None] < counts[:, None, None]
            probabilities = [
                judged(model, torch.where(some[:, None], cover[n], images[n]), repeated(classes[n], len(some)))[1]
                for some in hidden.split(size)
            ]
            curves.append(torch.cat(probabilities))
    return torch.stack(curves)


def area(curves: Array, counts: Array) -> Array:
    """(N,) area under curves (N,steps+1) over the share of cells hidden (`counts`): the mean probability on the way."""
    heights = (curves[:, 1:].astype(np.float64) + curves[:, :-1]) / 2
    return np.asarray(heights @ (np.diff(counts) / counts[-1]))
