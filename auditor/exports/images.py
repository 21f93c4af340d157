"""The images behind every outcome that is not passed, as CSV: images.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

import numpy as np

from auditor.types import Array, Verdict

COLUMNS = ("label", "predicted", "confidence", "loss")


def images(verdict: Verdict, columns: Mapping[str, Array]) -> str:
    """One row an outcome and image, worst first: the outcome, its verdict, the image's place and name, and what was said of it.

    A cell that a spreadsheet would take for a formula has an apostrophe before it.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("outcome", "verdict", "turned", "position", "name", *COLUMNS))
    for outcome in verdict.outcomes:
        turned = "newly wrong" if "broken" in outcome.baseline else ""
        right = outcome.baseline.get("newly_right", {})
        listed = [(turned, i) for i in outcome.samples] + [("newly right", i) for i in right.get("samples", ())]
        for word, place in listed:
            cells = [number(columns, name, place) for name in COLUMNS]
            named = str(columns["name"][place]) if "name" in columns and place < len(columns["name"]) else ""
            rows.writerow((plain(outcome.id), outcome.verdict, word, place, plain(named), *cells))
    return text.getvalue()


def number(columns: Mapping[str, Array], name: str, place: int) -> str:
    """An entry of a column of numbers; "" where there is none."""
    if name not in columns or place >= len(columns[name]):
        return ""
    value = float(columns[name][place])
    return "" if not np.isfinite(value) else f"{value:.6g}"


def plain(cell: str) -> str:
    """No formula for a spreadsheet, and valid UTF-8."""
    shown = cell.encode("utf-8", "backslashreplace").decode()
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@", "\t", "\r") else shown
