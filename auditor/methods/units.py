"""What a unit's strongest images have in common: their classes and their places. C units, m images each, K classes."""

from __future__ import annotations

import numpy as np
from scipy.stats import hypergeom

from auditor.types import Array


def alike(classes: Array) -> Array:
    """(C,m) int64: how many of a unit's images have the class of each, for `classes` (C,m)."""
    return np.asarray((classes[:, :, None] == classes[:, None, :]).sum(axis=2))


def scale(images: int, count: int) -> float:
    """The most bits that `images` of `count` classes can have, at least 1 image of 1 class: log2 min(images, count)."""
    return float(np.log2(max(min(images, count), 1)))


def entropy(classes: Array, count: int) -> Array:
    """(C,) entropy of the class histogram of each row of `classes` (C,m), over the most there could be: 0 one class, 1 as
    mixed as m images of `count` classes can be (Shannon 1948). NaN where m or `count` is 1, or a class is unknown (-1).

    sum_k p_k log p_k = mean over the images of log p(its class).
    """
    images = classes.shape[1]
    most = scale(images, count)
    if most == 0:
        return np.full(len(classes), np.nan)
    bits = -np.log2(alike(classes) / images).mean(axis=1)
    return np.where((classes < 0).any(axis=1), np.nan, np.clip(bits / most, 0, 1) + 0.0)


def chance(counts: Array, images: int) -> tuple[float, float]:
    """(expected entropy as `entropy` scales it, probability that all are of one class) of `images` drawn without return
    from classes of `counts` (K,) members; NaN where the entropy has no scale.
    """
    total, most = int(counts.sum()), scale(images, len(counts))
    drawn = np.arange(1, images + 1)
    share = hypergeom.pmf(drawn[None], total, counts[:, None], images)
    bits = float((share * (-(drawn / images) * np.log2(drawn / images))[None]).sum())
    return (bits / most if most else float("nan")), float(share[:, -1].sum())


def dominant(classes: Array) -> tuple[Array, Array]:
    """((C,) the most frequent class of each unit, the one of the strongest image on a tie; (C,) in how many images)."""
    times = alike(classes)
    best = times.argmax(axis=1)
    rows = np.arange(len(classes))
    return classes[rows, best], times[rows, best]


def same_place(rows: Array, columns: Array, near: int) -> tuple[Array, Array]:
    """((C,) which of the m images has most others within `near` steps of its place, the strongest on a tie; (C,) how many,
    itself included), for places `rows` and `columns` (C,m).
    """
    down = np.abs(rows[:, :, None] - rows[:, None, :]) <= near
    across = np.abs(columns[:, :, None] - columns[:, None, :]) <= near
    times = (down & across).sum(axis=2)
    best = times.argmax(axis=1)
    return best, times[np.arange(len(rows)), best]
