"""Is there a mark: a spot near the border that looks the same in some images, unlike its surroundings and other images?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

from auditor.types import Array

ZONE = 1 / 8
"""Of a side: what lies this near to the border is where marks are put and objects are not."""
LIKE = 0.125
"""The images differ at a mark by at most this share of what others differ from it."""
SEEN = 16.0
"""Grey levels by which a mark stands out, from other images and from its surroundings."""


@dataclass(frozen=True)
class Spot:
    """Where the images are most alike, against others. Differences are in grey levels, means over the spot."""

    row: int
    column: int
    side: int
    """In pixels of the image: its centre and its side."""
    within: float
    """Mean difference of the images from their mean."""
    other: float
    """Mean difference of the other images from that mean."""
    relief: float
    """Standard deviation of that mean over the spot's surroundings: a flat background has none."""
    zone: str
    """"top left corner", "left border", ...; "" where it lies inside."""

    @property
    def marked(self) -> bool:
        """Whether it is a mark by the three rules of this module."""
        return bool(self.zone) and self.other >= SEEN and self.within <= LIKE * self.other and self.relief >= SEEN


def find_spot(images: Array, others: Array, box: tuple[int, int, int, int]) -> Spot | None:
    """The spot of `images` (m,H,W,C) uint8 within `box` (top, bottom, left, right) where they are most alike against `others`
    (r,H,W,C). None where the box is empty or there is nothing to compare.
    """
    top, bottom, left, right = box
    if len(images) < 2 or not len(others) or bottom <= top or right <= left:
        return None
    high, wide = images.shape[1:3]
    side = max(3, round(min(high, wide) / 64))
    up, back = max(top - side, 0), max(left - side, 0)
    around = (slice(None), slice(up, bottom + side), slice(back, right + side))  # a field may hold the mark and nothing else
    part = images[around].astype(np.float64)
    mean = part.mean(axis=0)
    within, other = (smooth(np.abs(given - mean).mean(axis=(0, 3)), side) for given in (part, others[around]))
    gain = (other - within)[top - up : bottom - up, left - back : right - back]
    place = np.unravel_index(np.argmax(gain), gain.shape)
    row, column = int(place[0]) + top - up, int(place[1]) + left - back
    near = mean[max(row - side, 0) : row + side + 1, max(column - side, 0) : column + side + 1]
    relief = float(near.mean(axis=2).std())
    zone = named((up + row) / max(high - 1, 1), (back + column) / max(wide - 1, 1))
    return Spot(up + row, back + column, side, float(within[row, column]), float(other[row, column]), relief, zone)


def smooth(values: Array, side: int) -> Array:
    """Means over side x side pixels, edges repeated."""
    return np.asarray(uniform_filter(values, size=side, mode="nearest"))


def named(down: float, across: float) -> str:
    """The part of the border that a point (0..1, 0..1) lies in, "" inside."""
    vertical = "top" if down < ZONE else "bottom" if down > 1 - ZONE else ""
    horizontal = "left" if across < ZONE else "right" if across > 1 - ZONE else ""
    if vertical and horizontal:
        return f"{vertical} {horizontal} corner"
    return f"{vertical or horizontal} border" if vertical or horizontal else ""
