"""A finished audit from Python: opened, judged again, shown in a notebook. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

from auditor import folder as folders
from auditor.config import Settings, load_config
from auditor.store import read_audit, read_verdict
from auditor.types import AuditRecord, Section, Verdict


@dataclass(frozen=True)
class Audit:
    """An audit in its folder: `audit["performance"]["top1"].value`, `audit.check("audit.toml")`, `audit.index`."""

    path: Path
    record: AuditRecord

    def __getitem__(self, probe: str) -> Section:
        return self.record.sections[probe]

    @property
    def index(self) -> Path:
        """The report."""
        return self.path / "index.html"

    @property
    def verdict(self) -> Verdict | None:
        """As written beside the audit; None where it was not judged."""
        return read_verdict(self.path)

    def check(self, policy: str | Path | Mapping[str, Any] | Settings, *, today: date | None = None) -> Verdict:
        """Judge under a policy: a path to audit.toml, its content as a mapping, or Settings. Writes nothing.

        `today`: for waivers; the clock's day where None.
        """
        settings = policy if isinstance(policy, Settings) else load_config(policy)
        return folders.judge_folder(self.path, settings, today=today, record=self.record)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(probe)}.{escape(name)}</td><td style='text-align:right'>{shown(value.value)}</td>"
            f"<td>{shown(value.low)} to {shown(value.high)}</td><td>{value.n if value.n is not None else ''}</td></tr>"
            for probe, section in self.record.sections.items()
            for name, value in section.values.items()
        )
        verdict = self.verdict
        head = escape(f"{self.record.name}: {verdict.verdict if verdict else 'not gated'}")
        return (
            f"<table><caption>{head} - <a href='{escape(self.index.resolve().as_uri())}'>report</a></caption>"
            f"<tr><th>measure</th><th>value</th><th>90 % interval</th><th>n</th></tr>{rows}</table>"
        )


def shown(value: float | None) -> str:
    """A figure in four significant digits, a dash where there is none."""
    return "-" if value is None else f"{value:.4g}"


def open_audit(path: str | Path) -> Audit:
    """The audit in a folder. Raises StoreError where there is none."""
    return Audit(Path(path), read_audit(Path(path)))
