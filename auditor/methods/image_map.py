"""Thumbnails at their true places in one large picture (Karpathy's cnnembed). N points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from auditor.types import Array

SIDE = 2000
"""Pixels of the picture for which the thumbnails' size is chosen; in a larger one all is larger."""
GROUND = 100
"""Grey of the empty ground: neither glares on a dark page nor hides white or black images."""
SIZES = (112, 96, 80, 64, 56, 48, 40, 32)
"""Pixels of a thumbnail that are tried, largest first."""
OVERLAP = 0.5
"""A thumbnail of which more would cover others is left out."""
ENOUGH = 0.4
"""Share of the images that should be seen."""


def places(layout: Array) -> Array:
    """(N,2) float64 (down, across) in the unit square of points `layout` (N,2): one scale for both axes, centred, y up."""
    points = np.asarray(layout, dtype=np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    share = (points - (low + high) / 2) / (float((high - low).max()) or 1.0)
    return np.stack([0.5 - share[:, 1], 0.5 + share[:, 0]], axis=1)


def corners(layout: Array, tile: int, side: int = SIDE) -> Array:
    """(N,2) int64 (row, column) of the upper left pixels of tiles at their places, the outermost just within the picture."""
    return np.asarray(np.rint(places(layout) * (side - tile)), dtype=np.int64)


def enlarged(picture: Array, tile: int) -> Array:
    """A picture (h,w,3), no larger than `tile`, enlarged until its longer side fits: from 3 times on with visible pixels."""
    scale = tile / max(picture.shape[:2])
    if scale <= 1:
        return picture
    rule = Image.Resampling.NEAREST if scale >= 3 else Image.Resampling.BICUBIC
    high, wide = (max(1, round(side * scale)) for side in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((wide, high), rule))


def filled(picture: Array, tile: int) -> Array:
    """uint8 (tile,tile,3): a picture (h,w,3), no larger, enlarged and in the middle of the ground's grey."""
    large = enlarged(picture, tile)
    out = np.full((tile, tile, 3), GROUND, dtype=np.uint8)
    top, left = ((tile - side) // 2 for side in large.shape[:2])
    out[top : top + large.shape[0], left : left + large.shape[1]] = large
    return out


def placed(layout: Array, order: Array, tile: int, side: int = SIDE) -> Array:
    """The indices (m,), in `order`, of the tiles that cover others with at most half of their area. None is moved."""
    taken = np.zeros((side, side), dtype=bool)
    shown = []
    for i, (y, x) in zip(order.tolist(), corners(layout, tile, side)[order].tolist(), strict=True):
        area = taken[y : y + tile, x : x + tile]
        if np.count_nonzero(area) <= OVERLAP * tile * tile:
            area[:] = True
            shown.append(i)
    return np.array(shown, dtype=np.int64)


def arranged(layout: Array, order: Array, side: int = SIDE) -> tuple[int, Array]:
    """The largest tile with which four in ten images are seen, else the smallest; and which are, in `order` (N,)."""
    for tile in SIZES:
        if len(layout) * tile * tile * ENOUGH * (1 - OVERLAP) <= side * side:  # else there is no room, whatever the places
            shown = placed(layout, order, tile, side)
            if len(shown) >= ENOUGH * len(layout):
                return tile, shown
    return SIZES[-1], placed(layout, order, SIZES[-1], side)


def image_map(layout: Array, shown: Array, picture: Callable[[int, int], Array], *, tile: int, side: int) -> Array:
    """uint8 (side,side,3): the images `shown` (m,) of `layout` (N,2) at their places, later ones on top of earlier ones.

    `picture(i, tile)` is the thumbnail (h,w,3) of the i-th point, no larger than `tile`.
    """
    canvas = np.full((side, side, 3), GROUND, dtype=np.uint8)
    for i, (y, x) in zip(shown.tolist(), corners(layout, tile, side)[shown].tolist(), strict=True):
        small = enlarged(picture(i, tile), tile)
        high, wide = small.shape[:2]
        top, left = y + (tile - high) // 2, x + (tile - wide) // 2
        canvas[top : top + high, left : left + wide] = small
    return canvas
