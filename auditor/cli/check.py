"""`auditor check`: judge a saved audit. Loads no torch, and nothing of the report unless it writes one."""

from __future__ import annotations

from pathlib import Path

from auditor.config import Settings, load_config
from auditor.errors import ConfigError, PolicyError
from auditor.folder import judge_folder, write_judgement
from auditor.store import dumps, plain, read_audit
from auditor.types import Outcome, Verdict

WIDTH = len("INCONCLUSIVE")


def check(folder: Path, policy: Path | None, json_: bool, write: bool) -> int:
    """Judge the audit in `folder`, print the outcome of every rule and the verdict; returns the exit code.

    `policy`: audit.toml, the one in this folder where None. `json_`: the verdict as JSON and nothing else. `write`: gate.json,
    junit.xml, summary.md and the page anew. Raises ConfigError without a policy, PolicyError where it has no rules or one that
    matches nothing, StoreError where there is no audit.
    """
    path = policy or Path("audit.toml")
    if policy is None and not path.exists():
        raise ConfigError("check needs a policy: give --policy audit.toml, or write one with `auditor init`")
    settings = load_config(path)
    if not settings.gate.rules:
        raise PolicyError(f"{path} has no [[gate.rules]], so there is nothing to check; add at least one rule")
    require_same_parameters(settings, folder)
    verdict = judge_folder(folder, settings.gate)
    if write:
        write_judgement(folder, verdict)
        from auditor.report import render_listing

        render_listing(folder.resolve().parent)
    print(dumps(verdict).decode() if json_ else told(verdict), end="" if json_ else "\n")
    return verdict.exit_code


def require_same_parameters(settings: Settings, folder: Path) -> None:
    """Raise where audit.toml sets a parameter of a probe that a rule names, and the audit was made with another.

    Raises ConfigError for a parameter that the probe does not have, PolicyError for another value.
    """
    sections = read_audit(folder).sections
    for probe in sorted({rule.probe for rule in settings.gate.rules}):
        section = sections.get(probe)
        if section is None or section.status == "skipped":
            continue
        for key, wanted in (settings.probes.get(probe) or {}).items():
            if key not in section.parameters:
                raise ConfigError(f"[probes.{probe}] has no parameter {key!r}; it has {', '.join(section.parameters) or 'none'}")
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
    """One line a rule, then the verdict."""
    return "\n".join([*(line(outcome) for outcome in verdict.outcomes), "", f"{shout(verdict.verdict)}: {verdict.why}"])


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
