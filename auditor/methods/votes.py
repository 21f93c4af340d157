"""What the neighbours of a sample say of its label. N samples; labels are -1 where unknown."""

from __future__ import annotations

import numpy as np

from auditor.ops.spans import spans
from auditor.types import Array


def agreement(indices: Array, labels: Array, k: int) -> Array:
    """(N,) share of the k nearest labelled others (or as many as `indices` (N,g), nearest first, holds) with the own label.

    NaN for an unlabelled sample, for the only one of its class, and where no neighbour has a label.
    """
    n, same = np.zeros(len(labels), dtype=np.int64), np.zeros(len(labels), dtype=np.int64)
    for at in spans(*indices.shape):
        near = labels[indices[at]]
        known = near >= 0
        counted = known & (np.cumsum(known, axis=1) <= k)
        n[at] = counted.sum(axis=1)
        same[at] = (counted & (near == labels[at, None])).sum(axis=1)
    defined = has_company(labels) & (n > 0)
    return np.asarray(np.divide(same, n, out=np.full(len(labels), np.nan), where=defined))


def has_company(labels: Array) -> Array:
    """(N,) bool: labelled, and not the only one of its class."""
    sizes = class_sizes(labels)
    return sizes >= 2


def class_sizes(labels: Array) -> Array:
    """(N,) int64 samples of the own class, 0 where unlabelled."""
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.where(labels >= 0, counts[place], 0)


def ceiling(labels: Array, k: int) -> float:
    """The highest mean agreement that the class sizes allow: a class of m samples has at most m - 1 neighbours of its own."""
    sizes = class_sizes(labels)[has_company(labels)]
    return float(np.mean(np.minimum(sizes - 1, k) / k)) if len(sizes) else float("nan")


def occurrences(indices: Array) -> Array:
    """(N,) how many of the others have each sample among their k nearest `indices` (N,k) (Radovanovic 2010)."""
    return np.bincount(indices.ravel(), minlength=len(indices))


def vote(indices: Array, labels: Array) -> Array:
    """(n,) majority label among the neighbours `indices` (n,k), k >= 1, nearest first; in a draw the nearest decides."""
    near = labels[indices]
    votes = (near[:, :, None] == near[:, None, :]).sum(axis=2)  # of each neighbour's label, among the k
    return np.asarray(near[np.arange(len(near)), votes.argmax(axis=1)])
