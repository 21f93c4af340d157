"""One plain sentence a rule, in figures that a release engineer reads at once."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from auditor.config import Rule
from auditor.gate.match import Case

if TYPE_CHECKING:
    from auditor.gate.reading import Reading

MOST_DIGITS = 6
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def clean(text: object, *, longest: int = 120) -> str:
    """A user's string on one line: control, direction and lone surrogate characters become U+FFFD, and it is cut."""
    shown = _CONTROLS.sub("\ufffd", str(text))
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def real(value: object) -> float | None:
    """A real, finite number, else None: a damaged audit passes nothing."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def number(value: float, unit: str, digits: int) -> str:
    """A figure without its unit: shares in percent to one decimal and more, others to three significant digits and more."""
    if unit == "share":
        return f"{100 * value:,.{digits + (2 if 0 < abs(value) < 0.01 else 1)}f}"
    if value.is_integer() and abs(value) < 1e9:
        return f"{int(value):,}"
    if 1e-4 <= abs(value) < 1e6:
        return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value)))) + digits}f}"
    return f"{value:.{2 + digits}e}"


def with_unit(text: str, unit: str) -> str:
    """A figure and its unit."""
    named = "%" if unit == "share" else clean(unit)
    return f"{text} {named}" if named else text


def line_of(rule: Rule, unit: str) -> str:
    """`at least 85 %`, `a loss of at most 1 point against the baseline`, as it was typed."""
    line = f"{100 * rule.line:.10g}" if unit == "share" else f"{rule.line:.10g}"
    if rule.paired:
        named = ("point" if line == "1" else "points") if unit == "share" else clean(unit)
        return f"a loss of at most {line} {named}".strip() + " against the baseline"
    return f"at {'least' if rule.at_least is not None else 'most'} {with_unit(line, unit)}"


def unlike_line(line: float, unit: str, others: list[float]) -> int:
    """Digits with which no figure looks like the line without being it."""
    apart = [x for x in others if x != line]
    unlike = (d for d in range(MOST_DIGITS) if number(line, unit, d) not in [number(x, unit, d) for x in apart])
    return next(unlike, MOST_DIGITS)


def counted(reading: Reading) -> list[str]:
    """`n = 2,000`, `n = 2,000 in 130 groups`, `n = 1,990 pairs`."""
    if reading.n is None:
        return []
    pairs = " pairs" if reading.paired is not None and reading.paired.pairs is not None else ""
    groups = f" in {reading.groups:,} groups" if reading.groups is not None else ""
    return [f"n = {reading.n:,}{pairs}{groups}"]


def figures(reading: Reading, low: float | None, high: float | None) -> str:
    """`80.5 % (78.9 to 81.9 %, n = 2,000)`, with so many digits that none looks like the line without being it."""
    at, unit = reading.at, unit_of(reading.case)
    assert at is not None, "sentence asks for figures that are there"
    ends = [float(end) for end in (low, high) if end is not None]
    digits = unlike_line(float(reading.line), unit, [at, *ends])
    shown = [number(float(x), unit, digits) for x in (at, *ends)]
    inside = [with_unit(f"{shown[1]} to {shown[2]}", unit)] if len(ends) == 2 else []
    inside += counted(reading)
    return with_unit(shown[0], unit) + (f" ({', '.join(inside)})" if inside else "")


def signed(value: float, unit: str, digits: int) -> str:
    """`+1.4`, `-0.3`, `0.0`."""
    shown = number(abs(value), unit, digits)
    return shown if not shown.strip("0.,") else ("+" if value > 0 else "\u2212") + shown


def compared(reading: Reading, low: float | None, high: float | None) -> str:
    """`79.1 % where the baseline has 80.5 %: -1.4 points (-2.6 to -0.3 points, n = 1,990 pairs)`."""
    pair, at, unit = reading.paired, reading.at, unit_of(reading.case)
    assert pair is not None, "sentence asks for pairs that are there"
    assert at is not None, "sentence asks for figures that are there"
    ends = [float(end) for end in (low, high) if end is not None]
    digits = unlike_line(abs(float(reading.line)), unit, [abs(x) for x in (at, *ends)])
    shown = [signed(float(x), unit, digits) for x in (at, *ends)]
    sides = [with_unit(number(x, unit, 0), unit) for x in (pair.today, pair.before)]
    named = "points" if unit == "share" else clean(unit)
    inside = [f"{shown[1]} to {shown[2]} {named}".strip()] if len(ends) == 2 else []
    inside += counted(reading)
    told = f"{sides[0]} where the baseline has {sides[1]}: {shown[0]} {named}".strip()
    return told + (f" ({', '.join(inside)})" if inside else "")


def flips(reading: Reading) -> str:
    """`41 newly wrong, 13 newly right (exact McNemar p = 0.0002)`; "" where no image is."""
    pair = reading.paired
    if pair is None or pair.p is None:
        return ""
    counts = f"{len(pair.broken):,} newly wrong, {len(pair.fixed):,} newly right"
    p = f"{pair.p:.2g}" if pair.p >= 1e-4 else f"{pair.p:.1e}"
    return f"{counts} (exact McNemar p = {p})" if pair.broken or pair.fixed else "no image has turned"


def title(case: Case) -> str:
    """`Top-1 accuracy`, `PSNR of blocks.2`, `Top-1 accuracy where mark is clean`."""
    named = clean(case.measure.title) if case.measure is not None else case.id.split(".")[1].replace("_", " ")
    named = f"{named[:1].upper()}{named[1:]}" + (f" of {clean(case.scope)}" if case.scope else "")
    column, _, entry = case.slice.partition("=")
    return f"{named} where {clean(column)} is {clean(entry) or '(empty)'}" if case.slice else named


def asked(case: Case) -> str:
    """`at least 85 % was asked for.`"""
    return f"{line_of(case.rule, unit_of(case))} was asked for."


def missing(case: Case) -> str:
    """The sentence of a case without a figure."""
    return f"{title(case)} {clean(case.trouble, longest=300)}; {asked(case)}"


def sentence(reading: Reading, low: float | None, high: float | None, remark: str = "") -> str:
    """The whole sentence; `remark` stands before the bound that was asked for."""
    case, n = reading.case, reading.n
    if reading.at is None:
        said = f"{title(case)} has no finite value" + (f" (n = {n:,})" if n is not None else "")
        said = said if not (case.rule.paired and reading.trouble) else title(case)
    elif reading.paired is not None:
        said = f"{title(case)} is {compared(reading, low, high)}"
    else:
        said = f"{title(case)} is {figures(reading, low, high)}"
    told = [part for part in (flips(reading), remark) if part]
    return "; ".join([said, *told, asked(case)])


def unit_of(case: Case) -> str:
    """The figure's unit, the measure's where there is none."""
    return case.value.unit if case.value is not None else case.measure.unit if case.measure is not None else ""
