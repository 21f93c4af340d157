"""`auditor check`: judge a saved audit. Loads no torch, and nothing of the report unless it writes one."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from auditor.config import Settings, load_config
from auditor.errors import ConfigError, PolicyError
from auditor.folder import judge_folder, write_judgement
from auditor.store import dumps, plain, read_audit
from auditor.types import AuditRecord, Outcome, Verdict

WIDTH = len("INCONCLUSIVE")


@dataclass(frozen=True)
class Asked:
    """The options of `check`, as typed."""

    policy: Path | None = None
    baseline: str | None = None
    today: str | None = None
    json_: bool = False
    write: bool = False
    github: bool = False
    log: tuple[str, ...] = ()


def check(folder: Path, asked: Asked) -> int:
    """Judge the audit in `folder`, print the outcome of every rule and the verdict; returns the exit code.

    `policy`: audit.toml, the one in this folder where None. `json_`: the verdict as JSON and nothing else. `write`: gate.json,
    junit.xml, summary.md and the page anew. Raises ConfigError without a policy, PolicyError where it has no rules or one that
    matches nothing, StoreError where there is no audit.
    """
    settings = settings_of(asked.policy, asked.baseline)
    record = read_audit(folder)
    require_same_parameters(settings, record)
    verdict = judge_folder(folder, settings, today=day(asked.today), record=record)
    if asked.write:
        write_judgement(folder, verdict)
        from auditor.report import render_listing

        render_listing(folder.resolve().parent)
    print(dumps(verdict).decode() if asked.json_ else told(verdict), end="" if asked.json_ else "\n")
    if asked.github:
        to_github(record, verdict)
    for tracker in asked.log:
        from auditor.exports.tracking import log

        print(f"logged   {log(tracker, folder, record, verdict)}", file=sys.stderr)
    return verdict.exit_code


def to_github(record: AuditRecord, verdict: Verdict) -> None:
    """Annotations on standard output, and the summary into the file that GitHub Actions names."""
    from auditor.exports.github import workflow_commands
    from auditor.exports.summary import summary

    print(workflow_commands(verdict))
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if place:
        with Path(place).open("a", encoding="utf-8") as file:
            file.write(summary(record, verdict))


def settings_of(policy: Path | None, baseline: str | None = None) -> Settings:
    """audit.toml with at least one rule, and the baseline that the command line names in the place of its own."""
    path = policy or Path("audit.toml")
    if policy is None and not path.exists():
        raise ConfigError("check needs a policy: give --policy audit.toml, or write one with `auditor init`")
    settings = load_config(path)
    if not settings.gate.all_rules:
        raise PolicyError(f"{path} has no [[gate.rules]], so there is nothing to check; add at least one rule")
    return settings if baseline is None else with_baseline(settings, baseline)


def with_baseline(settings: Settings, baseline: str) -> Settings:
    """The settings with another baseline."""
    return settings.model_copy(update={"gate": settings.gate.model_copy(update={"baseline": baseline})})


def day(text: str | None) -> date | None:
    """`2026-08-31` as a day."""
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--today: expected a day such as 2026-08-31, got {text!r}") from error


def require_same_parameters(settings: Settings, record: AuditRecord) -> None:
    """Raise where audit.toml sets a parameter of a probe that a rule names, and the audit was made with another.

    Raises ConfigError for a parameter that the probe does not have, PolicyError for another value.
    """
    for probe in sorted({rule.probe for rule in settings.gate.all_rules}):
        section = record.sections.get(probe)
        if section is None or section.status == "skipped":
            continue
        for key, wanted in (settings.probes.get(probe) or {}).items():
            if key not in section.parameters:
                raise ConfigError(f"[probes.{probe}] has no parameter {key!r}; it has {', '.join(section.parameters) or 'none'}")
            if key in section.only_shown:
                continue
            made = section.parameters[key]
            if plain(wanted) != made and not (is_number(wanted) and is_number(made) and float(wanted) == float(made)):
                raise PolicyError(
                    f"[probes.{probe}] {key} = {wanted!r}, but the audit was made with {made!r}: "
                    "its figures are of another setting; run the audit again, or take the line out"
                )


def is_number(value: object) -> bool:
    """A number, not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def told(verdict: Verdict) -> str:
    """One line a rule, then the verdict. Of a rule on many only what is not passed; how many those are stands in the verdict."""
    shown = [o for o in verdict.outcomes if o.many == 1 or o.verdict not in ("pass", "undecided")]
    lines = [line(outcome) for outcome in shown]
    rules = sorted({o.number for o in verdict.outcomes if o.many > 1 and o.number is not None})
    lines += [tally([o for o in verdict.outcomes if o.number == number]) for number in rules]
    return "\n".join([*lines, "", f"{shout(verdict.verdict)}: {verdict.why}"])


def tally(members: list[Outcome]) -> str:
    """How a rule on many classes or slices stands, and which of them are undecided."""
    counts = {name: sum(o.verdict == name for o in members) for name in dict.fromkeys(o.verdict for o in members)}
    open_ = [o for o in members if o.verdict == "undecided"]
    named = ", ".join(str(o.rule.get("slice") or o.rule.get("scope")) for o in open_[:10]) + (", ..." if len(open_) > 10 else "")
    said = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    of = str(members[0].rule["measure"])
    return printable(f"{'':<{WIDTH}}  {of} on each of {len(members):,}: {said}" + (f" (undecided: {named})" if open_ else ""))


def line(outcome: Outcome) -> str:
    """`FAIL          performance.top1  Top-1 accuracy is ...`."""
    needed = f" About {outcome.needed:,} samples would decide it." if outcome.needed else ""
    return f"{shout(outcome.verdict):<{WIDTH}}  {printable(outcome.id)}  {outcome.sentence}{needed}"


def shout(name: str) -> str:
    """`NOT GATED`."""
    return name.replace("_", " ").upper()


def printable(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
