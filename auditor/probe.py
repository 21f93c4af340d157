"""Probe: one question put to a trained model, one section of the report."""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from auditor.fold import Cost, Fold, State, Study
from auditor.lesson import Lesson, Trained
from auditor.types import About, Finding, Json, Measure

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target


@dataclass(frozen=True)
class Needs:
    """What must hold for a probe to apply."""

    scores: bool = False
    """Class scores: not under `--task features`."""
    labels: bool = False
    """At least one labelled sample."""
    convolutions: bool = False
    """At least one layer whose output holds maps: (N,C,H,W), (N,H,W,C), or tokens (N,T,C) with a place in the image."""
    pixels: bool = False
    """A preprocessing that can be undone, so that a change can be bounded in image space [0,1]."""


@dataclass(frozen=True)
class Results:
    """What a probe's own work and the probes that it reads have brought."""

    look: Fold | None = None
    """Its fold, which has seen every image of the pass."""
    rows: State = field(default_factory=dict)
    """The study's rows, concatenated in the order of its items; empty without a study, and before it."""
    findings: Mapping[str, Finding] = field(default_factory=dict)
    trained: Mapping[str, Trained] = field(default_factory=dict)
    """The helper nets that it asked for, by the names of their lessons; empty before they are trained."""


@dataclass(frozen=True)
class Probe(ABC):
    """Parameters and nothing else; named once, by its module. The docstring has the paragraphs
    `Asks:`, `Formula:`, `Read:` and `Misleads:`, which the report and `auditor probes explain` show.
    """

    title: ClassVar[str]
    cites: ClassVar[tuple[str, ...]]
    measures: ClassVar[tuple[Measure, ...]]
    needs: ClassVar[Needs] = Needs()
    reads: ClassVar[tuple[str, ...]] = ()
    reads_train: ClassVar[bool] = False
    """Whether it reads the features of a training set, where one is given: only then they are taken."""
    profiles: ClassVar[Mapping[str, Mapping[str, Json] | None]] = {}
    """Parameters that a profile sets: {"quick": {"images": 16}, ...}; a profile that maps to None leaves the probe out."""
    only_shown: ClassVar[frozenset[str]] = frozenset()
    """Parameters that alter what the section shows and none of its figures: audits that differ in these can be compared."""

    @classmethod
    def id(cls) -> str:
        """The probe's one name: its module's."""
        return cls.__module__.rsplit(".", 1)[-1]

    def look(self, target: Target) -> Fold | None:
        """Its share of the pass: every image, one shared forward, no gradient."""
        return None

    def lessons(self, target: Target, evidence: Evidence, results: Results) -> tuple[Lesson, ...]:
        """Helper nets to be trained before its study: `results` without rows and without them."""
        return ()

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """All model-heavy work after the pass, on items that may follow from what the pass brought: `results` without rows."""
        return None

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """What its lessons and its study of a data set cost, known before the pass."""
        return Cost()

    @abstractmethod
    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Arithmetic only: no call of the model (its names, weights and traced shapes may be read)."""

    def parameters(self) -> dict[str, Json]:
        """The probe's parameters by name, as audit.toml gives them."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}


def about(probe: type[Probe]) -> About:
    """The four paragraphs of a probe's docstring (missing ones are empty)."""
    found: dict[str, list[str]] = {}
    current: str | None = None
    for line in inspect.cleandoc(probe.__doc__ or "").splitlines():
        head, colon, rest = line.partition(":")
        if colon and head in ("Asks", "Formula", "Read", "Misleads"):
            current = head.lower()
            found[current] = [rest.strip()]
        elif current is not None:
            found[current].append(line.strip())
    return About(**{name: " ".join(part for part in lines if part) for name, lines in found.items()})
