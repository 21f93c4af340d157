"""A verdict as workflow commands of GitHub Actions, at the rules' lines: at most ten errors and ten warnings a step."""

from __future__ import annotations

from auditor.exports.sarif import LEVELS, line_of, path_of, reported
from auditor.exports.summary import ORDER
from auditor.types import Outcome, Verdict

MOST = 10
"""GitHub shows no more of one kind a step."""
WORDS = {"error": "error", "warning": "warning", "note": "notice"}


def workflow_commands(verdict: Verdict) -> str:
    """One line an annotation: the worst nine of a kind and a roll-up where there are more than ten. "" where all is passed."""
    listed = sorted(reported(verdict), key=lambda outcome: ORDER.index(outcome.verdict))
    lines = []
    for kind in ("error", "warning", "notice"):
        found = [outcome for outcome in listed if kind_of(outcome) == kind]
        shown = found if len(found) <= MOST else found[: MOST - 1]
        lines += [command(kind, outcome, verdict) for outcome in shown]
        if len(found) > len(shown):
            rest = found[len(shown) :]
            named = ", ".join(outcome.id for outcome in rest[:30]) + (", ..." if len(rest) > 30 else "")
            title = property_(f"{len(rest)} more")
            lines.append(f"::{kind} file={property_(path_of(verdict))},line=1,title={title}::{data(f'Also: {named}')}")
    return "\n".join(lines)


def kind_of(outcome: Outcome) -> str:
    """What GitHub calls it; a waived one is a notice."""
    return "notice" if outcome.verdict == "waived" else WORDS[LEVELS[outcome.verdict]]


def command(kind: str, outcome: Outcome, verdict: Verdict) -> str:
    """`::error file=audit.toml,line=12,title=fail: performance.top1::Top-1 accuracy is ...`."""
    place = f"file={property_(path_of(verdict))},line={line_of(outcome, verdict)}"
    return f"::{kind} {place},title={property_(f'{outcome.verdict}: {outcome.id}')}::{data(outcome.sentence)}"


def data(text: str) -> str:
    """The message, escaped as the runner unescapes it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def property_(text: str) -> str:
    """A property, escaped likewise."""
    return data(text).replace(":", "%3A").replace(",", "%2C")
