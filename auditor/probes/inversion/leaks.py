"""How much identity an inversion gives away: is it still recognised, and is its source what it is nearest to?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.evidence.identity import found_by_features, found_by_pixels, gallery_of, side_compared
from auditor.fold import State
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.evidence import Evidence


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
    source, seen = rows["position"], evidence.predictions
    return Leaks(
        None if seen is None else rows["taken"] == seen.predicted[source],
        found_by_features(rows["features"], source, evidence),
        found_by_pixels(rows["picture"], source, evidence),
        len(gallery_of(evidence, source)),
        side_compared(rows["picture"]),
    )
