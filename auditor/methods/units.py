"""What a unit's strongest images have in common: their classes, sources and places. C units, m of N images each, K classes."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array, csr_array, triu
from scipy.sparse.csgraph import connected_components
from scipy.stats import false_discovery_control, hypergeom

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


def one_source(held: Array, classes: Array, sources: Array) -> Array:
    """(C,) probability that the images of a unit are all of one source, were they drawn without return from those of the same
    classes: what the classes of a unit do not explain. `held` (C,m) images of each unit; `classes` (N,) and `sources` (N,), -1
    for an unknown class, which counts as one.

    sum_s prod_k C(N_ks, n_k) / C(N_k, n_k), with n_k images of class k, of which there are N_k, N_ks of them of source s; the
    images are drawn one after the other, so the j-th of its class has N_k - j left, and N_ks - j of the source.
    """
    kinds, kind = np.unique(classes, return_inverse=True)
    names, source = np.unique(sources, return_inverse=True)
    counts = np.zeros((len(kinds), len(names)))
    np.add.at(counts, (kind, source), 1)
    own = kind[held]
    before = ((own[:, :, None] == own[:, None, :]) & np.tri(held.shape[1], k=-1, dtype=bool)).sum(axis=2)
    left = np.maximum(counts[own] - before[..., None], 0)
    return np.asarray((left / (counts.sum(axis=1)[own] - before)[..., None]).prod(axis=1).sum(axis=1))


def deals(classes: Array, sources: Array, *, times: int, seed: int) -> Array:
    """(times,N) the `sources` (N,), dealt anew each time among the images of each of the `classes` (N,)."""
    rng, order = np.random.default_rng(seed), np.argsort(classes, kind="stable")
    dealt = np.empty((times, len(sources)), np.min_scalar_type(int(sources.max(initial=0))))
    for row in dealt:
        row[order] = sources[np.lexsort((rng.random(len(classes)), classes))]
    return dealt


def discoveries(chances: Array, *, share: float = 0.05) -> Array:
    """(C,) bool: the p-values that stand when at most `share` of those that do may be false (Benjamini, Hochberg 1995)."""
    return np.asarray(false_discovery_control(chances) <= share) if len(chances) else np.zeros(0, bool)


def twins(held: Array, peaks: Array, *, shared: int, correlation: float) -> Array:
    """(C,) int64: the lowest number of the units that are like each one, itself included; -1 where no other is.

    Alike are two units that have `shared` or more of their images in common (`held` (C,m)) and whose maxima `peaks` (S,C) over S
    images correlate by at least `correlation`; and those joined by such pairs. Units of constant maxima are like no other.
    """
    count, m = held.shape
    images, column = np.unique(held, return_inverse=True)
    unit = np.repeat(np.arange(count), m)
    has = csr_array((np.ones(count * m, np.int64), (unit, column.ravel())), shape=(count, len(images)))
    common = coo_array(triu(has @ has.T, k=1))
    first, second = (index[common.data >= shared] for index in common.coords)
    centred = peaks.astype(np.float64) - peaks.mean(axis=0, dtype=np.float64)
    size = np.sqrt((centred**2).sum(axis=0))
    scaled = np.divide(centred, size, out=np.zeros_like(centred), where=size > 0)
    alike = (scaled[:, first] * scaled[:, second]).sum(axis=0) >= correlation
    joined = coo_array((np.ones(alike.sum()), (first[alike], second[alike])), shape=(count, count))
    _, family = connected_components(joined, directed=False)
    _, lowest, number, sizes = np.unique(family, return_index=True, return_inverse=True, return_counts=True)
    return np.where(sizes[number] > 1, lowest[number], -1).astype(np.int64)
