"""How figures went over several audits of one data set: charts for the list of audits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditor.config.moved import today_of
from auditor.report import svg
from auditor.report.values import FIRST, name
from auditor.types import AuditRecord, Json, Section, Value, Verdict

MOST_CHARTS, MOST_POINTS = 6, 40
FEWEST = 2


@dataclass(frozen=True)
class Past:
    """One audit, as far as a trend reads it."""

    name: str
    day: str
    """Of the clock, to the minute."""
    order: float
    record: AuditRecord
    verdict: Verdict


@dataclass(frozen=True)
class Chart:
    """One figure over time."""

    id: str
    title: str
    picture: Markup
    left_out: int
    """Audits that hold the figure, but under other settings or of another meaning."""


@dataclass(frozen=True)
class Trend:
    """The audits of one data set."""

    data: str
    audits: int
    images: int | None
    first: str
    last: str
    charts: tuple[Chart, ...]


def trends(past: Sequence[Past]) -> tuple[Trend, ...]:
    """One for each data set of at least two audits, the most recent first."""
    groups: dict[str, list[Past]] = {}
    for one in sorted(past, key=lambda p: (p.order, p.name)):
        digest = one.record.provenance.get("dataset_digest")
        if isinstance(digest, str) and digest:
            groups.setdefault(digest, []).append(one)
    found = [trend(digest, members) for digest, members in groups.items() if len(members) >= FEWEST]
    whole = [t for t in found if t.charts]
    last = {digest: members[-1].order for digest, members in groups.items()}
    return tuple(sorted(whole, key=lambda t: (-last[t.data], t.data)))


def trend(digest: str, members: Sequence[Past]) -> Trend:
    """The figures that the gate of the newest audit asks for, then the most telling ones."""
    newest = members[-1]
    lines = {today_of(o.id): o.rule for o in newest.verdict.outcomes if o.many == 1 and o.number is not None and "[" not in o.id}
    held = {today_of(f"{probe}.{key}") for probe, section in newest.record.sections.items() for key in section.values}
    wanted = [id for id in dict.fromkeys([*lines, *(today_of(id) for id in FIRST)]) if id in held]
    charts = [chart(id, members, lines.get(id, {})) for id in wanted]
    listed = newest.record.dataset.get("listed")
    return Trend(
        digest, len(members), listed if isinstance(listed, int) else None, members[0].day, newest.day,
        tuple(c for c in charts if c is not None)[:MOST_CHARTS],
    )  # fmt: skip


def chart(id: str, members: Sequence[Past], rule: Mapping[str, Json]) -> Chart | None:
    """One figure, from the audits that hold it under the newest one's settings; None for fewer than two."""
    newest = held(id, members[-1].record)
    assert newest is not None, "trend asks for what the newest holds"
    same, left_out = [], 0
    for one in members:
        found = held(id, one.record)
        if found is None or found[1].value is None or any(flag.startswith("void:") for flag in found[1].flags):
            continue
        if made(id, one.record, found[0], newest[0]) != made(id, members[-1].record, newest[0], newest[0]):
            left_out += 1
            continue
        value = found[1]
        same.append(svg.Moment(one.name, one.day, one.verdict.verdict, float(found[1].value), value.low, value.high))
    if len(same) < FEWEST:
        return None
    line = next((rule[side] for side in ("at_least", "at_most") if rule.get(side) is not None), None)
    measure = next((m for m in members[-1].record.catalogue.get(newest[0].id, ()) if m.name == id.split(".")[1]), None)
    scope = id.split(".", 2)[2:]
    title = (measure.title if measure else id) + (f" of {name(scope[0])}" if scope else "")
    picture = svg.trend(
        same[-MOST_POINTS:], newest[1].unit, None if line is None else float(line), least=rule.get("at_least") is not None
    )
    return Chart(id, title, picture, left_out)


def held(id: str, record: AuditRecord) -> tuple[Section, Value] | None:
    """A figure by the name that it has today, with its section."""
    for section in record.sections.values():
        for key, value in section.values.items():
            if today_of(f"{section.id}.{key}") == id:
                return section, value
    return None


def made(id: str, record: AuditRecord, section: Section, newest: Section) -> tuple[int, Mapping[str, Json]]:
    """What must be equal: the revision of the measure, and the settings that alter figures."""
    measure = next((m for m in record.catalogue.get(section.id, ()) if m.name == id.split(".")[1]), None)
    settings = {key: value for key, value in section.parameters.items() if key not in newest.only_shown}
    return (measure.revision if measure else 0), settings
