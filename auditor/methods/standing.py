"""Which of many groups stand out, as lists to look at: p-values for a false discovery rate. The gate judges by its own tests."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr
from scipy.stats import hypergeom

from auditor.types import Array

RATE = 0.05
"""Share of those named that may be false (Benjamini and Hochberg 1995)."""


def below_the_rest(right: Array, n: Array) -> Array:
    """(C,) one-sided p of Fisher's exact test: a group has as few right as this when all of the images are dealt at random.

    `right` and `n` (C,) int. 1 for a group without images, and for one that holds them all.
    """
    right, n = np.asarray(right, dtype=np.int64), np.asarray(n, dtype=np.int64)
    return np.where(n > 0, hypergeom.cdf(right, int(n.sum()), int(right.sum()), n), 1.0)


def confidence_off(confidence: Array, right: Array, place: Array, groups: int) -> Array:
    """(groups,) two-sided p that the share right differs from the mean confidence, were each confidence the chance to be right.

    Approximate: the count of successes with these chances, as normal (Spiegelhalter 1986). `place` (n,): the group of each.
    """
    gap = np.bincount(place, weights=np.asarray(right, dtype=np.float64) - confidence, minlength=groups)
    spread = np.bincount(place, weights=confidence * (1 - confidence), minlength=groups)
    reach = np.abs(gap) / np.sqrt(np.maximum(spread, 1e-12))
    return np.asarray(np.where((spread > 0) | (np.abs(gap) > 1e-9), 2 * ndtr(-reach), 1.0))
