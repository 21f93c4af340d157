"""Whether confidence is what it says: the reliability diagram, and the temperature that would mend it (Guo et al. 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax

from auditor.bounds.statistics import BINS, bins_of
from auditor.ops.spans import spans
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


SHARPEST, FLATTEST = 0.02, 50.0
"""Temperatures between which the best is looked for."""


@dataclass(frozen=True)
class Temperature:
    """What the scores are best divided by."""

    value: float
    low: float
    high: float
    """Two-sided 90 % interval, by the sandwich variance of log T (White 1982)."""
    inside: bool
    """Whether the best lies within the range that was searched."""


def temperature(scores: Array, labels: Array) -> Temperature:
    """The T that makes the mean of -log softmax(scores / T)[label] least (Guo et al. 2017); scores (n,K), labels (n,), n >= 1.

    The loss is convex in 1/T, so the zero of its slope is found by bisection, to 1e-9 of its logarithm.
    """
    own = scores[np.arange(len(labels)), labels].astype(np.float64)

    def moments(beta: float) -> tuple[Array, Array]:
        """(n,) slope of each loss in 1/T, and its curvature."""
        mean, square = np.zeros(len(labels)), np.zeros(len(labels))
        for at in spans(*scores.shape):
            held = np.isfinite(scores[at])
            known = np.where(held, scores[at], 0.0).astype(np.float64)
            p = softmax(np.where(held, beta * known, -np.inf), axis=1)
            mean[at], square[at] = (p * known).sum(1), (p * known**2).sum(1)
        return mean - own, square - mean**2

    low, high = -math.log(FLATTEST), -math.log(SHARPEST)
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (low, middle) if moments(math.exp(middle))[0].mean() > 0 else (middle, high)
    beta = math.exp((low + high) / 2)
    slope, curve = moments(beta)
    bend = float(curve.mean()) * beta
    spread = math.sqrt(float((slope**2).mean()) / len(slope)) / bend if bend > 1e-12 else math.inf
    inside = SHARPEST * 1.001 < 1 / beta < FLATTEST * 0.999 and spread < 5
    wide = math.exp(min(1.6448536269514722 * spread, 50.0))
    return Temperature(1 / beta, 1 / beta / wide, wide / beta, inside)


def softened(scores: Array, value: Array, labels: Array) -> tuple[Array, Array]:
    """(n,) confidence, and (n,) log probability of the label, of scores (n,K) divided by T (n,)."""
    sure, own = np.zeros(len(labels)), np.zeros(len(labels))
    for at in spans(*scores.shape):
        logs = log_softmax(scores[at].astype(np.float64) / value[at, None], axis=1)
        sure[at], own[at] = np.exp(logs.max(axis=1)), logs[np.arange(len(logs)), labels[at]]
    return sure, own


def crossed(scores: Array, labels: Array, half: Array) -> Array:
    """(n,) the temperature of the other half, for each sample: no sample is judged by a temperature that it took part in."""
    found = np.ones(len(labels))
    for side in (False, True):
        if (half == side).any() and (half != side).any():
            found[half == side] = temperature(scores[half != side], labels[half != side]).value
    return found
