"""From a rule's figures to its outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from auditor.gate.against import against
from auditor.gate.behind import samples
from auditor.gate.classes import name_of, worst_class
from auditor.gate.many import shown_bad
from auditor.gate.match import Case, Cases
from auditor.gate.reading import Grounds, Reading, absolute, needed, tells
from auditor.gate.words import clean, missing, real, sentence, title, unit_of
from auditor.types import Array, Json, Outcome

State: TypeAlias = Literal["pass", "fail", "undecided", "unusable"]
"""`undecided`: only the sampling error stands between; `unusable`: no figure that a rule could pass on."""
Name: TypeAlias = Literal["pass", "fail", "warn", "inconclusive", "undecided"]

POINT = "judged by the value alone"


def outcomes(cases: Cases, number: int, grounds: Grounds) -> tuple[Outcome, ...]:
    """One outcome a figure. `number`: which rule of the policy it is."""
    rule, many = cases.rule, len(cases.members) if cases.many else 1
    absent = {place: absence(case, number, grounds) for place, case in enumerate(cases.members) if case.value is None}
    if rule.paired and grounds.pairs is None and len(absent) < len(cases.members):
        return (no_baseline(cases, number, grounds),)
    read = against if rule.paired else absolute
    readings = {place: read(case, grounds) for place, case in enumerate(cases.members) if place not in absent}
    confidence, bad = grounds.policy.confidence, set[int]()
    level = confidence
    if cases.many and grounds.policy.decide == "bounds":
        places = list(readings)
        found, level = shown_bad(list(readings.values()), confidence)
        bad = {places[i] for i in found}
    made = []
    for place in range(len(cases.members)):
        if place in absent:
            made.append(absent[place])
            continue
        reading = readings[place]
        low, high = ends(reading, confidence, level)
        state, remark = state_of(reading, low, high, grounds)
        if cases.many and grounds.policy.decide == "bounds" and not reading.exact and state == "fail" and place not in bad:
            state = "undecided"
        made.append(settled(reading, (low, high), state, remark, number=number, many=many, grounds=grounds))
    return tuple(made)


def ends(reading: Reading, confidence: float, level: float) -> tuple[float | None, float | None]:
    """The bounds that decide: the one that can pass at the policy's confidence, the one that can fail at Holm's level."""
    low, high = reading.bounds(confidence)
    if level == confidence:
        return low, high
    far = reading.bounds(level)
    return (low, far[1]) if reading.least else (far[0], high)


def absence(case: Case, number: int, grounds: Grounds) -> Outcome:
    """There is no figure. Of a preset that is a warning, unless the probe failed: presets are for models of all kinds."""
    section = grounds.record.sections.get(case.rule.probe)
    given = number >= len(grounds.policy.rules) and (section is None or section.status != "failed")
    return Outcome(
        case.id, "warn" if given else "incomplete", missing(case), as_json(case), unit=unit_of(case), usable=False, number=number
    )


def no_baseline(cases: Cases, number: int, grounds: Grounds) -> Outcome:
    """There is nothing to compare with: one outcome for the whole rule."""
    case = cases.members[0]
    whole = Case(case.rule, case.measure, case.rule.part, case.value, slice=case.rule.slice or "")
    named = grounds.policy.on_missing_baseline
    name: Name = "warn" if named == "warn" or case.rule.level == "warn" else named
    said = f"{title(whole)} has nothing to be compared with: there is no baseline yet; `auditor baseline set` makes one."
    return Outcome(whole.id, name, said, as_json(whole), usable=False, number=number)


def state_of(reading: Reading, low: float | None, high: float | None, grounds: Grounds) -> tuple[State, str]:
    """Where a figure stands to the line, and what the sentence has to say of it."""
    at, line = reading.at, reading.line
    if reading.trouble:
        return "unusable", reading.trouble
    if at is None:
        return "unusable", ""
    if reading.exact or grounds.policy.decide == "point":
        good = at >= line if reading.least else at <= line
        return ("pass" if good else "fail"), ("" if reading.exact else POINT)
    if low is None or high is None:
        return "unusable", "it has no interval"
    if reading.least:
        return ("pass" if low >= line else "fail" if high < line else "undecided"), ""
    return ("pass" if high <= line else "fail" if low > line else "undecided"), ""


def named(state: State, reading: Reading, many: bool) -> tuple[Name, str]:
    """The outcome that level and on_inconclusive make of a state, and what the sentence has to say of that."""
    rule = reading.case.rule
    bad: Name = "warn" if rule.level == "warn" else "fail"
    if state == "pass":
        return "pass", ""
    if state == "fail":
        return bad, ""
    if rule.on_inconclusive == "fail":
        return bad, "undecided, which the policy counts as failed"
    if rule.on_inconclusive == "pass" and state == "undecided":
        return "pass", "undecided, which the policy lets pass"
    if many and state == "undecided" and not rule.require_proof:
        return "undecided", ""
    return ("warn", "undecided") if rule.level == "warn" else ("inconclusive", "")


def settled(
    reading: Reading,
    bounds: tuple[float | None, float | None],
    state: State,
    remark: str,
    *,
    number: int,
    many: int,
    grounds: Grounds,
) -> Outcome:
    """The whole outcome."""
    case, (low, high), confidence = reading.case, bounds, grounds.policy.confidence
    name, aside = named(state, reading, many > 1)
    shared = (
        f"its error is shared over {many:,} figures" if many > 1 and name in ("fail", "undecided") and not reading.exact else ""
    )
    remarks = [worst_named(case, grounds), reading.remark, shared, remark, aside]
    behind = () if name in ("pass", "undecided") else behind_it(reading, grounds)
    more = needed(reading, low, high, confidence) if state == "undecided" and many == 1 else None
    assert case.value is not None, "a case without a figure is absent"
    shown = reading.paired.today if reading.paired is not None else case.value.value
    return Outcome(
        id=case.id,
        verdict=name,
        sentence=sentence(reading, low, high, "; ".join(part for part in remarks if part)),
        rule=as_json(case),
        value=real(shown),
        low=low,
        high=high,
        n=reading.n,
        needed=more,
        samples=behind,
        names=names_of(behind, grounds.columns),
        unit=unit_of(case),
        least=reading.least,
        usable=state != "unusable",
        number=number,
        many=many,
        groups=reading.groups,
        baseline=beside(reading, grounds.columns),
        tells=tells(reading, low, high, confidence) if many == 1 and state != "unusable" else {},
    )


def behind_it(reading: Reading, grounds: Grounds) -> tuple[int, ...]:
    """Positions of the images to look at: every one that is newly wrong, else the worst of the figure."""
    if reading.paired is not None and reading.paired.p is not None:
        return reading.paired.broken
    return samples(reading.case, grounds.columns, grounds.names)


def names_of(positions: tuple[int, ...], columns: Mapping[str, Array]) -> tuple[str, ...]:
    """File names of images; empty where the audit has none."""
    if not positions or "name" not in columns:
        return ()
    names = columns["name"]
    return tuple(str(names[place]) for place in positions)


def beside(reading: Reading, columns: Mapping[str, Array]) -> Mapping[str, Json]:
    """What gate.json says of the baseline's figure."""
    pair = reading.paired
    if pair is None:
        return {}
    right = {"samples": list(pair.fixed), "names": list(names_of(pair.fixed, columns))}
    counts = (
        {"broken": len(pair.broken), "fixed": len(pair.fixed), "p": pair.p, "newly_right": right} if pair.p is not None else {}
    )
    return {"value": pair.before, "difference": reading.at, "line": reading.line, "pairs": pair.pairs, **counts}


def worst_named(case: Case, grounds: Grounds) -> str:
    """Which class the lowest recall is of; "" for another measure."""
    if f"{case.rule.probe}.{case.rule.name}" != "performance.worst_class_recall" or case.rows is not None:
        return ""
    worst = worst_class(grounds.columns)
    values = grounds.record.sections["performance"].values
    return "" if worst is None else f"the class is {clean(name_of(worst, grounds.columns, grounds.names, values))}"


def as_json(case: Case) -> Mapping[str, Json]:
    """The rule as gate.json holds it, its scope spelt out."""
    rule = case.rule.model_dump(mode="json", exclude_none=True, exclude={"scope", "slice", "require_proof"})
    named = {"scope": case.scope, "slice": case.slice} if case.slice else {"scope": case.scope} if case.scope else {}
    found = {**rule, "measure": f"{case.rule.probe}.{case.rule.name}", **named}
    return {**found, **({"require_proof": True} if case.rule.require_proof else {})}
