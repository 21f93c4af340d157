"""How much identity an inversion gives away: is it still recognised, and is its source what it is nearest to?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.fold import State
from auditor.ops.thumbnail import area_means
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.evidence import Evidence

GALLERY = 1000
"""Images of the data, at most, among which the source is looked for; the inverted ones are the first of them."""
SIDE = 32
"""Side of the area means by which pixels are compared; images that are no larger are compared as they are."""
TINY = 1e-9
BLOCK = 64
"""Images of the gallery whose pixels are read at a time."""


@dataclass(frozen=True)
class Leaks:
    """Of n inversions (rows)."""

    recognised: Array | None
    """(n,) bool: of the class that the model gives the source; None without classes."""
    by_features: Array
    """(n,) bool: no other image of the gallery is nearer to it than its source, by the features under the head."""
    by_pixels: Array
    """(n,) bool: likewise by the correlation of pixels."""
    gallery: int
    """G images: by chance one of G is the nearest."""
    compared: int
    """Side of the pictures whose pixels are compared, in px, at most."""


def leaks(rows: State, evidence: Evidence) -> Leaks:
    """What the rows of the study give away."""
    gallery, source = np.asarray(evidence.chosen(GALLERY), dtype=np.int64), rows["position"]
    gallery = np.concatenate([gallery, np.setdiff1d(source, gallery)])
    place = {int(position): i for i, position in enumerate(gallery)}
    own = np.array([place[int(position)] for position in source])
    features = squared(rows["features"].astype(np.float64), evidence.features[gallery].astype(np.float64))
    small = max(rows["picture"].shape[1:3]) <= SIDE
    wanted = flat(rows["picture"], small=small)
    parts = [gallery[i : i + BLOCK] for i in range(0, len(gallery), BLOCK)]
    pixels = np.concatenate([squared(wanted, flat(evidence.dataset.pixels(part), small=small)) for part in parts], axis=1)
    seen = evidence.predictions
    return Leaks(
        None if seen is None else rows["taken"] == seen.predicted[source],
        nearest(features, own),
        nearest(pixels, own),
        len(gallery),
        max(rows["picture"].shape[1:3]) if small else SIDE,
    )


def flat(pictures: Array, *, small: bool) -> Array:
    """(n,P) float64 of length 1: pictures (n,H,W,C), averaged over SIDE x SIDE equal areas unless `small`, less the mean of each
    channel.

    A squared distance is then 2 - 2 r, r the correlation: inversions are faded, and by plain differences every faded picture
    would be nearest to the greyest one.
    """
    values = (pictures if small else area_means(pictures, SIDE)).astype(np.float64)
    about = (values - values.mean((1, 2), keepdims=True)).reshape(len(values), -1)
    return np.asarray(about / np.maximum(np.linalg.norm(about, axis=1, keepdims=True), TINY))


def squared(rows: Array, others: Array) -> Array:
    """(n,G) squared distances of rows (n,D) to others (G,D), by differences: nothing cancels."""
    return np.stack([np.square(others - row).sum(1) for row in rows])


def nearest(distances: Array, own: Array) -> Array:
    """(n,) bool: whether no entry of a row (n,G) is below that at `own` (n,); a copy of the source is no nearer than it."""
    return np.asarray(distances.min(1) >= distances[np.arange(len(own)), own])
