"""Who is taken for whom: counts of (label, prediction), recall by class. n labelled samples, K classes; no K x K array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auditor.bounds.statistics import tally
from auditor.types import Array


@dataclass(frozen=True)
class Recalls:
    """The classes that have samples, by class number."""

    classes: Array
    """(R,) int64."""
    right: Array
    """(R,) int64 samples of the class that are predicted as it."""
    n: Array
    """(R,) int64 samples of the class, at least 1."""

    def weakest_first(self) -> Array:
        """(R,) places: lowest recall first; of equal ones the class with more samples, then the lower number."""
        return np.lexsort((self.classes, -self.n, self.right / self.n))


def recalls(labels: Array, predicted: Array) -> Recalls:
    """Recall of every class that has samples, from (n,) labels >= 0 and (n,) predictions."""
    classes, n, right = tally(labels, predicted)
    return Recalls(classes, right, n)


def confusions(labels: Array, predicted: Array) -> Array:
    """(P,3) int64 rows (label, prediction, count) of the wrong pairs: most frequent first, then by label and prediction."""
    wrong = labels != predicted
    pairs, counts = np.unique(np.stack([labels[wrong], predicted[wrong]], axis=1), axis=0, return_counts=True)
    table = np.concatenate([pairs, counts[:, None]], axis=1).astype(np.int64)
    return table[np.lexsort((table[:, 1], table[:, 0], -table[:, 2]))]


def matrix(labels: Array, predicted: Array, classes: Array) -> Array:
    """(m,m) int64 counts: rows are labels, columns predictions, both in the order of `classes` (m,), which rise."""
    inside = np.isin(labels, classes) & np.isin(predicted, classes)
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (np.searchsorted(classes, labels[inside]), np.searchsorted(classes, predicted[inside])), 1)
    return counts


def most_confused(pairs: Array, most: int) -> Array:
    """(m,) rising class numbers, m <= most: the classes of the most frequent `confusions`, pair by pair."""
    chosen: list[int] = []
    for label, prediction, _ in pairs.tolist():
        new = [c for c in (label, prediction) if c not in chosen]
        if len(chosen) + len(new) > most:
            break
        chosen += new
    return np.array(sorted(chosen), dtype=np.int64)
