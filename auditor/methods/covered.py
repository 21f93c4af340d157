"""Scores of images with a window covered, for every window of a grid: where it saves work, from what the window changes alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auditor.methods.incremental import Kept, Work, scores_of_windows
from auditor.methods.incremental.order import parts, turns
from auditor.methods.incremental.windows import read
from auditor.methods.inputs import judged, judged_scores, repeated
from auditor.types import Array

Pair = tuple[Tensor, Tensor]
"""Score and probability."""
Place = tuple[int, int, int, int, int]
"""Image, top, bottom, left, right."""


def covered_scores(
    model: nn.Module,
    images: Tensor,
    classes: Tensor,
    cover: Tensor,
    grid: tuple[list[tuple[int, int]], list[tuple[int, int]]],
    base: Pair,
    size: int,
    most: int,
) -> Pair:
    """(N,R,S) score and probability for each of images (N,C,H,W) with each window of the grid covered.

    `grid`: spans of the R rows and S columns of windows; `cover` (N,C,H,W) what is seen instead; `base` what the images have with
    nothing covered, (N,) each. At most `size` whole images go through the model at once, and at most `most` windows of one.
    Whether only what changes is recomputed is decided by the work that this saved: never by the clock.
    """
    rows, columns = (len(spans) for spans in grid)
    found = [value.new_empty(len(images), rows * columns) for value in base]
    incremental, of_weights = True, Kept()
    for n in range(len(images)):
        places = [(n, *row, *column) for row in grid[0] for column in grid[1]]
        left, work = np.ones(len(places), bool), Work(of_weights)

        def enter(pair: Pair, which: Array, n: int = n, left: Array = left) -> None:
            left[which] = False
            for values, some in zip(found, pair, strict=True):
                values[n, torch.from_numpy(which).to(values.device)] = some

        image = images[n : n + 1].contiguous(memory_format=torch.channels_last)
        for which in turns(rows, columns, work, size, most) if incremental else ():
            pair = followed(model, image, classes, cover, [places[i] for i in which], base, work)
            if pair is not None:
                enter(pair, which)
            incremental = pair is not None and work.gain >= LEAST_GAIN
            if not incremental:
                break
        for which in parts(np.flatnonzero(left), size):
            enter(covered_batch(model, images, classes, cover, [places[i] for i in which], base), which)
    score, probability = (values.reshape(len(images), rows, columns) for values in found)
    return score, probability


LEAST_GAIN = 1.3
"""Less than that is lost again in laying and reading windows."""


def followed(model: nn.Module, *given: Any) -> Pair | None:
    """`covered_windows`; None where the model does not bear a tensor of this kind: whole images go through it then."""
    try:
        return covered_windows(model, *given)
    except Exception:  # noqa: BLE001 - whatever a user's own module does with it
        return None


def covered_windows(
    model: nn.Module,
    image: Tensor,
    classes: Tensor,
    cover: Tensor,
    places: list[Place],
    base: Pair,
    work: Work,
) -> Pair:
    """What `covered_batch` gives for windows of one image (1,C,H,W), by recomputing what they can change."""
    n = places[0][0]
    sides = [max(place[2 * axis + 2] - place[2 * axis + 1] for place in places) for axis in range(2)]
    # windows are cut off at the border: there they are shifted in, and show the image where they cover nothing
    starts = [np.array([min(p[2 * a + 1], image.shape[2 + a] - sides[a]) for p in places]) for a in range(2)]
    before = read(image, (starts[0], starts[1]), (sides[0], sides[1]))
    windows = before.clone()
    for i, (_, top, bottom, left, right) in enumerate(places):
        y, x = top - int(starts[0][i]), left - int(starts[1][i])
        windows[i, :, y : y + bottom - top, x : x + right - left] = cover[n, :, top:bottom, left:right]
    same = (windows == before).flatten(1).all(1)
    scores = scores_of_windows(model, work, image, windows, (starts[0], starts[1]))
    own, probability = judged_scores(scores, repeated(classes[n], len(places)))
    return torch.where(same, base[0][n], own), torch.where(same, base[1][n], probability)


def covered_batch(
    model: nn.Module,
    images: Tensor,
    classes: Tensor,
    cover: Tensor,
    places: list[Place],
    base: Pair,
) -> Pair:
    """Score and probability for each place."""
    which = torch.tensor([place[0] for place in places], device=images.device)
    batch = images[which]
    for i, (n, top, bottom, left, right) in enumerate(places):
        batch[i, :, top:bottom, left:right] = cover[n, :, top:bottom, left:right]
    same = (batch == images[which]).flatten(1).all(1)
    found = judged(model, batch, classes[which])
    # An image's score may differ in its last bit with the batch it stands in; an unchanged image must show no drop at all.
    return torch.where(same, base[0][which], found[0]), torch.where(same, base[1][which], found[1])
