"""Maps as pictures: numbers to colours, the same numbers to the same colours wherever the limits are the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from auditor.types import Array

_MAGMA = (
    (0, 0, 4),
    (28, 16, 68),
    (79, 18, 123),
    (129, 37, 129),
    (181, 54, 122),
    (229, 80, 100),
    (251, 135, 97),
    (254, 194, 135),
    (252, 253, 191),
)
_DIVERGING = (
    (5, 48, 97),
    (33, 102, 172),
    (67, 147, 195),
    (146, 197, 222),
    (247, 247, 247),
    (244, 165, 130),
    (214, 96, 77),
    (178, 24, 43),
    (103, 0, 31),
)


def _coloured(share: Array, anchors: tuple[tuple[int, int, int], ...]) -> Array:
    # 256 steps, which a picture with a palette can hold; the middle of a diverging scale stays the middle
    places = np.round(np.clip(np.nan_to_num(share, nan=0.0), 0, 1) * 254) / 254 * (len(anchors) - 1)
    table = np.array(anchors, dtype=np.float64)
    channels = [np.interp(places, np.arange(len(anchors)), table[:, c]) for c in range(3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)


def sequential(values: Array, high: float, *, low: float = 0.0) -> Array:
    """uint8 (...,3) magma: `low` and below is black, `high` and above pale yellow. An empty range is black."""
    width = high - low
    return _coloured((np.asarray(values, dtype=np.float64) - low) / width if width > 0 else np.zeros(np.shape(values)), _MAGMA)


def diverging(values: Array, limit: float) -> Array:
    """uint8 (...,3): red above 0, blue below, white at 0; full colour at `limit` either way. A limit of 0 is all white."""
    scaled = np.asarray(values, dtype=np.float64) / limit if limit > 0 else np.zeros(np.shape(values))
    return _coloured((scaled + 1) / 2, _DIVERGING)


def signed(values: Array, limit: float) -> Array:
    """uint8 (H,W,3) of signed maps (C,H,W), C 1 or 3: mid-grey at 0, channel by channel, full at `limit` either way."""
    scaled = np.asarray(values, dtype=np.float64) / limit if limit > 0 else np.zeros(np.shape(values))
    pixels = np.asarray(np.round(127.5 + 127.5 * np.clip(scaled, -1, 1)), dtype=np.uint8).transpose(1, 2, 0)
    return three(pixels)


def overlay(picture: Array, colours: Array, *, weight: float = 0.55) -> Array:
    """uint8 (H,W,3): `colours` over the grey of a uint8 `picture` (H,W,3)."""
    grey = picture.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return np.asarray(np.round((1 - weight) * grey[..., None] + weight * colours), dtype=np.uint8)


PIXELATED = 64
"""Pictures of at most this side are shown with visible pixels."""


def is_small(shape: Sequence[int]) -> bool:
    """Whether pictures of `shape` (..., H, W) are shown with visible pixels."""
    return max(shape[-2:]) <= PIXELATED


def rows_shown(shape: Sequence[int]) -> int:
    """Rows of a gallery of pictures of `shape` (..., H, W): 16 small ones, 8 of those that fill the page."""
    return 16 if is_small(shape) else 8


def three(picture: Array) -> Array:
    """(H,W,3) of a picture (H,W), (H,W,1) or (H,W,3)."""
    whole = picture[..., None] if picture.ndim == 2 else picture
    return np.repeat(whole, 3, axis=2) if whole.shape[2] == 1 else whole


def thinned(picture: Array, most: int = 256) -> Array:
    """Every k-th pixel of (H,W,...), the smallest k for which no side is above `most`: for showing only."""
    step = -(-max(picture.shape[:2]) // most)
    return np.ascontiguousarray(picture[::step, ::step])


def reduced(picture: Array) -> Array:
    """uint8 (H,W,3) in 256 colours, chosen by median cut and dithered: as a PNG a photograph takes about 40 % of the bytes."""
    whole = Image.fromarray(three(picture))
    palette = whole.quantize(256, method=Image.Quantize.MEDIANCUT)
    return np.asarray(whole.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB"))
