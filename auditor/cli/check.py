"""`auditor check`: judge a saved audit. Loads no torch, and nothing of the report unless it writes one."""

from __future__ import annotations

from pathlib import Path

from auditor.config import load_config
from auditor.errors import ConfigError, PolicyError
from auditor.folder import judge_folder, write_judgement
from auditor.store import dumps
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
    verdict = judge_folder(folder, settings.gate)
    if write:
        write_judgement(folder, verdict)
    print(dumps(verdict).decode() if json_ else told(verdict), end="" if json_ else "\n")
    return verdict.exit_code


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
