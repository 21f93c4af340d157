"""The model's decisions on cue-conflict pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from auditor.dataset.decode import Depth16, Limits, Refused, decode
from auditor.dataset.memory import Decoder
from auditor.errors import DataError
from auditor.fold import Item, State
from auditor.methods.shape_bias import Cues, category_scores
from auditor.ops.thumbnail import thumbnail
from auditor.types import Array

if TYPE_CHECKING:
    from PIL import Image

    from auditor.dataset import Dataset
    from auditor.target import Target

SIDE = 160
"""Pixels of a picture as it is shown."""


def opened(path: Path, decoder: Decoder) -> Image.Image:
    """A picture in the model's colour mode. Raises DataError where it cannot be read."""
    try:
        return decode(path.read_bytes(), mode=decoder.mode, limits=decoder.limits, depth16=decoder.depth16)[0]
    except (Refused, OSError) as error:
        raise DataError(f"cues: {path.parent.name}/{path.name} cannot be read: {error}; replace or remove it") from error


def work(target: Target, dataset: Dataset, items: Sequence[Item], *, cues: Cues, groups: Sequence[Array]) -> State:
    """Rows of items (index of a picture): the category that the model chooses, its score, and the picture, small and square."""
    decoder = Decoder(target.preprocess, Limits(), Depth16())
    pictures = [opened(cues.items[i].path, decoder) for (i,) in items]
    rows = torch.from_numpy(np.stack([decoder.row(picture) for picture in pictures])).to(target.device)
    if rows.dtype == torch.uint8:
        rows = target.preprocess.normalise(rows.permute(0, 3, 1, 2).contiguous())
    scores = target.look(rows).scores
    assert scores is not None
    found = category_scores(torch.softmax(scores.double(), 1).cpu().numpy(), groups)
    return {
        "item": np.array([i for (i,) in items], dtype=np.int64),
        "category": found.argmax(axis=1),
        "score": found.max(axis=1),
        "picture": np.stack([squared(np.asarray(picture)) for picture in pictures]),
    }


def squared(picture: Array) -> Array:
    """(SIDE,SIDE,3) of a picture: its longer side at most SIDE, small ones a whole number of times as large, on a grey ground."""
    small = thumbnail(picture, SIDE)
    times = SIDE // max(small.shape[:2])
    small = small.repeat(times, axis=0).repeat(times, axis=1)
    out = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    top, left = (SIDE - small.shape[0]) // 2, (SIDE - small.shape[1]) // 2
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out
