"""`auditor waive`: write a waiver for one failing figure into audit.toml."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from auditor.cli.check import settings_of
from auditor.config import Settings, load_config
from auditor.config.gate import WAIVER_DAYS
from auditor.errors import ConfigError, PolicyError
from auditor.folder import judge_folder
from auditor.gate.waivers import coverable
from auditor.store import read_audit, write_bytes
from auditor.types import Outcome

SLICED = re.compile(r"^(?P<figure>.*?)(?:\[(?P<slice>[^\]]+=.*)\])?$", re.S)


@dataclass(frozen=True)
class Wanted:
    """The options of `waive`, as typed."""

    figure: str
    """The outcome's id as `check` prints it: performance.recall.cat, performance.top1[mark=clean]."""
    owner: str
    reason: str
    days: int = WAIVER_DAYS
    bound: float | None = None
    id: str | None = None
    this_model: bool = False
    policy: Path = Path("audit.toml")


def waive(folder: Path, wanted: Wanted, *, today: date) -> str:
    """Append a waiver to audit.toml and return its text.

    Raises PolicyError where the figure does not fail, ConfigError where the file cannot take it; then nothing is written.
    """
    if wanted.days < 1:
        raise ConfigError(f"--days: expected a whole number above 0, got {wanted.days}")
    settings = settings_of(wanted.policy)
    outcome = failing(folder, settings, wanted.figure, today)
    text = block(folder, outcome, wanted, settings, today)
    whole = settings.source[1]
    whole += ("" if whole.endswith("\n") or not whole else "\n") + "\n" + text
    require_valid(whole, wanted.policy)
    write_bytes(wanted.policy, whole.encode())
    return text


def failing(folder: Path, settings: Settings, figure: str, today: date) -> Outcome:
    """The outcome that is to be waived."""
    verdict = judge_folder(folder, settings, today=today)
    found = [o for o in verdict.outcomes if coverable(o)]
    chosen = next((o for o in found if o.id == figure), None)
    if chosen is None:
        ids = ", ".join(dict.fromkeys(o.id for o in found)) or "none"
        raise PolicyError(f"{figure} is no figure that fails or is undecided here; expected one of: {ids}")
    return chosen


def block(folder: Path, outcome: Outcome, wanted: Wanted, settings: Settings, today: date) -> str:
    """The table for audit.toml."""
    match = SLICED.match(outcome.id)
    assert match is not None, "the pattern takes any text"
    measure, scope, of = str(outcome.rule["measure"]), outcome.rule.get("scope"), match["slice"]
    id = wanted.id or free_id([waiver.id for waiver in settings.gate.waivers])
    lines = ["[[gate.waivers]]", f"id = {quoted(id)}", f"measure = {quoted(measure)}"]
    lines += [f"scope = {quoted(str(scope))}"] if scope else []
    lines += [f"slice = {quoted(of)}"] if of else []
    if wanted.this_model:
        model = read_audit(folder).provenance.get("model")
        digest = str(model.get("digest", "")) if isinstance(model, Mapping) else ""
        lines.append(f"weights = {quoted(digest[:16])}")
    lines += [f"owner = {quoted(wanted.owner)}", f"reason = {quoted(wanted.reason)}"]
    lines += [f"granted = {today.isoformat()}", f"expires = {(today + timedelta(days=wanted.days)).isoformat()}"]
    lines += [f"bound = {wanted.bound!r}"] if wanted.bound is not None else []
    return "\n".join(lines) + "\n"


def free_id(taken: list[str]) -> str:
    """W1, W2, ...: the first that is free."""
    return next(f"W{number}" for number in range(1, len(taken) + 2) if f"W{number}" not in taken)


def quoted(text: str) -> str:
    """A TOML string: JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def require_valid(text: str, path: Path) -> None:
    """Raise ConfigError where the file would no longer load."""
    import tomllib

    try:
        load_config(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ConfigError) as error:
        raise ConfigError(f"{path} cannot take the waiver ({error}); write it in by hand") from error
