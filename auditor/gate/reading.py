"""A figure as a rule reads it: what is compared with which line, and its bounds at any confidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from auditor.bounds import CONFIDENCE, Bounds, bounds_of, normal_power, rebound, samples_to_decide, share_power
from auditor.config import GateSettings
from auditor.gate.classes import class_names
from auditor.gate.match import Case
from auditor.gate.material import SLICE, Material, material
from auditor.gate.pairs import Pairs
from auditor.gate.words import clean, real
from auditor.types import Array, AuditRecord, Json, Value


@dataclass(frozen=True)
class Grounds:
    """What all rules of an audit are judged on."""

    record: AuditRecord
    columns: Mapping[str, Array]
    """Of predictions.parquet, (N,) each."""
    policy: GateSettings
    names: tuple[str, ...]
    """Of the classes."""
    groups: Array | None = None
    """(N,) which images belong together; None where all are taken as independent."""
    pairs: Pairs | None = None
    """With the baseline; None where there is none."""


@dataclass(frozen=True)
class Paired:
    """A figure beside the baseline's on the same images."""

    today: float
    before: float
    pairs: int | None
    """None for a figure that is not made image by image."""
    broken: tuple[int, ...] = ()
    """Positions of the images that are newly wrong, worst first."""
    fixed: tuple[int, ...] = ()
    p: float | None = None
    """Of McNemar's exact test."""


@dataclass(frozen=True)
class Reading:
    """What is compared with the line: the figure itself, or how much it differs from the baseline's."""

    case: Case
    at: float | None
    line: float
    least: bool
    """It must be at least the line; at most else."""
    bounds: Callable[[float], Bounds]
    """Confidence -> the one-sided bounds."""
    exact: bool = False
    """Without sampling error."""
    n: int | None = None
    groups: int | None = None
    trouble: str = ""
    """Why no rule can pass on it."""
    remark: str = ""
    paired: Paired | None = None

    @property
    def counted(self) -> bool:
        """A plain share of independent images."""
        value = self.case.value
        return self.paired is None and self.groups is None and value is not None and value.kind == "proportion"


def nothing(_: float) -> Bounds:
    """No bounds at any confidence."""
    return None, None


def absolute(case: Case, grounds: Grounds) -> Reading:
    """A figure against a fixed line."""
    value, rule = case.value, case.rule
    assert value is not None, "a case without a figure is incomplete"
    least, at = rule.at_least is not None, real(value.value)
    found = None
    if grounds.groups is not None or case.rows is not None:
        found = material(rule.probe, rule.name, case.scope, value, grounds.columns, grounds.names)
    exact = value.kind == "exact"
    if found is None or exact:
        alone = "images taken as independent: it is not made image by image" if grounds.groups is not None and not exact else ""
        by = cache(lambda confidence: rebound(value, grounds.columns, confidence))
        return Reading(case, at, rule.line, least, by, exact, value.n, trouble=void(value), remark=alone)
    rows, positions = found.held(case.rows)
    groups = None if grounds.groups is None else grounds.groups[positions]
    count = None if groups is None else len(np.unique(groups))
    by = cache(lambda c: bounds_of(found.statistic, rows, seed=value.seed or 0, confidence=c, groups=groups))
    return Reading(case, at, rule.line, least, by, n=value.n, groups=count, trouble=void(value))


def void(value: Value) -> str:
    """What a flag says that makes a figure void; "" where none does."""
    flag = next((flag for flag in value.flags if flag.startswith("void:")), None)
    return "" if flag is None else f"it is void: {clean(flag.removeprefix('void:').strip(), longest=300)}"


def grouping(columns: Mapping[str, Array], group: str) -> Array | None:
    """(N,) the group of each image by the column `group`; an empty entry is a group of its own. None for no column."""
    if not group:
        return None
    column = columns.get(SLICE + group)
    if column is None:
        return None
    entries = ["" if entry is None else str(entry) for entry in column]
    return np.array([entry or f"\0{place}" for place, entry in enumerate(entries)], dtype=object)


def needed(reading: Reading, low: float | None, high: float | None, confidence: float) -> int | None:
    """Samples that would decide it, if the figure stays as it is."""
    value = reading.case.value
    assert value is not None, "a case without a figure is incomplete"
    if reading.counted:
        return samples_to_decide(value, reading.line, confidence=confidence)
    spread = Value(reading.at, "statistic", value.unit, n=reading.n, low=low, high=high)
    return samples_to_decide(spread, reading.line, confidence=confidence)


def tells(reading: Reading, low: float | None, high: float | None, confidence: float) -> Mapping[str, Json]:
    """What so many samples can tell apart; {} for an exact figure, and where it has no bounds."""
    value = reading.case.value
    if reading.exact or value is None or reading.at is None or low is None or high is None or not reading.n:
        return {}
    if reading.counted:
        return dict(share_power(reading.n, reading.line, least=reading.least, confidence=confidence))
    share = value.unit in ("share", "probability")
    span = (-math.inf, math.inf) if not share else (-1.0, 1.0) if reading.paired else (0.0, 1.0)
    from scipy.special import ndtri

    error = (high - low) / (2 * float(ndtri(confidence)))
    found = normal_power(reading.line, error, least=reading.least, confidence=confidence, low=span[0], high=span[1])
    return dict(found)


def regrouped(record: AuditRecord, columns: Mapping[str, Array], group: str) -> AuditRecord:
    """The audit with the interval of every figure that is made image by image bounded by group; as it is without a group."""
    groups = grouping(columns, group)
    if groups is None:
        return record
    names, sections = class_names(record), {}
    for probe, section in record.sections.items():
        values = {}
        for key, value in section.values.items():
            name, _, scope = key.partition(".")
            found = None if value.kind == "exact" else material(probe, name, scope, value, columns, names)
            values[key] = value if found is None else bounded(value, found, groups)
        sections[probe] = replace(section, values=values)
    return replace(record, sections=sections)


def bounded(value: Value, found: Material, groups: Array) -> Value:
    """A figure with its 90 % interval by group."""
    rows, positions = found.held()
    low, high = bounds_of(found.statistic, rows, seed=value.seed or 0, confidence=CONFIDENCE, groups=groups[positions])
    count = len(np.unique(groups[positions]))
    return replace(value, low=low, high=high, flags=(*value.flags, f"by {count:,} groups"))
