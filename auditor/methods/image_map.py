"""Thumbnails at their true places in one large picture (Karpathy's cnnembed)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from auditor.types import Array

SIDE = 2000
GROUND = 238
"""Grey of the empty ground."""
SIZES = (112, 96, 80, 64, 56, 48, 40, 32)
"""Pixels of a thumbnail that are tried, largest first."""
OVERLAP = 0.5
"""A thumbnail of which more would cover others is left out."""
ENOUGH = 0.4
"""Share of the images that should be seen."""


def corners(layout: Array, tile: int, side: int = SIDE) -> Array:
    """(N,2) int64 (row, column) of the upper left pixel of tiles centred at `layout` (N,2): one scale for both axes, y up."""
    low, high = layout.min(axis=0), layout.max(axis=0)
    extent = float((high - low).max()) or 1.0
    place = (layout - (low + high) / 2) / extent * (side - tile) + side / 2
    return np.stack([np.rint(side - place[:, 1] - tile / 2), np.rint(place[:, 0] - tile / 2)], axis=1).astype(np.int64)


def fitted(picture: Array, tile: int) -> Array:
    """A picture (h,w,3) no larger than `tile`, enlarged by a whole number while it fits."""
    times = max(1, tile // max(picture.shape[:2]))
    return picture.repeat(times, axis=0).repeat(times, axis=1)


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
    """The largest tile with which four in ten images are seen, else the smallest; and which are."""
    for tile in SIZES:
        if len(layout) * tile * tile * ENOUGH * (1 - OVERLAP) <= side * side:  # else there is no room, whatever the places
            shown = placed(layout, order, tile, side)
            if len(shown) >= ENOUGH * len(layout):
                return tile, shown
    return SIZES[-1], placed(layout, order, SIZES[-1], side)


def image_map(layout: Array, picture: Callable[[int, int], Array], order: Array, *, side: int = SIDE) -> tuple[Array, int, Array]:
    """A picture (side,side,3) uint8 of thumbnails at their places, the size of one, and the indices of the images in it.

    `picture(i, tile)` is the thumbnail (h,w,3) of the i-th point of `layout` (N,2), no larger than `tile`. Points are taken in
    `order` (N,); one that would cover others with more than half of its area is left out, none is moved.
    """
    tile, shown = arranged(layout, order, side)
    canvas = np.full((side, side, 3), GROUND, dtype=np.uint8)
    for i, (y, x) in zip(shown.tolist(), corners(layout, tile, side)[shown].tolist(), strict=True):
        small = fitted(picture(i, tile), tile)
        high, wide = small.shape[:2]
        top, left = y + (tile - high) // 2, x + (tile - wide) // 2
        canvas[top : top + high, left : left + wide] = small
    return canvas, tile, shown
