"""Small pictures of a rule, as inline SVG: its colours are the page's variables, so they follow the reader's theme.

Each has words for those who do not see it. Numbers alone go into the markup; every word in it is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from auditor.report.values import name, number
from auditor.types import Json

WIDTH, HIGH = 232, 78
LEFT, RIGHT, TOP, FOOT = 6, 6, 6, 16


@dataclass(frozen=True)
class Scale:
    """Values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 2)


def scale_of(values: Sequence[float], start: float, end: float, *, share: bool) -> Scale:
    """A scale that holds all values with some air; shares stay within 0 to 1 where the values do."""
    low, high = min(values), max(values)
    air = 0.12 * (high - low) or max(abs(high), 1e-9) * 0.05
    below, above = low - air, high + air
    if share and low >= 0:
        below = max(below, 0.0)
    if share and high <= 1:
        above = min(above, 1.0)
    return Scale(below, above if above > below else below + 1e-9, start, end)


def wrapped(parts: Sequence[str], width: int, height: int, words: str, kind: str) -> Markup:
    """The element. `parts` are made of numbers and escaped words."""
    head = f'<svg class="mini {kind}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="'
    return Markup(head) + escape(words) + Markup('">' + "".join(parts) + "</svg>")  # noqa: S704 - see the first lines


def label(x: float, y: float, text: str, anchor: str = "middle", style: str = "") -> str:
    """Words in the picture."""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" class="{style}">{escape(text)}</text>'


def shown(value: float, unit: str, *, signed: bool = False) -> str:
    """A number with its unit; of a difference of shares: in points."""
    text = number(value, unit)
    sign = "+" if signed and value > 0 and text.strip("0.") else ""
    tail = ("" if signed else " %") if unit == "share" else f" {unit}" if unit and len(unit) < 5 else ""
    return f"{sign}{text}{tail}".replace("-", "\u2212")


def interval(
    value: float, ends: tuple[float | None, float | None], line: float, *, least: bool | None, unit: str, signed: bool
) -> Markup:
    """The figure and its bounds against the line; the bad side is shaded, none where `least` is None."""
    low, high = (value if end is None else end for end in ends)
    x = scale_of([value, low, high, line], LEFT, WIDTH - RIGHT, share=unit == "share" and not signed)
    at, middle = x(line), 15
    bad = (LEFT, LEFT) if least is None else (LEFT, at) if least else (at, WIDTH - RIGHT)
    parts = [
        f'<rect class="bad" x="{bad[0]}" y="4" width="{round(max(bad[1] - bad[0], 0), 2)}" height="22"/>',
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="26" y2="26"/>',
        f'<line class="line" x1="{at}" x2="{at}" y1="2" y2="28"/>',
        f'<line class="reach" x1="{x(low)}" x2="{x(high)}" y1="{middle}" y2="{middle}"/>',
        f'<circle class="dot" cx="{x(value)}" cy="{middle}" r="4"/>',
        label(min(max(at, 24), WIDTH - 24), 39, shown(line, unit, signed=signed), style="quiet"),
    ]
    words = f"{shown(value, unit, signed=signed)}, from {shown(low, unit, signed=signed)} to {shown(high, unit, signed=signed)}"
    return wrapped(parts, WIDTH, 42, f"{words}; the line is {shown(line, unit, signed=signed)}", "interval")


def power(tells: Mapping[str, Json], line: float, value: float | None, *, unit: str, signed: bool) -> Markup:
    """How often the rule passes and fails, by what the truth is; the line and the figure are marked."""
    truth = [float(t) for t in tells["truth"]]
    x = Scale(truth[0], truth[-1], LEFT, WIDTH - RIGHT)
    y = Scale(0.0, 1.0, HIGH - FOOT, TOP)
    parts = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(0)}" y2="{y(0)}"/>']
    parts.append(f'<line class="line" x1="{x(line)}" x2="{x(line)}" y1="{TOP}" y2="{y(0)}"/>')
    for kind in ("fail", "pass"):
        points = " ".join(f"{x(t)},{y(float(c))}" for t, c in zip(truth, tells[kind], strict=True))
        parts.append(f'<polyline class="{kind}" points="{points}"/>')
    if value is not None and truth[0] <= value <= truth[-1]:
        parts.append(f'<path class="here" d="M{x(value)} {y(0)}l-4.5 7h9z"/>')
    for place, anchor in ((truth[0], "start"), (truth[-1], "end")):
        parts.append(label(x(place), HIGH - 3, shown(place, unit, signed=signed), anchor, "quiet"))
    return wrapped(
        parts, WIDTH, HIGH, f"Curves of how often it passes and fails, against the truth. {told(tells, unit, signed)}", "power"
    )


def told(tells: Mapping[str, Json], unit: str, signed: bool = False) -> str:
    """What so many samples can show, in one sentence."""
    points = " points" if signed and unit == "share" else ""
    good, bad = (tells.get(name) for name in ("sure_pass", "sure_fail"))
    near = "" if tells.get("exact") else "about "
    parts = []
    if good is not None:
        parts.append(f"passes 95 times in 100 where the truth is {near}{shown(good, unit, signed=signed)}{points}")
    if bad is not None:
        parts.append(f"fails 95 times in 100 where it is {near}{shown(bad, unit, signed=signed)}{points}")
    if good is None:
        parts.insert(0, "can hardly pass, whatever the truth")
    return f"With so many images it {', and '.join(parts)}."


@dataclass(frozen=True)
class Member:
    """One of many figures under a rule."""

    name: str
    verdict: str
    value: float
    low: float | None
    high: float | None


def many(members: Sequence[Member], line: float, *, least: bool, unit: str, signed: bool) -> Markup:
    """All figures of a rule on many classes or slices, from the worst: each with its bounds, the bad ones by name."""
    width, height = 720, 190
    ordered = sorted(members, key=lambda m: m.value if least else -m.value)
    ends = [e for m in ordered for e in (m.low, m.high) if e is not None and math.isfinite(e)]
    y = scale_of([line, *ends, *(m.value for m in ordered)], height - 26, 10, share=unit == "share" and not signed)
    start, end = 56.0, width - 8.0
    step = (end - start) / len(ordered)
    at = y(line)
    bad = (at, height - 26) if least else (10, at)
    parts = [
        f'<rect class="bad" x="{start}" y="{bad[0]}" width="{end - start}" height="{round(max(bad[1] - bad[0], 0), 2)}"/>',
        f'<line class="line" x1="{start}" x2="{end}" y1="{at}" y2="{at}"/>',
        label(start - 6, at + 3.5, shown(line, unit, signed=signed), "end"),
    ]
    extremes = (min(m.value for m in ordered), max(m.value for m in ordered))
    parts += [
        label(start - 6, y(v) + 3.5, shown(v, unit, signed=signed), "end", "quiet") for v in extremes if abs(y(v) - at) > 14
    ]
    for place, member in enumerate(ordered):
        x = round(start + (place + 0.5) * step, 2)
        if member.low is not None and member.high is not None and len(ordered) <= 240:
            parts.append(f'<line class="reach {member.verdict}" x1="{x}" x2="{x}" y1="{y(member.low)}" y2="{y(member.high)}"/>')
        radius = 3.5 if step > 9 else 2.2 if step > 4 else 1.4
        parts.append(f'<circle class="dot {member.verdict}" cx="{x}" cy="{y(member.value)}" r="{radius}"/>')
    parts += named([m for m in ordered if m.verdict in ("fail", "warn", "waived")], ordered, y, (start, step))
    parts.append(label(start, height - 8, f"{len(ordered):,} figures, from the worst to the best", "start", "quiet"))
    words = (
        f"{len(ordered):,} figures from {shown(extremes[0], unit, signed=signed)} to {shown(extremes[1], unit, signed=signed)}"
    )
    return wrapped(parts, width, height, f"{words}, against the line {shown(line, unit, signed=signed)}", "many")


@dataclass(frozen=True)
class Moment:
    """A figure in one of several audits."""

    name: str
    day: str
    verdict: str
    """Of the whole audit: the colour of its dot."""
    value: float
    low: float | None
    high: float | None


def trend(moments: Sequence[Moment], unit: str, line: float | None, *, least: bool) -> Markup:
    """A figure from audit to audit with its intervals, at equal distances; the line of its rule, its bad side shaded."""
    width, height, foot = 340, 132, 30
    ends = [end for m in moments for end in (m.low, m.high) if end is not None and math.isfinite(end)]
    y = scale_of(
        [*ends, *(m.value for m in moments), *([] if line is None else [line])], height - foot, 14, share=unit == "share"
    )
    start, end = 52.0, width - 46.0
    step = (end - start) / max(len(moments) - 1, 1)
    xs = [round(start + place * step, 2) for place in range(len(moments))]
    parts = [f'<line class="axis" x1="{LEFT}" x2="{width - RIGHT}" y1="{height - foot}" y2="{height - foot}"/>']
    if line is not None:
        at, bottom = y(line), height - foot
        bad = (at, bottom) if least else (14, at)
        shaded = round(max(bad[1] - bad[0], 0), 2)
        parts.append(f'<rect class="bad" x="{LEFT}" y="{bad[0]}" width="{width - LEFT - RIGHT}" height="{shaded}"/>')
        parts.append(f'<line class="line" x1="{LEFT}" x2="{width - RIGHT}" y1="{at}" y2="{at}"/>')
    parts.append(f'<polyline class="link" points="{" ".join(f"{x},{y(m.value)}" for x, m in zip(xs, moments, strict=True))}"/>')
    for x, m in zip(xs, moments, strict=True):
        if m.low is not None and m.high is not None:
            parts.append(f'<line class="reach {escape(m.verdict)}" x1="{x}" x2="{x}" y1="{y(m.low)}" y2="{y(m.high)}"/>')
        tip = f"{name(m.name, longest=60)}, {m.day}: {shown(m.value, unit)}, {m.verdict.replace('_', ' ')}"
        dot = f'<circle class="dot {escape(m.verdict)}" cx="{x}" cy="{y(m.value)}" r="4"><title>{escape(tip)}</title></circle>'
        parts.append(dot)
    for x, m, anchor, shift in ((xs[0], moments[0], "end", -9), (xs[-1], moments[-1], "start", 9)):
        parts.append(label(x + shift, y(m.value) + 3.5, shown(m.value, unit), anchor))
    parts.append(label(LEFT, height - 14, moments[0].day[:10], "start", "quiet"))
    parts.append(label(width - RIGHT, height - 14, moments[-1].day[:10], "end", "quiet"))
    first, last = (shown(m.value, unit) for m in (moments[0], moments[-1]))
    words = f"{len(moments)} audits, from {first} on {moments[0].day[:10]} to {last} on {moments[-1].day[:10]}"
    return wrapped(parts, width, height, words, "many trend")


def counts(numbers: Sequence[int], *, x_label: str, words: str) -> Markup:
    """Bars of whole numbers over the places 0, 1, 2, ..., each with its number."""
    width, height, foot = 440, 130, 30
    step, most = (width - LEFT - RIGHT) / max(len(numbers), 1), max(max(numbers, default=0), 1)
    y = Scale(0.0, most, height - foot, 18)
    parts = [f'<line class="axis" x1="{LEFT}" x2="{width - RIGHT}" y1="{height - foot}" y2="{height - foot}"/>']
    for place, count in enumerate(numbers):
        x, top = round(LEFT + (place + 0.5) * step, 2), y(count)
        wide = round(0.7 * step, 2)
        tall = round(height - foot - top, 2)
        parts.append(f'<rect class="bar" x="{round(x - wide / 2, 2)}" y="{top}" width="{wide}" height="{tall}"/>')
        parts.append(label(x, top - 4, f"{count:,}"))
        parts.append(label(x, height - foot + 12, str(place), style="quiet"))
    parts.append(label(width / 2, height - 4, x_label, style="quiet"))
    return wrapped(parts, width, height, words, "counts")


MOST_NAMES = 8


def named(bad: Sequence[Member], ordered: Sequence[Member], y: Scale, place: tuple[float, float]) -> list[str]:
    """The names of the bad ones beside their dots, the worst few."""
    start, step = place
    parts = []
    for member in bad[:MOST_NAMES]:
        x = start + (ordered.index(member) + 0.5) * step
        parts.append(label(round(x + 7, 2), y(member.value) + 3.5, name(member.name, longest=28), "start"))
    return parts
