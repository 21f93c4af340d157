"""Two audits on the same images: the difference of every figure, the classes shown worse or better, every image that turned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from auditor.bounds import Bounds
from auditor.config import GateSettings, Rule
from auditor.config.moved import today_of
from auditor.gate.against import against
from auditor.gate.behind import by_key
from auditor.gate.classes import RECALL, class_names, recalls
from auditor.gate.likeness import Likeness
from auditor.gate.many import shown_bad
from auditor.gate.match import Case
from auditor.gate.pairs import Pairs, with_moved
from auditor.gate.reading import Grounds, Reading
from auditor.types import Array, AuditRecord, Baseline, Measure, Value

ONE_SIDED = 0.1
"""McNemar's two-sided p up to which a change is shown to one side at 95 %."""


@dataclass(frozen=True)
class Difference:
    """One figure on both sides."""

    id: str
    title: str
    scope: str
    unit: str
    better: str
    """"higher", "lower" or "none"."""
    before: float | None
    today: float | None
    difference: float | None
    low: float | None = None
    high: float | None = None
    """One-sided 95 % bounds of the difference each: together the two-sided 90 % interval."""
    n: int | None = None
    broken: int | None = None
    fixed: int | None = None
    p: float | None = None
    """Of McNemar's exact test."""
    trouble: str = ""
    shown: str = ""
    """"worse" or "better" where that is shown; of classes: with the error held over all of them."""


@dataclass(frozen=True)
class Turned:
    """An image that is newly wrong or newly right."""

    position: int
    """In today's audit."""
    name: str
    label: int
    before: int
    today: int
    """What either model takes it for."""


@dataclass(frozen=True)
class Comparison:
    """Today's audit beside another one."""

    before: str
    today: str
    images: int
    """In common, by content."""
    overlap: float
    relabelled: int
    trouble: str
    """Why the two cannot be compared; "" where they can."""
    figures: tuple[Difference, ...]
    classes: tuple[Difference, ...]
    """Recall by class, the most worsened first."""
    broken: tuple[Turned, ...]
    fixed: tuple[Turned, ...]
    """Worst first."""
    left_out: tuple[str, ...]
    """Figures that only one side has."""
    matched: tuple[Array, Array]
    """(M,) positions today, and (M,) those of the same images in the other audit."""
    likeness: Likeness | None = None
    """How alike both see the images: from what the two folders hold beside their figures."""


def compare(record: AuditRecord, columns: Mapping[str, Array], baseline: Baseline, *, confidence: float = 0.95) -> Comparison:
    """`record`: today's audit; `baseline`: the other one."""
    pairs = Pairs(with_moved(baseline), record, columns)
    grounds = Grounds(record, columns, GateSettings(confidence=confidence), class_names(record), pairs=pairs)
    figures = [*differences(grounds)]
    ids = {today_of(found.id) for found in figures}
    only = sorted(id for id in set(ids_of(record)) ^ set(baseline.values) if id.count(".") == 1 and today_of(id) not in ids)
    broken, fixed = flips(pairs)
    return Comparison(
        baseline.name,
        record.name,
        len(pairs.matched[0]),
        pairs.overlap,
        int(pairs.relabelled.sum()),
        pairs.difference,
        tuple(figures),
        by_class(grounds),
        broken,
        fixed,
        tuple(only),
        pairs.matched,
    )


def ids_of(record: AuditRecord) -> list[str]:
    """All figures of an audit."""
    return [f"{probe}.{key}" for probe, section in record.sections.items() for key in section.values]


def differences(grounds: Grounds) -> list[Difference]:
    """Every figure that both sides have, but the recalls of single classes."""
    assert grounds.pairs is not None, "compare makes them"
    found = []
    for probe, section in grounds.record.sections.items():
        measures = {measure.name: measure for measure in grounds.record.catalogue.get(probe, ())}
        for key, value in section.values.items():
            name, _, scope = key.partition(".")
            if (probe, name) != RECALL and name in measures and f"{probe}.{key}" in grounds.pairs.baseline.values:
                reading = reading_of(probe, measures[name], scope, value, grounds)
                found.append(difference(reading, measures[name], reading.bounds(grounds.policy.confidence)))
    return found


def reading_of(probe: str, measure: Measure, scope: str, value: Value, grounds: Grounds) -> Reading:
    """A figure against the baseline's, without a margin: its line is 0."""
    rule = Rule(measure=f"{probe}.{measure.name}", no_worse_than_baseline_by=1e-300)
    return against(Case(rule, measure, scope, value), grounds)


def difference(reading: Reading, measure: Measure, bounds: Bounds, shown: str | None = None) -> Difference:
    """A reading in the terms of a comparison."""
    pair, case, (low, high) = reading.paired, reading.case, bounds
    told = shown if shown is not None else standing(reading, measure, bounds)
    return Difference(
        case.id,
        measure.title,
        case.scope,
        measure.unit,
        measure.direction,
        None if pair is None else pair.before,
        pair.today if pair is not None else case.value.value if case.value is not None else None,
        None if pair is None else reading.at,
        low,
        high,
        reading.n,
        None if pair is None or pair.p is None else len(pair.broken),
        None if pair is None or pair.p is None else len(pair.fixed),
        None if pair is None else pair.p,
        reading.trouble,
        told,
    )


def standing(reading: Reading, measure: Measure, bounds: Bounds) -> str:
    """Shown worse or better: the whole interval lies on one side of no difference."""
    low, high = (reading.at, reading.at) if reading.exact else bounds
    if reading.paired is None or low is None or high is None or measure.direction == "none":
        return ""
    counted = reading.case.value is not None and reading.case.value.kind == "proportion"
    if counted and reading.paired.p is not None and reading.paired.p > ONE_SIDED:
        return ""  # at the edge the two tests differ; what is said holds by both
    up = "better" if measure.direction == "higher" else "worse"
    down = "worse" if measure.direction == "higher" else "better"
    return up if low > 0 else down if high < 0 else ""


def by_class(grounds: Grounds) -> tuple[Difference, ...]:
    """Each class's recall; worse and better ones are shown with the error held over all classes."""
    measure = next((m for m in grounds.record.catalogue.get("performance", ()) if m.name == "recall"), None)
    if measure is None or grounds.pairs is None:
        return ()
    held = recalls(grounds.columns, grounds.names)
    readings = [reading_of("performance", measure, scope, value, grounds) for scope, value in held.items()]
    readings = [reading for reading in readings if reading.paired is not None]
    if not readings:
        return ()
    confidence = grounds.policy.confidence
    worse, level = shown_bad(readings, confidence)
    turned = [Reading(**{**vars(reading), "least": not reading.least}) for reading in readings]
    better, other = shown_bad(turned, confidence)
    found = []
    for place, reading in enumerate(readings):
        low, high = reading.bounds(other)[0], reading.bounds(level)[1]
        found.append(
            difference(reading, measure, (low, high), "worse" if place in worse else "better" if place in better else "")
        )
    return tuple(sorted(found, key=lambda d: (d.difference or 0.0, d.id)))


def flips(pairs: Pairs) -> tuple[tuple[Turned, ...], tuple[Turned, ...]]:
    """Every image that is newly wrong, and every one that is newly right, worst first."""
    if "correct" not in pairs.today or "correct" not in pairs.before:
        return (), ()
    now, then = (np.asarray(side["correct"], dtype=np.float64) for side in (pairs.today, pairs.before))

    def turned(where: Array) -> tuple[Turned, ...]:
        at = np.flatnonzero(where)
        positions = pairs.matched[0][at]
        order = by_key(np.zeros(len(at)), positions, pairs.columns)
        return tuple(one(pairs, int(place)) for place in at[order])

    return turned(now < then), turned(now > then)


def one(pairs: Pairs, place: int) -> Turned:
    """The image at a place among the matched ones."""
    position = int(pairs.matched[0][place])
    name = str(pairs.columns["name"][position]) if "name" in pairs.columns else f"number {position}"
    label, before, today = (
        int(column[place]) for column in (pairs.before["label"], pairs.before["predicted"], pairs.today["predicted"])
    )
    return Turned(position, name, label, before, today)
