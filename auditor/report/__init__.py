"""The report: an audit folder in, one self-contained index.html out. Pure: reads the folder, calls no model."""

from __future__ import annotations

from pathlib import Path

from auditor.gate.compare import Comparison
from auditor.report.comparison import comparison
from auditor.report.listing import render_listing
from auditor.report.page import page
from auditor.store import write_bytes

__all__ = ["render", "render_comparison", "render_listing"]


def render(folder: Path) -> Path:
    """Write `folder`/index.html from what the folder holds, and return its path.

    Raises StoreError where the folder holds no audit or cannot be written.
    """
    target = folder / "index.html"
    write_bytes(target, page(folder).encode("utf-8", "replace"))
    return target


def render_comparison(before: Path, today: Path, found: Comparison, target: Path) -> Path:
    """Write the page of two audits to `target`, and return it. `before`, `today`: their folders."""
    write_bytes(target, comparison(before, today, found).encode("utf-8", "replace"))
    return target
