"""Cut-outs of images as tiles of one size, in their true place and on one scale, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from auditor.ops.colour import three
from auditor.types import Array

Box = tuple[int, int, int, int]
"""(top, bottom, left, right), half-open."""
GREY = 200
"""What lies outside an image."""
PAPER = 255
"""Between the tiles."""
DARK, BRIGHT = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True)
class Patch:
    """A cut-out, and where it lies in the frame of its field."""

    pixels: Array
    """uint8 (h,w,C); may be empty."""
    offset: tuple[int, int]
    """(down, across) of its corner in the frame."""
    cell: Box | None = None
    """In pixels of the frame: a part to be outlined."""


def crop(image: Array, box: Box) -> Array:
    """The pixels of (H,W,C) in a box."""
    return image[box[0] : box[1], box[2] : box[3]]


@dataclass(frozen=True)
class Fit:
    """How a frame (h,w) is laid into a square of `tile` pixels."""

    frame: tuple[int, int]
    tile: int

    @property
    def scale(self) -> float:
        """Pixels of the tile to one of the frame: by its longer side."""
        return self.tile / max(self.frame)

    @property
    def rule(self) -> Image.Resampling:
        """From 3 times on pixels stay visible; below it is smoothed, and averaged when reduced."""
        steps = Image.Resampling
        return steps.NEAREST if self.scale >= 3 else steps.BICUBIC if self.scale > 1 else steps.BOX

    @property
    def size(self) -> tuple[int, int]:
        """(h,w) of the frame in the tile, in its middle."""
        high, wide = (max(1, round(side * self.scale)) for side in self.frame)
        return high, wide

    @property
    def middle(self) -> tuple[slice, slice]:
        """Where it lies in the tile."""
        high, wide = self.size
        top, left = (self.tile - high) // 2, (self.tile - wide) // 2
        return slice(top, top + high), slice(left, left + wide)

    def resized(self, whole: Array, rule: Image.Resampling | None = None) -> Array:
        """A picture or one channel of the frame's size as it stands in the tile."""
        high, wide = self.size
        return np.array(Image.fromarray(whole).resize((wide, high), self.rule if rule is None else rule))


def tiled(patch: Patch, frame: tuple[int, int], tile: int) -> Array:
    """uint8 (tile,tile,3): the frame (h,w) with the patch in its place, grey around it."""
    fit, whole = Fit(frame, tile), np.full((*frame, 3), GREY, np.uint8)
    down, across = patch.offset
    if patch.pixels.size:
        whole[down : down + patch.pixels.shape[0], across : across + patch.pixels.shape[1]] = three(patch.pixels)
    whole = fit.resized(whole)
    if patch.cell is not None:
        outline(whole, [round(edge * fit.scale) for edge in patch.cell])
    out = np.full((tile, tile, 3), GREY, np.uint8)
    out[fit.middle] = whole
    return out


def tiled_values(values: Array, offset: tuple[int, int], frame: tuple[int, int], tile: int) -> Array:
    """float32 (tile,tile,C): numbers (h,w,C) in their place in the frame, on the scale and by the rule of `tiled`; NaN around."""
    fit, channels = Fit(frame, tile), values.shape[2]
    whole, inside = np.zeros((*frame, channels), np.float32), np.zeros(frame, np.uint8)
    place = slice(offset[0], offset[0] + values.shape[0]), slice(offset[1], offset[1] + values.shape[1])
    whole[place], inside[place] = values, 1
    shown = np.stack([fit.resized(np.ascontiguousarray(whole[..., c])) for c in range(channels)], axis=-1)
    out = np.full((tile, tile, channels), np.nan, np.float32)
    out[fit.middle] = np.where(fit.resized(inside, Image.Resampling.NEAREST)[..., None] > 0, shown, np.nan)
    return out


def outline(picture: Array, cell: Sequence[int]) -> None:
    """Draw a white square with a black rim into (H,W,3), at least 5 px wide and within the picture."""
    high, wide = picture.shape[:2]
    top, bottom = fitted(cell[0], cell[1], high)
    left, right = fitted(cell[2], cell[3], wide)
    for inset, colour in ((0, DARK), (1, BRIGHT), (2, DARK)):
        t, b, l, r = top + inset, bottom - 1 - inset, left + inset, right - 1 - inset  # noqa: E741
        if b <= t or r <= l:
            return
        picture[[t, b], l : r + 1] = colour
        picture[t : b + 1, [l, r]] = colour


def fitted(low: int, high: int, side: int) -> tuple[int, int]:
    """The stretch, widened to 5 where it is shorter, moved within 0..side."""
    middle, width = (low + high) / 2, min(max(high - low, 5), side)
    begin = min(max(round(middle - width / 2), 0), side - width)
    return begin, begin + width


def strip(tiles: Sequence[Array], gap: int = 4) -> Array:
    """uint8 (tile,W,3): tiles (tile,tile,3) in a row."""
    between = np.full((tiles[0].shape[0], gap, 3), PAPER, np.uint8)
    return np.concatenate([part for picture in tiles for part in (picture, between)][:-1], axis=1)
