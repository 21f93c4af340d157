"""A verdict as short Markdown: what a CI job shows beside itself. A user's string stays text: no markup, no HTML, no link."""

from __future__ import annotations

import math
import re

from auditor.types import VERDICTS, AuditRecord, Outcome, Value, Verdict

MOST_RULES, MOST_FIGURES, MOST_BYTES = 100, 60, 1_000_000
"""Rows of either table, and the whole: GitHub drops a summary above 1 MiB."""
ORDER = ("fail", "incomplete", "inconclusive", "warn", "waived", "undecided", "pass")
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~$@])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", ":": "&#58;"}
"""The colon too: without it no bare address becomes a link."""


def escaped(text: object, *, longest: int = 600) -> str:
    """Any text on one line, as itself in Markdown and in HTML; cut after `longest` characters."""
    shown = _INVISIBLE.sub("\ufffd", str(text))
    shown = shown if len(shown) <= longest else shown[: longest - 1] + "…"
    shown = _MARKUP.sub(r"\\\1", shown)
    return "".join(_ENTITIES.get(character, character) for character in shown)


def summary(record: AuditRecord, verdict: Verdict) -> str:
    """The document: verdict, why, the rules, the figures; under 1 MiB."""
    parts = [
        f"## {VERDICTS[verdict.verdict]}: {escaped(record.name, longest=120)}",
        escaped(verdict.why),
        *against(verdict),
        *rules(verdict),
        *waivers(verdict),
        *values(record),
    ]
    parts.append(f"Exit code {verdict.exit_code}. The report is index.html; gate.json has every outcome with its images.")
    text = "\n\n".join(parts) + "\n"
    data = text.encode()
    return text if len(data) <= MOST_BYTES else data[:MOST_BYTES].decode(errors="ignore") + "\n"


def against(verdict: Verdict) -> list[str]:
    """What it was compared with."""
    found = verdict.baseline
    if not found:
        return []
    trouble = f" {escaped(found['trouble'])}." if found.get("trouble") else ""
    same = f"{found['images']:,} of the images are the same ({100 * found['overlap']:.1f} %)"
    return [f"Baseline: {escaped(found['name'], longest=120)} of {escaped(found['made'])}; {same}.{trouble}"]


def waivers(verdict: Verdict) -> list[str]:
    """Every waiver of the policy, also those that are expired or unused."""
    rows = [
        f"| {escaped(w['standing'])} | {escaped(w['covers'], longest=200)} | {escaped(w['owner'])} | {escaped(w['reason'])} "
        f"| {escaped(w['expires'])} |"
        for w in verdict.waivers[:MOST_RULES]
    ]
    head = ["| waiver | of | owner | reason | last day |", "| --- | --- | --- | --- | --- |"]
    return ["\n".join([*head, *rows])] if rows else []


def rules(verdict: Verdict) -> list[str]:
    """The table of rules, what decides first; nothing without a rule. Of a rule on many only what is not passed."""
    shown = [outcome for outcome in verdict.outcomes if outcome.many == 1 or outcome.verdict != "pass"]
    passed = len(verdict.outcomes) - len(shown)
    if not verdict.outcomes:
        return []
    listed = sorted(shown, key=lambda outcome: ORDER.index(outcome.verdict))
    rows = [f"| {VERDICTS[o.verdict]} | {escaped(o.id, longest=200)} | {told(o)} |" for o in listed[:MOST_RULES]]
    table = "\n".join(["| verdict | figure | why |", "| --- | --- | --- |", *rows])
    also = [f"{passed:,} more classes or slices pass."] if passed else []
    return [table, *more(len(listed) - MOST_RULES, "rules"), *also]


def told(outcome: Outcome) -> str:
    """An outcome's sentence, and what would decide it."""
    needed = f" About {outcome.needed:,} samples would decide it." if outcome.needed else ""
    return escaped(outcome.sentence) + needed


def values(record: AuditRecord) -> list[str]:
    """The table of figures in the order of the sections, those without a scope first."""
    rows = []
    for probe, section in record.sections.items():
        titles = {measure.name: measure.title for measure in record.catalogue.get(probe, ())}
        for key, value in section.values.items():
            name, _, scope = key.partition(".")
            title = titles.get(name, name) + (f" of {scope}" if scope else "")
            rows.append(
                (bool(scope), f"| {escaped(title, longest=200)} | {figure(value)} | {interval(value)} | {count(value)} |")
            )
    if not rows:
        return []
    lines = [row for _, row in sorted(rows, key=lambda row: row[0])]
    head = ["| figure | value | 90 % interval | n |", "| --- | ---: | ---: | ---: |"]
    return ["\n".join([*head, *lines[:MOST_FIGURES]]), *more(len(lines) - MOST_FIGURES, "figures")]


def more(count: int, what: str) -> list[str]:
    """How many rows were left out."""
    return [f"and {count:,} more {what} in the report"] if count > 0 else []


def number(value: float | None, unit: str) -> str:
    """A share in percent, others in three significant digits; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{100 * value:.1f} %" if unit == "share" else f"{value:,.3g}" if abs(value) < 1e3 else f"{value:,.0f}"


def figure(value: Value) -> str:
    """The value with its unit; a void one says so."""
    unit = "" if value.unit == "share" or value.value is None else f" {escaped(value.unit, longest=40)}"
    void = " (void)" if any(flag.startswith("void:") for flag in value.flags) else ""
    return f"{number(value.value, value.unit)}{unit}{void}".strip()


def interval(value: Value) -> str:
    """`78.9 % to 81.9 %`."""
    if value.low is None or value.high is None:
        return ""
    return f"{number(value.low, value.unit)} to {number(value.high, value.unit)}"


def count(value: Value) -> str:
    """n."""
    return f"{value.n:,}" if value.n is not None else ""
