"""The rules of a verdict as the page shows them: each with its interval, and what so many images can tell apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from markupsafe import Markup

from auditor.report import svg
from auditor.report.samples import Sample, Samples
from auditor.types import VERDICTS, Json, Outcome, Verdict

MOST_SHOWN, MOST_CARDS, MOST_ROWS = 9, 6, 400
WORDS: Mapping[str, str] = {**VERDICTS, "warn": "Warning"}
"""An outcome as a reader sees it."""
SIDES = ("at_least", "at_most", "no_worse_than_baseline_by")
OPEN = ("fail", "incomplete", "inconclusive", "warn")
UNPAIRED = "Not drawn: there is no difference to the baseline that could be set against the margin."


@dataclass(frozen=True)
class Ruled:
    """An outcome of the gate with the images behind it."""

    outcome: Outcome
    probe: str
    word: str
    shown: tuple[Sample, ...]
    more: int
    interval: Markup | None = None
    power: Markup | None = None
    tells: str = ""
    newly_right: tuple[Sample, ...] = ()
    waiver: str = ""
    """The lines for audit.toml that would let it through, where a waiver can."""
    undrawn: str = ""
    """Why there is nothing to draw."""


@dataclass(frozen=True)
class Group:
    """All outcomes of a rule on many classes or slices, in one picture."""

    title: str
    verdict: str
    word: str
    counts: str
    picture: Markup | None
    members: tuple[Ruled, ...]
    cut: int
    undrawn: str = ""


def ruled(outcome: Outcome, samples: Samples) -> Ruled:
    """An outcome with its first images and its pictures."""
    shown = tuple(samples[int(p)] for p in outcome.samples[:MOST_SHOWN])
    samples.mention(outcome.samples[:200])
    right = outcome.baseline.get("newly_right", {}).get("samples", ())
    line, at = line_of(outcome), compared(outcome)
    signed = bool(outcome.baseline)
    interval = power = None
    words = ""
    if line is not None and at is not None and outcome.least is not None:
        ends = (outcome.low, outcome.high)
        interval = svg.interval(at, ends, line, least=outcome.least, unit=outcome.unit, signed=signed)
        if outcome.tells:
            power = svg.power(outcome.tells, line, at, unit=outcome.unit, signed=signed)
            words = svg.told(outcome.tells, outcome.unit, signed)
    return Ruled(
        outcome,
        outcome.id.partition(".")[0],
        WORDS[outcome.verdict],
        shown,
        max(0, len(outcome.samples) - len(shown)),
        interval,
        power,
        words,
        tuple(samples[int(p)] for p in right[:MOST_SHOWN]),
        snippet(outcome),
        UNPAIRED if unpaired(outcome) else "",
    )


def unpaired(outcome: Outcome) -> bool:
    """A rule against the baseline that could not be compared with it: its figure is no difference."""
    return outcome.rule.get(SIDES[2]) is not None and not outcome.baseline


def line_of(outcome: Outcome) -> float | None:
    """The line in the terms of what is compared with it; None where there is nothing to compare."""
    if outcome.baseline:
        return float(outcome.baseline["line"])
    if unpaired(outcome):
        return None
    found = next((outcome.rule[side] for side in SIDES if outcome.rule.get(side) is not None), None)
    return None if found is None else float(found)


def compared(outcome: Outcome) -> float | None:
    """The figure, or its difference to the baseline's; None where there is none."""
    return outcome.baseline["difference"] if outcome.baseline else None if unpaired(outcome) else outcome.value


def snippet(outcome: Outcome) -> str:
    """A waiver for audit.toml; "" where none can help."""
    if outcome.verdict not in ("fail", "inconclusive") or not outcome.usable or outcome.value is None:
        return ""
    keys = {
        "measure": outcome.rule.get("measure", outcome.id),
        **{k: outcome.rule[k] for k in ("scope", "slice") if outcome.rule.get(k)},
    }
    lines = ["[[gate.waivers]]", 'id = "W1"', *(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in keys.items())]
    return "\n".join([*lines, 'owner = "name@example.org"', 'reason = "why this is accepted"', "expires = DAY  # within 30 days"])


def singles(verdict: Verdict, samples: Samples) -> tuple[Ruled, ...]:
    """The outcomes of rules on one figure, of waivers and of coverage."""
    return tuple(ruled(outcome, samples) for outcome in verdict.outcomes if outcome.many == 1)


def groups(verdict: Verdict, samples: Samples) -> tuple[Group, ...]:
    """The rules on many."""
    numbers = dict.fromkeys(o.number for o in verdict.outcomes if o.many > 1 and o.number is not None)
    return tuple(group([o for o in verdict.outcomes if o.number == number], samples) for number in numbers)


def group(members: Sequence[Outcome], samples: Samples) -> Group:
    """One of them: what it is on, how it stands, its picture, and its members from the worst."""
    first, counts = members[0], Counter(str(o.verdict) for o in members)
    line, least = next((line_of(o) for o in members if line_of(o) is not None), None), first.least is not False
    drawn = [
        svg.Member(str(o.rule.get("slice") or o.rule.get("scope")), o.verdict, at, o.low, o.high)
        for o in members
        if (at := compared(o)) is not None
    ]
    signed = any(o.baseline for o in members)
    picture = svg.many(drawn, line, least=least, unit=first.unit, signed=signed) if drawn and line is not None else None
    worst = next((name for name in (*OPEN, "waived") if counts[name]), "pass")
    place = {name: i for i, name in enumerate((*OPEN, "waived", "undecided", "pass"))}
    listed = sorted(members, key=lambda o: (place[o.verdict], at if (at := compared(o)) is not None and least else -(at or 0)))
    of = {str(o.rule.get("slice", "")).partition("=")[0] for o in members}
    title = f"{first.rule['measure']} on each {next(iter(of)) if of - {''} else 'class'}: {asked(first)}"
    said = ", ".join(f"{counts[name]:,} {WORDS[name].lower()}" for name in place if counts[name])
    return Group(
        title,
        worst,
        WORDS[worst],
        said,
        picture,
        tuple(ruled(o, samples) for o in listed[:MOST_ROWS]),
        max(0, len(listed) - MOST_ROWS),
        UNPAIRED if picture is None and all(unpaired(o) for o in members) else "",
    )


def asked(outcome: Outcome) -> str:
    """`at least 90 %`, `no more than 5 points below the baseline`."""
    side = next(name for name in SIDES if outcome.rule.get(name) is not None)
    line = f"{100 * outcome.rule[side]:.10g}" if outcome.unit == "share" else f"{outcome.rule[side]:.10g}"
    unit = "%" if outcome.unit == "share" else outcome.unit
    if side == SIDES[2]:
        return f"no worse than the baseline by {line} {'points' if outcome.unit == 'share' else unit}".strip()
    return f"{side.replace('_', ' ')} {line} {unit}".strip()


def failing(verdict: Verdict, samples: Samples) -> tuple[tuple[Ruled, ...], int]:
    """The outcomes of the first screen, what decides first, and how many more there are."""
    found = sorted(
        (o for o in verdict.outcomes if o.verdict in (*OPEN, "waived")), key=lambda o: (*OPEN, "waived").index(o.verdict)
    )
    return tuple(ruled(o, samples) for o in found[:MOST_CARDS]), max(0, len(found) - MOST_CARDS)


def expiry(verdict: Verdict) -> str:
    """The last day of a waiver that is written today: 30 days from the day of judgement, or a word."""
    return (date.fromisoformat(verdict.today) + timedelta(days=30)).isoformat() if verdict.today else "2026-12-31"


@dataclass(frozen=True)
class Drift:
    """A figure in the first baseline, in this one and today."""

    title: str
    id: str
    first: str
    baseline: str
    today: str
    change: str
    worse: bool


def drifts(baseline: Mapping[str, Json]) -> tuple[Drift, ...]:
    """How far figures have moved since the first baseline."""
    rows = []
    for row in baseline.get("drift", ()):
        first, today, unit = row["first"], row["today"], row["unit"]
        if first is None or today is None:
            continue
        moved = today - first
        worse = moved < 0 if row["direction"] == "higher" else moved > 0 if row["direction"] == "lower" else False
        sides = [svg.shown(x, unit) if x is not None else "–" for x in (first, row["baseline"], today)]
        points = " points" if unit == "share" else ""
        rows.append(
            Drift(row["title"], row["id"], sides[0], sides[1], sides[2], svg.shown(moved, unit, signed=True) + points, worse)
        )
    return tuple(rows)
