"""Scores of one image with windows laid into it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from auditor.methods.incremental import local, pointwise  # noqa: F401 - their rules enter themselves
from auditor.methods.incremental.patch import Held, Patch, UnsupportedError
from auditor.methods.incremental.windows import Side
from auditor.methods.incremental.work import Work


def scores_of_windows(model: nn.Module, work: Work, image: Tensor, windows: Tensor, places: tuple[Any, Any]) -> Tensor:
    """(n,K) what `model` gives for `image` (1,C,H,W) with `windows` (n,C,h,w) laid in at `places` (rows (n,), columns (n,)).

    `work` belongs to this image: it keeps the image's own maps from one batch of windows to the next, so it must be the
    same tensor. Raises UnsupportedError where the forward cannot be followed, or computes its weights anew each time: what is
    kept would grow with every batch.
    """
    if work.known and len(work.kept) > GROWTH * work.known:
        raise UnsupportedError("the forward's weights are other tensors each time")
    rows, columns = (Side(starts, windows.shape[2 + i], image.shape[2 + i]) for i, starts in enumerate(places))
    work.changed = (0.0, 0.0)
    with torch.no_grad():
        found = model(Patch.of(work, Held(windows.contiguous(memory_format=torch.channels_last), image, rows, columns)))
    work.known = work.known or len(work.kept)
    if isinstance(found, Patch) or not isinstance(found, Tensor):
        raise UnsupportedError(f"the model gave {type(found).__name__}")
    return found


GROWTH = 3
"""Times as much may be kept as after the first batch: others can be followed deeper into the network before whole maps go on."""
