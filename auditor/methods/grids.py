"""Images in the cells of a grid over a flat map: every cell its nearest image (Karpathy's cnnembed), or every image once.

N images at places (N,2) in the unit square (`image_map.places`); G x G cells over it, row 0 at the top.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from auditor.methods.image_map import GROUND, filled
from auditor.ops.colour import sequential
from auditor.ops.neighbours import knn
from auditor.types import Array

SEAM = 0.08
"""Width of a seam as a share of a cell, at least two pixels."""


def centres(side: int) -> Array:
    """(G*G,2) float64 centres of the cells, row-major."""
    at = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1).reshape(-1, 2)


def nearest_images(places: Array, side: int) -> Array:
    """(G,G) int64: the image whose place is nearest to each cell's centre, the lower index of two; one can fill many cells.

    Memory: G x N numbers.
    """
    at = (np.arange(side) + 0.5) / side
    across = (places[None, :, 1] - at[:, None]) ** 2
    return np.stack([np.argmin(across + (places[None, :, 0] - down) ** 2, axis=1) for down in at])


def one_to_one(places: Array) -> Array:
    """(G,G) int64 of N = G*G images, each in one cell: the least sum of squared moves from their places (linear assignment).

    Raises ValueError where N is no square.
    """
    side = round(len(places) ** 0.5)
    if side * side != len(places) or side < 1:
        raise ValueError(f"expected as many images as a square grid has cells, got {len(places)}")
    _, image = linear_sum_assignment(cdist(centres(side), places, "sqeuclidean"))
    return np.asarray(image, dtype=np.int64).reshape(side, side)


def moves(cells: Array, places: Array) -> Array:
    """(G,G) distance from each cell's centre to its image's place, in cells."""
    side = len(cells)
    return np.asarray(np.linalg.norm(places[cells.ravel()] - centres(side), axis=1).reshape(side, side) * side)


def seams(cells: Array, features: Array) -> tuple[Array, Array]:
    """Distances in the full space between the images of cells side by side (G,G-1) and one above the other (G-1,G); 0 between
    two cells of one image. Float64, from x - y.
    """
    side = len(cells)
    right, down = np.zeros((side, side - 1)), np.zeros((side - 1, side))
    above = np.asarray(features[cells[0]], dtype=np.float64)
    for row in range(side):
        own = np.asarray(features[cells[row]], dtype=np.float64)
        right[row] = np.linalg.norm(own[1:] - own[:-1], axis=1)
        if row:
            down[row - 1] = np.linalg.norm(own - above, axis=1)
        above = own
    return right, down


def touching(cells: Array) -> Array:
    """(P,2) int64 pairs of different images in cells that touch, corners included; both ways, each once, sorted."""
    shifts = ((0, 1), (1, 0), (1, 1), (1, -1))
    found = []
    for down, across in shifts:
        one = cells[: len(cells) - down, max(0, -across) : cells.shape[1] - max(0, across)]
        other = cells[down:, max(0, across) : cells.shape[1] - max(0, -across)]
        found += [np.stack([a.ravel(), b.ravel()], axis=1) for a, b in ((one, other), (other, one))]
    pairs = np.concatenate(found)
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


@dataclass(frozen=True)
class Kept:
    """How far a grid's neighbourhoods are those of the full space. M images in it."""

    images: Array
    """(M,) int64, rising."""
    share: Array
    """(M,) of the images in touching cells, how many are among the image's own as many nearest in the full space; NaN without."""
    chance: float
    """What a random arrangement would have on average."""


def kept_neighbours(cells: Array, features: Array) -> Kept:
    """The share of each image's k neighbours in the grid that are among its k nearest in `features` (N,D) of the grid's images.

    Raises ValueError for a NaN or infinity.
    """
    images, place = np.unique(cells, return_inverse=True)
    pairs = touching(place.reshape(cells.shape))
    count = np.bincount(pairs[:, 0], minlength=len(images))
    near, _ = knn(features[images], int(count.max(initial=0)))
    rank = np.full(len(pairs), -1)
    for at, (i, j) in enumerate(pairs.tolist()):
        found = np.flatnonzero(near[i, : count[i]] == j)
        rank[at] = found[0] if len(found) else -1
    hits = np.bincount(pairs[rank >= 0, 0], minlength=len(images))
    share = np.divide(hits, count, out=np.full(len(images), np.nan), where=count > 0)
    chance = float(np.mean(count[count > 0]) / (len(images) - 1)) if len(images) > 1 else float("nan")
    return Kept(images, share, chance)


@dataclass(frozen=True)
class Frame:
    """Where G x G cells stand in a picture of `side` pixels: all of one whole size, the rest of the picture around them."""

    cells: int
    side: int

    @property
    def pitch(self) -> int:
        """From one cell to the next."""
        return self.side // self.cells

    @property
    def seam(self) -> int:
        """Between two cells."""
        return max(2, round(self.pitch * SEAM))

    @property
    def tile(self) -> int:
        """Side of an image."""
        return self.pitch - self.seam

    def corner(self, place: int) -> int:
        """The first pixel of a row or column of cells."""
        return (self.side - self.cells * self.pitch + self.seam) // 2 + place * self.pitch


def drawn(cells: Array, picture: Callable[[int, int], Array], apart: tuple[Array, Array], high: float, *, side: int) -> Array:
    """uint8 (side,side,3): the images in their cells, the seams `apart` between them from black at 0 to pale yellow at `high`.

    Where seams cross stands the largest of them. `picture(i, tile)`: the thumbnail (h,w,3) of an image, no larger than `tile`.
    """
    frame = Frame(len(cells), side)
    canvas = np.full((side, side, 3), GROUND, dtype=np.uint8)
    right, down = apart
    crossing = np.maximum(np.maximum(right[:-1], right[1:]), np.maximum(down[:, :-1], down[:, 1:]))
    colours = [sequential(values, high) for values in (right, down, crossing)]
    for row in range(frame.cells):
        top = frame.corner(row)
        for column in range(frame.cells):
            left = frame.corner(column)
            bottom, edge = top + frame.tile, left + frame.tile
            canvas[top:bottom, left:edge] = filled(picture(int(cells[row, column]), frame.tile), frame.tile)
            last_row, last_column = row == frame.cells - 1, column == frame.cells - 1
            if not last_column:
                canvas[top:bottom, edge : left + frame.pitch] = colours[0][row, column]
            if not last_row:
                canvas[bottom : top + frame.pitch, left:edge] = colours[1][row, column]
            if not last_row and not last_column:
                canvas[bottom : top + frame.pitch, edge : left + frame.pitch] = colours[2][row, column]
    return canvas
