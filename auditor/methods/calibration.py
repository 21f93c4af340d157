"""Whether confidence is what it says: the reliability diagram (Guo et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auditor.bounds.statistics import BINS, bins_of
from auditor.types import Array


@dataclass(frozen=True)
class Reliability:
    """The bins that hold samples, by rising confidence."""

    confidence: Array
    """(B,) mean confidence of the samples in the bin."""
    right: Array
    """(B,) int64."""
    n: Array
    """(B,) int64, at least 1."""


def reliability(confidence: Array, correct: Array) -> Reliability:
    """The bins of the calibration error, each (b/15, (b+1)/15]; confidence (n,) in [0,1] and correct (n,) bool."""
    place = bins_of(confidence)
    n = np.bincount(place, minlength=BINS)
    held = n > 0
    total = np.bincount(place, weights=confidence, minlength=BINS)[held]
    right = np.bincount(place, weights=correct, minlength=BINS)[held]
    return Reliability(total / n[held], right.astype(np.int64), n[held].astype(np.int64))
