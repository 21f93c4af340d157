"""What the strongest images say of each unit of a layer. C units, m images each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from auditor.methods import units
from auditor.methods.marks import Spot, find_spot
from auditor.methods.topk import NOWHERE
from auditor.ops.receptive_field import Field
from auditor.probes.patches.watch import Seen
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.evidence import Evidence

MOST_COMPARED = 48
"""Units of a layer whose pixels are compared for a mark."""
OTHERS = 48
"""Images that they are compared with."""
COARSE, FINE = 6, 12
"""Rows or columns of a map: on fewer than COARSE nothing is said of places, on fewer than FINE a place is a single one."""
AT_ONE_PLACE = 8 / 9
"""Share of the images from which on a unit is said to fire at one place."""
STEADY = 0.05
"""A unit whose maxima vary by less than this share of their mean is always on."""
SHARED, CORRELATED = 8 / 9, 0.95
"""Units of which as many images are the same, and whose maxima correlate as much, are alike."""


@dataclass(frozen=True)
class Classes:
    """The class of every image, as far as it is known. K classes."""

    of: Array
    """(N,) int64: the label, else the predicted class, else -1."""
    names: tuple[str, ...]
    counts: Array
    """(K,) images of each."""
    told: str
    """In words, what they are."""


def classes_of(evidence: Evidence) -> Classes | None:
    """None where an image has neither label nor prediction."""
    labels = np.asarray(evidence.dataset.labels)
    known = labels
    told = "labels"
    if (labels < 0).any():
        if evidence.predictions is None:
            return None
        known = np.where(labels >= 0, labels, evidence.predictions.predicted)
        some = bool((labels >= 0).any())
        told = "labels, and predicted classes where there is none" if some else "predicted, as no image has a label"
    names = evidence.names
    count = max(len(names), int(known.max()) + 1)
    names = names + tuple(str(k) for k in range(len(names), count))
    return Classes(known, names, np.bincount(known, minlength=count), told)


@dataclass(frozen=True)
class Layer:
    """One layer with its strongest images."""

    name: str
    number: int
    seen: Seen
    field: Field
    classes: Classes | None
    images: int
    """N."""
    early: bool = False
    """Whether it is in the first half of the layers: its units should know patterns, not classes."""

    @property
    def mixed(self) -> Classes | None:
        """The classes where one of them has two images, so that units can be told apart by them."""
        return self.classes if self.classes is not None and self.classes.counts.max() > 1 else None

    @property
    def m(self) -> int:
        """Images a unit can have at most."""
        return min(int(self.seen.tops.values.shape[1]), self.images)

    @cached_property
    def rectified(self) -> bool:
        """Whether the layer's output is never negative, so that a unit can be said not to fire."""
        return bool(self.seen.lowest >= 0)

    @cached_property
    def entries(self) -> Array:
        """(C,k) bool: entries that count: those above 0, that fire; all of a signed layer that is never above 0."""
        tops = self.seen.tops
        floor = 0 if self.rectified or (tops.values > 0).any() else -np.inf
        return np.asarray((tops.positions != NOWHERE) & (tops.values > floor))

    @cached_property
    def full(self) -> Array:
        """(F,) the units with m images that count."""
        return np.flatnonzero(self.entries.sum(axis=1) >= self.m)

    @cached_property
    def alive(self) -> Array:
        """(A,) the units with at least one."""
        return np.flatnonzero(self.entries.any(axis=1))

    @cached_property
    def tied(self) -> Array:
        """The full units whose images all have the same value."""
        values = self.seen.tops.values[self.full, : self.m]
        return np.asarray(self.full[(values[:, 0] == values[:, -1]) & (self.m > 1)])

    @property
    def dead(self) -> int:
        """Units that fire in no image; of a rectified layer."""
        return int((self.seen.tops.values[:, 0] <= 0).sum())

    def positions(self, unit: int) -> Array:
        """(<= m,) the unit's images, strongest first."""
        return np.asarray(self.seen.tops.positions[unit][self.entries[unit]])

    def places(self, unit: int) -> list[tuple[int, int]]:
        """(row, column) in the map for each of `positions`."""
        return [divmod(int(p), int(self.seen.grid[1])) for p in self.seen.tops.places[unit][self.entries[unit]]]

    @cached_property
    def held(self) -> Array:
        """(F,m) the images of the full units, strongest first."""
        return np.asarray(self.seen.tops.positions[self.full, : self.m])

    @cached_property
    def _classes(self) -> Array:
        """(F,m) classes of the images of the full units; -1 where unknown."""
        return np.full(self.held.shape, -1) if self.classes is None else np.asarray(self.classes.of[self.held])

    @cached_property
    def entropy(self) -> Array:
        """(C,) as `units.entropy`; NaN for units without m images, and for all where no class has two."""
        out = np.full(len(self.entries), np.nan)
        if self.mixed is not None and len(self.full):
            out[self.full] = units.entropy(self._classes, len(self.mixed.names))
        return out

    @cached_property
    def chance(self) -> tuple[float, float]:
        """(entropy, probability of one class only) of m images at random."""
        return (float("nan"), float("nan")) if self.classes is None else units.chance(self.classes.counts, self.m)

    @cached_property
    def pure(self) -> Array:
        """The full units all of whose images are of one class; none where m is below 3."""
        if self.classes is None or self.m < 3 or not len(self.full):
            return np.zeros(0, np.int64)
        return np.asarray(self.full[units.dominant(self._classes)[1] == self.m])

    @cached_property
    def steady(self) -> Array:
        """The units that fire in every image with nearly the same maximum: they tell none from another."""
        peaks = self.seen.peaks.astype(np.float64)
        finite = np.isfinite(peaks).all(axis=0)
        peaks = np.where(finite, peaks, 0.0)
        flat = peaks.std(axis=0) <= STEADY * np.abs(peaks.mean(axis=0))
        return np.flatnonzero(flat & finite & (self.seen.fired == self.images) & (self.images > 1))

    @cached_property
    def twins(self) -> Array:
        """(C,) the lowest number of the units with the same images and maxima, -1 where there is none; see `units.twins`."""
        out, usable = np.full(len(self.entries), -1), np.isfinite(self.seen.peaks[:, self.full]).all(axis=0)
        if self.m >= 3 and usable.any():
            numbers, least = self.full[usable], int(np.ceil(SHARED * self.m))
            found = units.twins(self.held[usable], self.seen.peaks[:, numbers], shared=least, correlation=CORRELATED)
            out[numbers] = np.where(found >= 0, numbers[found], -1)
        return out

    @property
    def expected(self) -> float:
        """How many units of one class only images at random would give."""
        return self.chance[1] * len(self.full)

    @property
    def near(self) -> int:
        """How many steps of the map apart two places count as one: one, none on a coarse map."""
        return 1 if self.seen.grid.min() >= FINE else 0

    @cached_property
    def gathered(self) -> tuple[Array, Array]:
        """((C,) which entry is in the middle of the most others, (C,) how many are at one place with it); 0 where not full."""
        index, times = np.zeros((2, len(self.entries)), np.int64)
        if len(self.full):
            rows, columns = np.divmod(self.seen.tops.places[self.full, : self.m], self.seen.grid[1])
            index[self.full], times[self.full] = units.same_place(rows, columns, self.near)
        return index, times

    @cached_property
    def at_one_place(self) -> Array:
        """The units that fire at one place in nearly all of their images, most first; none on maps too small to tell."""
        if self.m < 3 or self.seen.grid.min() < COARSE:
            return np.zeros(0, np.int64)
        times = self.gathered[1]
        found = np.flatnonzero(times >= np.ceil(AT_ONE_PLACE * self.m))
        return found[np.argsort(-times[found], kind="stable")]

    def modal_box(self, unit: int) -> tuple[int, int, int, int]:
        """The pixels seen from the place that most of a unit's images fire at."""
        return self.field.box(*self.places(unit)[self.gathered[0][unit]])


@dataclass(frozen=True)
class Mark:
    """A unit that fires at one place where its images share a mark."""

    unit: int
    times: int
    box: tuple[int, int, int, int]
    spot: Spot


def marks(layer: Layer, evidence: Evidence) -> tuple[Mark, ...]:
    """The units that a mark fires. Reads pixels of some images; the images compared with are a sample of all."""
    others = evidence.dataset.pixels(evidence.chosen(OTHERS))
    found = []
    for unit in (int(u) for u in layer.at_one_place[:MOST_COMPARED]):
        places, middle = layer.places(unit), layer.places(unit)[layer.gathered[0][unit]]
        there = [max(abs(r - middle[0]), abs(c - middle[1])) <= layer.near for r, c in places]
        box = layer.modal_box(unit)
        spot = find_spot(evidence.dataset.pixels(layer.positions(unit)[there]), others, box)
        if spot is not None and spot.marked:
            found.append(Mark(unit, int(layer.gathered[1][unit]), box, spot))
    return tuple(found)
