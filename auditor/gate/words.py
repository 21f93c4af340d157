"""One plain sentence a rule, in figures that a release engineer reads at once."""

from __future__ import annotations

import math
import re

from auditor.config import Rule
from auditor.gate.match import Case

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
    """`at least 85 %`, as it was typed."""
    line = f"{100 * rule.line:.10g}" if unit == "share" else f"{rule.line:.10g}"
    return f"at {'least' if rule.at_least is not None else 'most'} {with_unit(line, unit)}"


def figures(case: Case, low: float | None, high: float | None) -> str:
    """`80.5 % (78.9 to 81.9 %, n = 2,000)`, with so many digits that none looks like the line without being it."""
    value = case.value
    assert value is not None, "sentence asks for figures that are there"
    assert value.value is not None, "sentence asks for figures that are there"
    ends = [end for end in (low, high) if end is not None]
    apart = [float(x) for x in (value.value, *ends) if x != case.rule.line]
    line = float(case.rule.line)
    unlike = (d for d in range(MOST_DIGITS) if number(line, value.unit, d) not in [number(x, value.unit, d) for x in apart])
    digits = next(unlike, MOST_DIGITS)
    shown = [number(float(x), value.unit, digits) for x in (value.value, *ends)]
    inside = [with_unit(f"{shown[1]} to {shown[2]}", value.unit)] if len(ends) == 2 else []
    inside += [f"n = {value.n:,}"] if value.n is not None else []
    return with_unit(shown[0], value.unit) + (f" ({', '.join(inside)})" if inside else "")


def title(case: Case) -> str:
    """`Top-1 accuracy`, `PSNR of blocks.2`."""
    named = clean(case.measure.title) if case.measure is not None else case.id.split(".")[1].replace("_", " ")
    return f"{named[:1].upper()}{named[1:]} of {clean(case.scope)}" if case.scope else f"{named[:1].upper()}{named[1:]}"


def sentence(case: Case, low: float | None, high: float | None, remark: str = "") -> str:
    """The whole sentence; `remark` stands before the bound that was asked for."""
    value = case.value
    asked = f"{line_of(case.rule, value.unit if value is not None else unit_of(case))} was asked for."
    if value is None:
        said = f"{title(case)} {clean(case.trouble, longest=300)}"
    elif real(value.value) is None:
        said = f"{title(case)} has no finite value" + (f" (n = {value.n:,})" if value.n is not None else "")
    else:
        said = f"{title(case)} is {figures(case, low, high)}"
    return f"{said}; {remark + '; ' if remark else ''}{asked}"


def unit_of(case: Case) -> str:
    """The measure's unit where there is no value."""
    return case.measure.unit if case.measure is not None else ""
