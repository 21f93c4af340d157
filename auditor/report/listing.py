"""reports/index.html: every audit of a folder, newest first, with its verdict and key figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from auditor import store
from auditor.errors import StoreError
from auditor.report import engine
from auditor.report.page import NOT_GATED, run_facts
from auditor.report.trend import Past, trends
from auditor.report.values import Shown, headline
from auditor.types import VERDICTS


@dataclass(frozen=True)
class Entry:
    """One line of the listing."""

    name: str
    link: str
    verdict: str
    word: str
    why: str
    when: str
    order: float
    model: str
    images: int | None
    figures: tuple[Shown, ...]
    past: Past | None = None
    """What the trends read of it; None where it cannot be read."""


def moment(folder: Path) -> float:
    """When an audit was made, in seconds: run.json's word for it, else the time of audit.json's file."""
    try:
        return datetime.fromisoformat(str(run_facts(folder).get("began"))).timestamp()
    except ValueError:
        return (folder / "audit.json").stat().st_mtime


def entry(folder: Path) -> Entry:
    """The line of one audit; an unreadable one is listed with what is wrong."""
    link = f"{quote(folder.name)}/index.html"
    try:
        record, verdict, when = store.read_audit(folder), store.read_verdict(folder) or NOT_GATED, moment(folder)
    except StoreError as error:
        return Entry(folder.name, link, "incomplete", "Unreadable", str(error), "", 0.0, "", None, ())
    model = record.provenance.get("model")
    source = str(model.get("source", "")) if isinstance(model, dict) else ""
    usable = (int(record.dataset.get("ok") or 0) + int(record.dataset.get("normalised") or 0)) or None
    stamp = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M UTC")
    failing = tuple(o.id for o in verdict.outcomes if o.verdict not in ("pass", "waived"))
    return Entry(
        record.name,
        link,
        verdict.verdict,
        VERDICTS[verdict.verdict],
        verdict.why,
        stamp,
        when,
        source,
        usable,
        headline(record, failing, most=3),
        Past(record.name, stamp, when, record, verdict),
    )


MARK = '<meta name="generator" content="auditor listing">'
"""In the page of every listing: an index.html without it is somebody else's."""


def render_listing(folder: Path) -> Path | None:
    """Write `folder`/index.html over the audits in its sub-folders, newest first, and return its path.

    Writes nothing and returns None where an index.html stands there that is no listing of ours.
    """
    target = folder / "index.html"
    if target.exists() and MARK.encode() not in target.read_bytes()[:4096]:
        return None
    found = [entry(path.parent) for path in sorted(folder.glob("*/audit.json")) if not path.parent.name.startswith(".")]
    found.sort(key=lambda e: (-e.order, e.name))
    template = engine.environment().get_template("listing.html")
    over = trends([e.past for e in found if e.past is not None])
    html = template.render(entries=found, trends=over, style=engine.asset("app.css"), policy=engine.policy())
    store.write_bytes(target, html.encode("utf-8", "replace"))
    return target
