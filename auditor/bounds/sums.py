"""Statistics that depend on their rows through sums alone, so that a resample is a matrix product.

A row gives a vector (V,); the statistic is a function of the sum of the vectors of all rows. Groups of rows, and resamples of
rows or groups, then add up the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from auditor.bounds import statistics
from auditor.types import Array

Parts: TypeAlias = tuple[Array, Callable[[Array], Array]]
"""(n,V) vectors of the rows, and the function of sums (R,V) to statistics (R,)."""


def mean_parts(x: Array) -> Parts:
    """(x, 1): a ratio of two sums, since resampled groups differ in size."""
    vectors = np.stack([np.asarray(x, dtype=np.float64), np.ones(len(x))], axis=1)
    return vectors, lambda s: np.asarray(s[:, 0] / np.maximum(s[:, 1], 1e-300))


def macro_recall_parts(label: Array, predicted: Array) -> Parts:
    """For each class its right ones and its samples."""
    right, count = by_class(label, predicted)
    classes = right.shape[1]

    def value(s: Array) -> Array:
        held = s[:, classes:] > 0
        recall = np.where(held, s[:, :classes] / np.maximum(s[:, classes:], 1), 0.0)
        return np.asarray(recall.sum(axis=1) / np.maximum(held.sum(axis=1), 1))

    return np.concatenate([right, count], axis=1), value


def worst_class_recall_parts(label: Array, predicted: Array) -> Parts:
    """As above, to the lowest recall."""
    right, count = by_class(label, predicted)
    classes = right.shape[1]

    def value(s: Array) -> Array:
        recall = np.where(s[:, classes:] > 0, s[:, :classes] / np.maximum(s[:, classes:], 1), np.inf)
        return np.asarray(recall.min(axis=1))

    return np.concatenate([right, count], axis=1), value


def by_class(label: Array, predicted: Array) -> tuple[Array, Array]:
    """(n,C) right and (n,C) present, for the classes that have a sample."""
    classes, place = np.unique(label, return_inverse=True)
    count = np.zeros((len(label), len(classes)))
    count[np.arange(len(label)), place] = 1
    return count * (np.asarray(label) == np.asarray(predicted))[:, None], count


def ece_parts(confidence: Array, correct: Array) -> Parts:
    """The gap of right and confidence in its bin, and 1."""
    bins, gap = statistics.bins_of(confidence), statistics.gaps(confidence, correct)
    vectors = np.zeros((len(gap), statistics.BINS + 1))
    vectors[np.arange(len(gap)), bins] = gap
    vectors[:, -1] = 1
    return vectors, lambda s: np.asarray(np.abs(s[:, :-1]).sum(axis=1) / np.maximum(s[:, -1], 1e-300))


def lowest_mean_parts(*columns: Array) -> Parts:
    """The columns, and 1."""
    vectors = np.stack([*(np.asarray(x, dtype=np.float64) for x in columns), np.ones(len(columns[0]))], axis=1)
    return vectors, lambda s: np.asarray(s[:, :-1].min(axis=1) / np.maximum(s[:, -1], 1e-300))


PARTS: Mapping[str, Callable[..., Parts]] = {
    "mean": mean_parts,
    "macro_recall": macro_recall_parts,
    "worst_class_recall": worst_class_recall_parts,
    "ece": ece_parts,
    "lowest_mean": lowest_mean_parts,
}
"""Name of a statistic -> its parts; the median has none."""


def group_sums(vectors: Array, place: Array, count: int) -> Array:
    """(G,V) sums of the (n,V) vectors by group; `place` (n,) is the group of each row."""
    sums = np.zeros((count, vectors.shape[1]))
    np.add.at(sums, place, vectors)
    return sums
