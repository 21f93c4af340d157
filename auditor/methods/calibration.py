"""Whether confidence is what it says: the reliability diagram (Guo et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auditor.types import Array

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """The bins that hold samples, by rising confidence."""

    confidence: Array
    """(B,) mean confidence of the samples in the bin."""
    right: Array
    """(B,) int64."""
    n: Array
    """(B,) int64, at least 1."""


def reliability(confidence: Array, correct: Array, *, bins: int = BINS) -> Reliability:
    """`bins` bins of equal width over [0,1], each (low, high]; confidence (n,) in [0,1] and correct (n,) bool."""
    place = np.clip(np.ceil(np.asarray(confidence, dtype=np.float64) * bins).astype(int) - 1, 0, bins - 1)
    n = np.bincount(place, minlength=bins)
    held = n > 0
    total = np.bincount(place, weights=confidence, minlength=bins)[held]
    right = np.bincount(place, weights=correct, minlength=bins)[held]
    return Reliability(total / n[held], right.astype(np.int64), n[held].astype(np.int64))
