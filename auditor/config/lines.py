"""On which lines of audit.toml the rules and waivers stand: where SARIF and annotations point."""

from __future__ import annotations

import re
from pathlib import Path

from auditor.config import Settings
from auditor.types import Json

TABLE = re.compile(r"^\s*\[\[\s*gate\s*\.\s*(rules|waivers)\s*\]\]")
GATE = re.compile(r"^\s*\[\s*gate\s*\]")
PRESET = re.compile(r"^\s*preset\s*=")


def located(settings: Settings) -> dict[str, Json]:
    """{path, rules, waivers, gate}: the path relative to where the program runs, and lines from 1; {} without a file.

    `rules` has a line for each of `all_rules`; those of a preset stand where the preset is named. Rules in an inline array are
    found by their measure, else they stand where [gate] does. `hub`: the benchmark that [report] names.
    """
    path, text = settings.source
    report = settings.report
    hub: dict[str, Json] = {"hub": {"dataset": report.hub_dataset, "task": report.hub_task}} if report.hub_dataset else {}
    if not path:
        return hub
    lines = text.splitlines()
    found: dict[str, list[int]] = {"rules": [], "waivers": []}
    for number, line in enumerate(lines, 1):
        match = TABLE.match(line)
        if match:
            found[match.group(1)].append(number)
    gate = first(lines, GATE) or min([*found["rules"], *found["waivers"], len(lines) or 1])
    policy = settings.gate
    rules = (
        found["rules"] if len(found["rules"]) == len(policy.rules) else [holding(lines, r.measure, gate) for r in policy.rules]
    )
    waivers = found["waivers"]
    if len(waivers) != len(policy.waivers):
        waivers = [holding(lines, waiver.id, gate) for waiver in policy.waivers]
    preset = first(lines, PRESET) or gate
    rules = rules + [preset] * (len(policy.all_rules) - len(rules))
    return {"path": relative(path), "rules": rules, "waivers": waivers, "gate": gate, **hub}


def first(lines: list[str], pattern: re.Pattern[str]) -> int | None:
    """The first line that matches."""
    return next((number for number, line in enumerate(lines, 1) if pattern.match(line)), None)


def holding(lines: list[str], word: str, otherwise: int) -> int:
    """The first line that holds a word in quotes."""
    quoted = (f'"{word}"', f"'{word}'")
    return next((number for number, line in enumerate(lines, 1) if any(q in line for q in quoted)), otherwise)


def relative(path: str) -> str:
    """Below the working folder as a relative path, else the name alone: no path of the machine goes into an audit."""
    found = Path(path).resolve()
    here = Path.cwd().resolve()
    return found.relative_to(here).as_posix() if found.is_relative_to(here) else found.name
