"""`auditor baseline set` and `auditor baseline show`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from auditor.baseline import accepted, after, read_baseline, shown, write_baseline
from auditor.config import load_config
from auditor.errors import ConfigError, StoreError
from auditor.gate.words import number, with_unit
from auditor.store import read_verdict
from auditor.types import Baseline

DEFAULT = "baseline.parquet"


def place_of(given: str | None) -> str:
    """Where the baseline is: as given, else as [gate] of the audit.toml in this folder says, else baseline.parquet."""
    if given is not None:
        return given
    policy = Path("audit.toml")
    return (load_config(policy).gate.baseline if policy.exists() else None) or DEFAULT


def set_baseline(folder: Path, to: str | None, *, today: date) -> str:
    """Make the audit in `folder` the baseline; returns what is said of it. Raises StoreError where it did not pass its gate."""
    place = place_of(to).partition("#sha256=")[0]
    if urlsplit(place).scheme in ("http", "https"):
        raise ConfigError(f"the baseline {place} is a URL: write a file with --to FILE, and put that there")
    new = accepted(folder, today=today)
    baseline = after(new, read_baseline(place))
    size = write_baseline(Path(place), baseline)
    verdict = read_verdict(folder)
    waived = [] if verdict is None else [o.id for o in verdict.outcomes if o.verdict == "waived"]
    aside = f"\nnote     it passed by waivers: {', '.join(waived)}; from now on these figures are the measure" if waived else ""
    return f"{told(baseline)}\nfile     {place}, {size / 1e6:.2f} MB{aside}"


def show_baseline(given: str | None) -> str:
    """What a baseline holds."""
    place = place_of(given)
    baseline = read_baseline(place)
    if baseline is None:
        raise StoreError(f"there is no baseline at {place}; `auditor baseline set AUDIT` makes one")
    return f"{told(baseline)}\nfile     {baseline.source}\nsha256   {baseline.digest}"


def told(baseline: Baseline) -> str:
    """Name, day, model, images, and the figures with what they were in the first baseline."""
    model = baseline.model
    lines = [
        f"baseline {baseline.name}, set on {baseline.made}",
        f"model    {model.get('source')}, weights {str(model.get('digest') or '')[:16]}",
        f"images   {len(baseline.columns.get('key', ())):,}",
    ]
    if baseline.first:
        lines.append(f"first    {baseline.first['name']}, set on {baseline.first['made']}")
    for id, first, value in shown(baseline):
        unit = baseline.values[id].unit
        now = "-" if value is None else with_unit(number(value, unit, 0), unit)
        then = "" if first is None else f"   (first: {with_unit(number(first, unit, 0), unit)})"
        lines.append(f"  {id:<40} {now}{then}")
    return "\n".join(lines)
