"""Whose a rebuilt picture is: which image of the data it is nearest to, by features and by pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auditor.ops.thumbnail import area_means
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.evidence import Evidence

GALLERY = 1000
"""Images of the data, at most, among which sources are looked for; what probes choose to rebuild comes first among them."""
SIDE = 32
"""Side of the area means by which pixels are compared; pictures that are no larger are compared as they are."""
BLOCK = 64
"""Images of the gallery whose pixels are read at a time."""
TINY = 1e-9


def gallery_of(evidence: Evidence, source: Array) -> Array:
    """(G,) positions among which the images at `source` (n,) are looked for: by chance one of G is found."""
    chosen = np.asarray(evidence.chosen(GALLERY), dtype=np.int64)
    return np.concatenate([chosen, np.setdiff1d(source, chosen)])


def found_by_features(features: Array, source: Array, evidence: Evidence) -> Array:
    """(n,) bool: no image of the gallery is nearer to the features (n,D) under the head than the one at `source` (n,)."""
    gallery = gallery_of(evidence, source)
    return nearest(squared(features.astype(np.float64), evidence.features[gallery].astype(np.float64)), gallery, source)


def found_by_pixels(pictures: Array, source: Array, evidence: Evidence) -> Array:
    """(n,) bool: no image of the gallery correlates more with a uint8 picture (n,H,W,C) than the one at `source` (n,)."""
    gallery, wanted = gallery_of(evidence, source), flat(pictures)
    parts = [gallery[i : i + BLOCK] for i in range(0, len(gallery), BLOCK)]
    distances = np.concatenate([squared(wanted, flat(evidence.dataset.pixels(part))) for part in parts], axis=1)
    uneven = np.square(wanted).sum(1) > 0.5  # a flat picture correlates with none
    return np.asarray(nearest(distances, gallery, source) & uneven)


def side_compared(pictures: Array) -> int:
    """Longer side in px at which pictures (n,H,W,C) are compared."""
    return min(SIDE, int(max(pictures.shape[1:3])))


def flat(pictures: Array) -> Array:
    """(n,P) float64 of length 1: pictures (n,H,W,C), by area means where they are larger than SIDE, less each channel's mean.

    Flat ones have length 0.
    A squared distance is then 2 - 2 r, r the correlation: rebuilt pictures are faded, and by plain differences every faded one
    would be nearest to the greyest image.
    """
    values = (pictures if max(pictures.shape[1:3]) <= SIDE else area_means(pictures, SIDE)).astype(np.float64)
    about = (values - values.mean((1, 2), keepdims=True)).reshape(len(values), -1)
    return np.asarray(about / np.maximum(np.linalg.norm(about, axis=1, keepdims=True), TINY))


def squared(rows: Array, others: Array) -> Array:
    """(n,G) squared distances of rows (n,D) to others (G,D), by differences: nothing cancels."""
    return np.stack([np.square(others - row).sum(1) for row in rows])


def nearest(distances: Array, gallery: Array, source: Array) -> Array:
    """(n,) bool: whether no entry of a row (n,G) is below that of its source; a copy of the source is no nearer than it."""
    place = {int(position): i for i, position in enumerate(gallery)}
    own = np.array([place[int(position)] for position in source])
    return np.asarray(distances.min(1) >= distances[np.arange(len(own)), own])
