"""The statistics by name: functions of per-sample columns, (n,) arrays without NaN, to a float; NaN for n = 0."""

from __future__ import annotations

import numpy as np

from auditor.types import Array

BINS = 15
"""Of the calibration error, as in Guo et al. 2017."""


def mean(x: Array) -> float:
    """The arithmetic mean."""
    return float(np.mean(x, dtype=np.float64)) if len(x) else float("nan")


def lowest_mean(*columns: Array) -> float:
    """The lowest of the columns' means."""
    return min(mean(x) for x in columns)


def median(x: Array) -> float:
    """The median: the mean of the two middle values for an even n."""
    return float(np.median(x)) if len(x) else float("nan")


def tally(label: Array, predicted: Array) -> tuple[Array, Array, Array]:
    """(C,) classes that have a sample, rising; (C,) samples of each; (C,) of those right. Labels below 0 are left out."""
    held = label >= 0
    classes, place = np.unique(label[held], return_inverse=True)
    right = np.bincount(place, weights=label[held] == predicted[held], minlength=len(classes))
    return classes.astype(np.int64), np.bincount(place, minlength=len(classes)), right.astype(np.int64)


def recalls(label: Array, predicted: Array) -> Array:
    """(C,) recall of each class that has a sample."""
    _, count, right = tally(label, predicted)
    return np.asarray(right / np.maximum(count, 1))


def macro_recall(label: Array, predicted: Array) -> float:
    """Unweighted mean of the recalls of the classes that have a sample."""
    return mean(recalls(label, predicted))


def worst_class_recall(label: Array, predicted: Array) -> float:
    """The lowest recall among the classes that have a sample."""
    found = recalls(label, predicted)
    return float(found.min()) if len(found) else float("nan")


def bins_of(confidence: Array) -> Array:
    """(n,) int64 bin of each confidence: (b/15, (b+1)/15], 0 in the first."""
    return np.clip(np.ceil(np.asarray(confidence, dtype=np.float64) * BINS).astype(np.int64) - 1, 0, BINS - 1)


def gaps(confidence: Array, correct: Array) -> Array:
    """(n,) right or wrong less the confidence."""
    return np.asarray(correct, dtype=np.float64) - np.asarray(confidence, dtype=np.float64)


def ece(confidence: Array, correct: Array) -> float:
    """Expected calibration error (Guo et al. 2017): sum over 15 bins of equal width of n_b/n |accuracy_b - mean confidence_b|."""
    if not len(confidence):
        return float("nan")
    gap = gaps(confidence, correct)
    return float(np.abs(np.bincount(bins_of(confidence), weights=gap, minlength=BINS)).sum() / len(gap))
