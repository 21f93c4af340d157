"""A verdict as JUnit XML: one suite a probe, one case a rule and scope.

    fail          failure
    inconclusive  failure of type "inconclusive": JUnit knows no third answer, and a figure that was not shown good is not passed
    incomplete    error
    warn          passed, the sentence in system-out
    waived        skipped
    undecided     passed, the sentence in system-out: one of many classes or slices, which blocks nothing
    pass          passed

So failures and errors together are zero exactly where the exit code is 0.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter

from auditor.types import AuditRecord, Outcome, Verdict

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SIDES = ("at_least", "at_most", "no_worse_than_baseline_by")
MOST_NAMED = 20
"""Images that a failing case lists; gate.json has them all."""


def legal(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return _ILLEGAL.sub("\ufffd", text)


def junit(record: AuditRecord, verdict: Verdict) -> str:
    """The document. Its names are unique; a verdict that fails without a failing outcome gets a case of its own."""
    outcomes = verdict.outcomes
    if verdict.exit_code != 0 and not any(o.verdict in ("fail", "incomplete", "inconclusive") for o in outcomes):
        outcomes = (*outcomes, Outcome("gate.verdict", "incomplete", verdict.why, {}))
    suites: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        suites.setdefault(outcome.id.partition(".")[0], []).append(outcome)
    root = ET.Element("testsuites", {"name": legal(f"auditor: {record.name}")} | counts(outcomes, suite=False))
    for probe, members in suites.items():
        suite = ET.SubElement(root, "testsuite", {"name": legal(probe)} | counts(members))
        seen: Counter[str] = Counter()
        for outcome in members:
            add_case(suite, probe, outcome, seen)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def counts(outcomes: list[Outcome] | tuple[Outcome, ...], *, suite: bool = True) -> dict[str, str]:
    """The counters of a suite, or of the whole: Jenkins' schema knows `skipped` on a suite alone."""
    found = Counter(o.verdict for o in outcomes)
    failures = found["fail"] + found["inconclusive"]
    names = {"tests": len(outcomes), "failures": failures, "errors": found["incomplete"]}
    names |= {"skipped": found["waived"]} if suite else {}
    return {name: str(count) for name, count in names.items()} | {"time": "0"}


def add_case(suite: ET.Element, probe: str, outcome: Outcome, seen: Counter[str]) -> None:
    """One testcase; the bound and the level tell two rules on one figure apart, a number what is still equal."""
    name = legal(f"{outcome.id.partition('.')[2]} {line_of(outcome)}".strip())
    seen[name] += 1
    unique = name if seen[name] == 1 else f"{name} #{seen[name]}"
    case = ET.SubElement(suite, "testcase", {"classname": legal(f"auditor.{probe}"), "name": unique, "time": "0"})
    said = legal(outcome.sentence)
    if outcome.verdict in ("fail", "inconclusive"):
        ET.SubElement(case, "failure", {"type": outcome.verdict, "message": said}).text = legal(body(outcome))
    elif outcome.verdict == "incomplete":
        ET.SubElement(case, "error", {"type": "incomplete", "message": said}).text = legal(body(outcome))
    elif outcome.verdict == "waived":
        ET.SubElement(case, "skipped", {"message": said})
    elif outcome.verdict in ("warn", "undecided"):
        word = "warning" if outcome.verdict == "warn" else outcome.verdict
        ET.SubElement(case, "system-out").text = legal(f"{word}: {body(outcome)}")


def line_of(outcome: Outcome) -> str:
    """`at_least 0.85`, with the level where it is no failure."""
    sides = [f"{side} {outcome.rule[side]:.10g}" for side in SIDES if outcome.rule.get(side) is not None]
    return " ".join([*sides, *(["warn"] if outcome.rule.get("level") == "warn" else [])])


def body(outcome: Outcome) -> str:
    """The sentence, what would decide it, and the first images behind it."""
    lines = [outcome.sentence]
    if outcome.needed:
        lines.append(f"About {outcome.needed:,} samples would decide it.")
    if outcome.samples:
        more = f", ... ({len(outcome.samples)} in gate.json)" if len(outcome.samples) > MOST_NAMED else ""
        shown = outcome.names or [f"number {i}" for i in outcome.samples]
        lines.append(f"Images, worst first: {', '.join(shown[:MOST_NAMED])}{more}")
    return "\n".join(lines)
