"""The styles and the images that they are laid on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from auditor.dataset.decode import opened
from auditor.methods.faststyle import stylish
from auditor.methods.unit import as_unit, unit_images
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.evidence import Evidence
    from auditor.target import Target

AMONG = 64
"""Images that styles are chosen from, at most."""
LONGEST = 1024
"""Longer side of a style's picture, at most."""


@dataclass(frozen=True)
class Given:
    """What a style is taken from, and what is painted."""

    styles: tuple[Array, ...]
    """(h,w,C) uint8 each."""
    names: tuple[str, ...]
    places: tuple[int, ...]
    """Positions of the styles that are images of the data; none where they were given."""
    images: tuple[int, ...]
    """Positions of the images that are painted for the comparison: never trained on."""

    def pictures(self, target: Target) -> tuple[Tensor, ...]:
        """The styles as (C,h,w) in [0,1]."""
        return tuple(as_unit(style[None], target.device)[0] for style in self.styles)

    def others(self, count: int) -> Array:
        """Positions to train on: neither painted nor a style; all where nothing else is left."""
        left = np.setdiff1d(np.arange(count), [*self.places, *self.images])
        return left if len(left) else np.arange(count)


def digest(paths: Sequence[str]) -> str:
    """sha256 over the bytes of files, in their order; "" where one cannot be read, which is told when it is opened."""
    whole = hashlib.sha256()
    try:
        for path in paths:
            whole.update(hashlib.sha256(Path(path).read_bytes()).digest())
    except OSError:
        return ""
    return whole.hexdigest()


def from_files(target: Target, evidence: Evidence, paths: Sequence[str], images: int) -> Given:
    """Pictures of the user. Raises DataError for one that cannot be read."""
    mode = "L" if target.input_shape[0] == 1 else "RGB"
    styles = tuple(pixels_of(Path(path), mode) for path in paths)
    chosen = tuple(int(p) for p in evidence.chosen(images))
    return Given(styles, tuple(Path(path).stem for path in paths), (), chosen)


def pixels_of(path: Path, mode: str) -> Array:
    """(h,w,C) uint8, no side above LONGEST."""
    picture = opened(path, mode, "styles: ")
    if max(picture.size) > LONGEST:
        picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    pixels = np.array(picture, dtype=np.uint8)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def from_data(target: Target, evidence: Evidence, count: int, images: int) -> Given:
    """Images of the data that are alike everywhere, as styles, and the first others that were chosen to be painted."""
    among = [int(p) for p in evidence.chosen(AMONG)]
    with torch.no_grad():
        found = stylish(unit_images(evidence.dataset, among, "cpu"), count)
    places = tuple(among[i] for i in found)
    chosen = [int(p) for p in evidence.chosen(images + len(places)) if int(p) not in places][:images]
    styles = evidence.dataset.pixels(list(places))
    names = tuple(evidence.dataset.samples[p].name for p in places)
    return Given(tuple(styles), names, places, tuple(chosen))
