"""How alike two models see the same images: drift of their features, and units of one that have a counterpart in the other.

linear CKA: |Y'X|^2 / (|X'X| |Y'Y|) of the centred features X (n,p) and Y (n,q), Frobenius norms (Kornblith et al. 2019); it does
    not change when either side is rotated or scaled as a whole. Beside it the same of the unbiased estimates (Song et al. 2012;
    Nguyen et al. 2021), since the plain one is high where there are few images. Interval by a jackknife over 20 blocks of images.
kept neighbours: share of an image's k nearest others that are among its k nearest on the other side.
matched units: correlation of two units' largest values over the same images, matched one to one so that the sum is largest
    (Li et al. 2016). What the same matching gives with the images shuffled is chance.

No torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from auditor.bounds import statistic
from auditor.types import Array

NEAREST, LISTED, SHOWN = 10, 24, 6
"""Neighbours that are compared, images that are listed, and neighbours that are shown beside each."""
AROUND = 50
"""Of images that kept as many neighbours, the one that kept fewest of so many moved farthest."""
BLOCKS = 20
FEWEST = 20
"""Images in common below which nothing is said."""
ALIKE = 0.5
"""Least correlation of matched units, where chance does not reach it."""
BEYOND = 0.99
"""Quantile of the correlations that the matching gives by chance: a counterpart has more."""
CHUNK = 512
MOST_CHANNELS = 2048


@dataclass(frozen=True)
class Moved:
    """An image whose neighbours changed."""

    position: int
    """In today's audit."""
    name: str
    kept: int
    """Of its nearest, how many stayed so."""
    before: tuple[int, ...]
    today: tuple[int, ...]
    """Its nearest on either side, the nearest first: positions in today's audit."""


@dataclass(frozen=True)
class Drift:
    """The features of both models on the same images."""

    images: int
    variance: tuple[float, float]
    """Share of the variance of either side's features that the kept components hold: before, today."""
    cka: float
    low: float | None
    high: float | None
    """90 % interval."""
    unbiased: float | None
    neighbours: int
    kept: float
    kept_low: float | None
    kept_high: float | None
    """Mean share of kept neighbours, and its 90 % interval over the images."""
    chance: float
    """What unrelated features would keep."""
    histogram: tuple[int, ...]
    """Images by how many neighbours they kept, 0 to `neighbours`."""
    moved: tuple[Moved, ...]
    """The most changed first."""


@dataclass(frozen=True)
class Matched:
    """The units of one layer on both sides."""

    layer: str
    images: int
    before: int
    today: int
    """Live units on either side: those whose value differs from image to image."""
    dead: tuple[int, int]
    matched: int
    """Units of today with a counterpart."""
    in_place: int
    """Of those, how many have the same number."""
    mean: float
    """Mean correlation of all pairs of the matching."""
    chance: float
    """The same with the images shuffled."""
    line: float
    """From this correlation on a unit has a counterpart."""
    alone: tuple[int, ...]
    """Units of today without one, the least correlated first, at most 20."""


@dataclass(frozen=True)
class Likeness:
    """Both, with why one is missing."""

    drift: Drift | None
    layers: tuple[Matched, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """What one audit holds of some of its images: positions (M,), features (M,r), the share of variance they hold."""

    positions: Array
    features: Array
    variance: float


@dataclass(frozen=True)
class Peaks:
    """What one audit holds of a layer: positions (S,), and the units' largest values in these images (S,C)."""

    positions: Array
    values: Array


def cka(x: Array, y: Array) -> float:
    """Linear CKA of features (n,p) and (n,q) of the same images; NaN where one side is constant."""
    x, y = centred(x), centred(y)
    below = float(np.linalg.norm(x.T @ x)) * float(np.linalg.norm(y.T @ y))
    return float(np.linalg.norm(y.T @ x)) ** 2 / below if below > 0 else math.nan


def centred(x: Array) -> Array:
    """(n,p) float64, each column less its mean."""
    x = np.asarray(x, dtype=np.float64)
    return np.asarray(x - x.mean(axis=0))


def unbiased(x: Array, y: Array) -> float:
    """CKA of the unbiased HSIC estimates; about 0 for unrelated features, whatever n and their widths. n >= 4."""
    x, y = centred(x), centred(y)
    below = hsic(x, x) * hsic(y, y)
    return hsic(x, y) / math.sqrt(below) if below > 0 else math.nan


def hsic(x: Array, y: Array) -> float:
    """Song's estimate with linear kernels, by the features alone: no n x n matrix is made."""
    n, a, b = len(x), (x**2).sum(1), (y**2).sum(1)
    rows_x, rows_y = x @ x.sum(0) - a, y @ y.sum(0) - b  # row sums of both Gram matrices without their diagonal
    trace = float(np.linalg.norm(x.T @ y)) ** 2 - float(a @ b)
    total = float(rows_x.sum()) * float(rows_y.sum()) / ((n - 1) * (n - 2))
    return (trace + total - 2 / (n - 2) * float(rows_x @ rows_y)) / (n * (n - 3))


def interval(x: Array, y: Array) -> tuple[float | None, float | None]:
    """90 % interval of `cka` by leaving out one of 20 blocks at a time; nothing for fewer than 2 images a block."""
    from scipy.special import stdtrit

    if len(x) < 2 * BLOCKS:
        return None, None
    block = np.random.default_rng(0).permutation(len(x)) % BLOCKS
    without = np.array([cka(x[block != b], y[block != b]) for b in range(BLOCKS)])
    error = math.sqrt((BLOCKS - 1) / BLOCKS * float(((without - without.mean()) ** 2).sum()))
    at, reach = cka(x, y), float(stdtrit(BLOCKS - 1, 0.95)) * error
    return (max(at - reach, 0.0), min(at + reach, 1.0)) if math.isfinite(at) else (None, None)


def nearest(x: Array, k: int) -> Array:
    """(n,k) the k nearest others of each row by Euclidean distance, the nearest first."""
    x = centred(x)
    square = (x**2).sum(1)
    found = np.empty((len(x), k), dtype=np.int64)
    for start in range(0, len(x), CHUNK):
        rows = slice(start, min(start + CHUNK, len(x)))
        far = square[None] - 2 * x[rows] @ x.T
        far[np.arange(rows.stop - start), np.arange(start, rows.stop)] = np.inf
        some = np.argpartition(far, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(far, some, 1), axis=1, kind="stable")
        found[rows] = np.take_along_axis(some, order, 1)
    return found


def shared(a: Array, b: Array) -> Array:
    """(n,) how many entries of the rows (n,k) are in both."""
    return np.array([len(np.intersect1d(one, other)) for one, other in zip(a, b, strict=True)], dtype=np.int64)


def drift(x: Array, y: Array, positions: Array, names: Array, variance: tuple[float, float]) -> Drift:
    """Of features (n,p) before and (n,q) today; `positions` (n,) and `names` (n,): the images in today's audit."""
    n = len(x)
    k = min(NEAREST, n - 1)
    then, now = (nearest(side, min(AROUND, n - 1)) for side in (x, y))
    around = shared(then, now)
    then, now = then[:, :k], now[:, :k]
    kept = shared(then, now)
    share = statistic("mean", {"kept": kept / k}, unit="share", seed=0)
    low, high = interval(x, y)
    order = np.lexsort((positions, around, kept))[:LISTED]
    moved = tuple(
        Moved(
            int(positions[i]), str(names[i]), int(kept[i]), tuple(int(p) for p in positions[then[i][:SHOWN]]),
            tuple(int(p) for p in positions[now[i][:SHOWN]]),
        )
        for i in order
        if kept[i] < k
    )  # fmt: skip
    other = unbiased(x, y)
    return Drift(
        n, variance, cka(x, y), low, high, other if math.isfinite(other) else None, k, float(kept.mean() / k), share.low,
        share.high, k / (n - 1), tuple(np.bincount(kept, minlength=k + 1).tolist()), moved,
    )  # fmt: skip


def pairing(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """One to one: rows and columns of the matching, and their correlations, for values (n,C) and (n,D) without constants."""
    from scipy.optimize import linear_sum_assignment

    table = standard(a).T @ standard(b) / len(a)
    left, right = linear_sum_assignment(table, maximize=True)
    return left, right, table[left, right]


def standard(x: Array) -> Array:
    """(n,C) float64 with mean 0 and variance 1 in each column."""
    x = centred(x)
    return np.asarray(x / x.std(axis=0))


def match(layer: str, before: Array, today: Array) -> Matched:
    """The units of a layer by their largest values (n,C) and (n,D) in the same n images."""
    live_a, live_b = (np.flatnonzero(np.ptp(side, axis=0) > 0) for side in (before, today))
    dead = (before.shape[1] - len(live_a), today.shape[1] - len(live_b))
    if not len(live_a) or not len(live_b):
        return Matched(layer, len(before), len(live_a), len(live_b), dead, 0, 0, 0.0, 0.0, ALIKE, ())
    a, b = before[:, live_a], today[:, live_b]
    left, right, r = pairing(a, b)
    shuffled = np.random.default_rng(0).permutation(len(b))
    _, _, chance = pairing(a, b[shuffled])
    line = max(ALIKE, float(np.quantile(chance, BEYOND)))
    good = r >= line
    rest = np.setdiff1d(np.arange(len(live_b)), right)
    poor = [*live_b[rest].tolist(), *live_b[right[~good][np.argsort(r[~good], kind="stable")]].tolist()]
    return Matched(
        layer, len(before), len(live_a), len(live_b), dead, int(good.sum()), int((live_a[left] == live_b[right])[good].sum()),
        float(r.mean()), float(chance.mean()), line, tuple(int(u) for u in poor[:20]),
    )  # fmt: skip


def common(before: Array, today: Array, matched: tuple[Array, Array]) -> tuple[Array, Array]:
    """Rows on either side that are of the same image; `matched`: positions (M,) today, and those of the same images before."""
    then_of = dict(zip(matched[0].tolist(), matched[1].tolist(), strict=True))
    place = {int(p): i for i, p in enumerate(before)}
    pairs = [(place[then_of[int(p)]], j) for j, p in enumerate(today) if then_of.get(int(p)) in place]
    both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def likeness(
    features: tuple[Kept | None, Kept | None],
    peaks: tuple[Mapping[str, Peaks], Mapping[str, Peaks]],
    matched: tuple[Array, Array],
    names: Array,
) -> Likeness:
    """Of what two audits hold, (before, today) each; `names`: of today's images."""
    notes, found = [], None
    before, today = features
    if before is None or today is None:
        side = " and ".join(word for word, kept in (("the other audit", before), ("this one", today)) if kept is None)
        notes.append(f"Drift of the features is not told: {side} holds none of them; run it again.")
    else:
        a, b = common(before.positions, today.positions, matched)
        if len(a) < FEWEST:
            notes.append(f"Drift of the features is not told: the features of {len(a)} images are held on both sides.")
        else:
            at = today.positions[b].astype(np.int64)
            variance = (before.variance, today.variance)
            found = drift(before.features[a], today.features[b], at, np.asarray(names)[at], variance)
    layers = []
    for layer, now in peaks[1].items():
        then = peaks[0].get(layer)
        if then is None:
            continue
        a, b = common(then.positions, now.positions, matched)
        if len(a) >= FEWEST:
            layers.append(match(layer, then.values[a].astype(np.float64), now.values[b].astype(np.float64)))
    if not layers:
        notes.append("Units are not matched: no layer of one name is held by both; the probe patches holds them.")
    return Likeness(found, tuple(layers), tuple(notes))
