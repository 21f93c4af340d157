"""Where the images come from, as the manifest's further columns (or the folders) say, and the units that go by it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from auditor.methods import units
from auditor.probes.patches.layers import Classes, Layer
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.evidence import Evidence

FOLDER = "folder"
MOST_VALUES, MOST_COLUMNS = 50, 6
"""Distinct values that a column may have to name sources rather than images, and columns that are looked at."""
DEALS = 200
"""Times that the sources are dealt anew within each class."""


@dataclass(frozen=True)
class Source:
    """One column of the data. S values."""

    name: str
    of: Array
    """(N,) int64: the value of every image."""
    values: tuple[str, ...]
    classes: Array
    """(N,) int64 class of every image, -1 where unknown."""
    seed: int

    @property
    def counts(self) -> Array:
        """(S,) images of each."""
        return np.bincount(self.of, minlength=len(self.values))

    @cached_property
    def deals(self) -> Array:
        """(DEALS,N) the column, dealt anew among the images of each class."""
        return units.deals(self.classes, self.of, times=DEALS, seed=self.seed)


def sources_of(evidence: Evidence, classes: Classes | None) -> tuple[Source, ...]:
    """The columns that can name a source: of 2 to MOST_VALUES values, some of them with several images, and not the classes by
    another name. The folders of the files stand in where the data have no such column.
    """
    of = np.full(len(evidence.dataset), -1) if classes is None else classes.of
    columns = {name: column for name, column in evidence.dataset.slices.items() if names_sources(column, of)}
    if not columns:
        column = folders([s.name for s in evidence.dataset.samples], of)
        columns = {FOLDER: column} if names_sources(column, of) else {}
    found = []
    for name in sorted(columns)[:MOST_COLUMNS]:
        values, place = np.unique(columns[name], return_inverse=True)
        found.append(Source(name, place.astype(np.int64), tuple(str(v) or "(empty)" for v in values), of, evidence.seed))
    return tuple(found)


def names_sources(column: Array, classes: Array) -> bool:
    """Whether the strings of a column (N,) can name where images of `classes` (N,) come from."""
    values, counts = np.unique(column, return_counts=True)
    return 2 <= len(values) <= MOST_VALUES and counts.max() > 1 and not same_parts(column, classes)


def same_parts(one: Array, other: Array) -> bool:
    """Whether two columns (N,) divide the images alike: a value of one for each of the other."""
    pairs = {*zip(one.tolist(), other.tolist(), strict=True)}
    return len(pairs) == len(np.unique(one)) == len(np.unique(other))


def folders(names: list[str], classes: Array) -> Array:
    """(N,) the folder of each file; a first folder that is the class is left out."""
    parts = [PurePosixPath(name).parts[:-1] for name in names]
    first = np.array([part[0] if part else "" for part in parts])
    return np.array(["/".join(part[1:] if same_parts(first, classes) else part) for part in parts])


@dataclass(frozen=True)
class Sourced:
    """The units of a layer by one source."""

    layer: Layer
    source: Source
    chances: Array
    """(F,) how probable it is that a full unit's images are of one source, at random from the same classes."""

    @cached_property
    def held(self) -> Array:
        """(F,m) sources of the images of the full units."""
        return np.asarray(self.source.of[self.layer.held])

    @cached_property
    def entropy(self) -> Array:
        """(C,) as `units.entropy`; NaN for units without m images."""
        out = np.full(len(self.layer.entries), np.nan)
        out[self.layer.full] = units.entropy(self.held, len(self.source.values))
        return out

    @cached_property
    def dealt(self) -> tuple[float, float]:
        """(mean, least) of the layer's mean entropy over the deals: what the classes of its images alone give."""
        means = [units.entropy(deal[self.layer.held], len(self.source.values)).mean() for deal in self.source.deals]
        return float(np.mean(means)), float(np.min(means))

    @cached_property
    def alone(self) -> Array:
        """(F,) bool: full units whose images are all of one source."""
        return np.asarray(units.dominant(self.held)[1] == self.layer.m)

    @cached_property
    def suspects(self) -> dict[int, float]:
        """Of these, the units that stand when one in twenty of those told may be false -> how probable they are by chance."""
        stands = self.alone & units.discoveries(np.where(self.alone, self.chances, 1.0))
        return {int(u): float(p) for u, p in zip(self.layer.full[stands], self.chances[stands], strict=True)}

    def told(self, unit: int) -> str:
        """The one source of a unit, in words."""
        return f"{self.source.name} = {self.source.values[self.source.of[self.layer.positions(unit)[0]]]} only"


def sourced(layer: Layer, source: Source) -> Sourced | None:
    """What the sources of the strongest images say of each unit; None where units have too few images for that."""
    if not len(layer.full) or layer.m < 3:
        return None
    return Sourced(layer, source, units.one_source(layer.held, source.classes, source.of))
