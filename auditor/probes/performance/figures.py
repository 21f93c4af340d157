"""The charts and tables of the section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from auditor.bounds import clopper_pearson
from auditor.evidence.labelled import Labelled
from auditor.methods.confusion import Recalls, matrix, most_confused
from auditor.methods.standing import RATE, below_the_rest
from auditor.methods.units import discoveries
from auditor.types import Array, Figure, Json

if TYPE_CHECKING:
    from auditor.evidence import Evidence

MOST_BARS, WHOLE_MATRIX, MOST_CONFUSED, MOST_PAIRS = 40, 60, 40, 30
MOST_SLICES, MOST_COLUMNS = 50, 6
"""Distinct values that a column may have to be shown by value, and columns shown."""


def interval(right: Array, n: Array) -> tuple[list[float], list[float]]:
    """Lower and upper ends of the exact two-sided 90 % interval of each right/n."""
    ends = [clopper_pearson(int(k), int(m), 0.95) for k, m in zip(right, n, strict=True)]
    return [float(low) for low, _ in ends], [float(high) for _, high in ends]


def bars(labels: list[str], right: Array, n: Array, named: str, measured: str) -> dict[str, Json]:
    """The data of lying bars of shares with their intervals."""
    low, high = interval(right, n)
    return {
        "labels": labels, "values": (right / n).tolist(), "low": low, "high": high, "n": n.tolist(),
        "x_label": measured, "y_label": named, "horizontal": True, "format": "percent",
    }  # fmt: skip


def recall_figure(by_class: Recalls, names: Sequence[str]) -> Figure:
    """Recall by class, weakest first."""
    order = by_class.weakest_first()
    shown = order[:MOST_BARS]
    cut = f" The {len(order) - len(shown)} strongest of {len(order)} classes are left out." if len(order) > len(shown) else ""
    labels = [names[number] for number in by_class.classes[shown]]
    data = bars(labels, by_class.right[shown], by_class.n[shown], "class", "recall")
    found = discoveries(below_the_rest(by_class.right, by_class.n), share=RATE)
    data["highlight"] = np.flatnonzero(found[shown]).tolist()
    caption = f"Weakest first, with exact 90 % intervals.{cut}{standing_out(int(found.sum()), len(order))}"
    return Figure("recall", "bars", "Recall by class", caption, data)


def standing_out(count: int, of: int) -> str:
    """What is highlighted, or that nothing is."""
    if of < 2:
        return ""
    if not count:
        return " None stands out from the others beyond chance (Fisher's exact test, Benjamini and Hochberg at 5 %)."
    return (
        f" Highlighted: {count} of {of} whose share is lower than that of the other images beyond chance; one in twenty of those "
        "named may be false (Fisher's exact test, Benjamini and Hochberg 1995). A list to look at: the gate has its own test."
    )


def confusion_figures(seen: Labelled, pairs: Array, names: Sequence[str]) -> tuple[tuple[Figure, ...], dict[str, Array]]:
    """The matrix, whole or of the most confused classes, and the most common confusions as a table."""
    present = np.union1d(seen.labels, seen.predicted)
    whole = len(present) <= WHOLE_MATRIX
    shown = present if whole else most_confused(pairs, MOST_CONFUSED)
    if not len(pairs):
        return (Figure("confusion", "note", "Confusions", "", {"text": "No labelled image is taken for another class."}),), {}
    counts = matrix(seen.labels, seen.predicted, shown)
    labels = [names[number] for number in shown]
    data = {"file": "confusion.npy", "row_labels": labels, "column_labels": labels, "x_label": "predicted", "y_label": "label"}
    caption = f"Images by label (rows) and prediction (columns), {len(seen.labels)} in all."
    if not whole:
        inside = int(counts.sum() - np.trace(counts))
        caption += (
            f" Only the {len(shown)} most confused of {len(present)} classes: {inside} of {int(pairs[:, 2].sum())} mistakes."
        )
    per_class = dict(zip(*np.unique(seen.labels, return_counts=True), strict=True))
    rows = [
        {"label": names[a], "predicted": names[b], "count": count, "share": count / int(per_class[a])}
        for a, b, count in pairs[:MOST_PAIRS].tolist()
    ]
    columns = [
        {"key": "label", "label": "label", "format": "text"}, {"key": "predicted", "label": "taken for", "format": "text"},
        {"key": "count", "label": "images", "format": "integer"},
        {"key": "share", "label": "share of the label's images", "format": "percent"},
    ]  # fmt: skip
    told = f"The {len(rows)} most frequent of {len(pairs)} pairs."
    return (
        Figure("confusion", "heatmap", "Confusion matrix", caption, data),
        Figure("confusions", "table", "Most common confusions", told, {"columns": columns, "rows": rows}),
    ), {"confusion.npy": counts.astype(np.float32)}


def slice_figures(evidence: Evidence, seen: Labelled) -> tuple[Figure, ...]:
    """Accuracy by the values of each further column of the manifest, weakest first."""
    figures: list[Figure] = []
    for column, entries in sorted(evidence.dataset.slices.items()):
        names, place, n = np.unique(np.asarray(entries)[seen.positions], return_inverse=True, return_counts=True)
        if not 2 <= len(names) <= MOST_SLICES:
            continue
        right = np.bincount(place, weights=seen.right, minlength=len(names)).astype(np.int64)
        order = np.lexsort((-n, right / n))
        data = bars([str(names[i]) or "(empty)" for i in order], right[order], n[order], column, "share right")
        found = discoveries(below_the_rest(right, n), share=RATE)
        data["highlight"] = np.flatnonzero(found[order]).tolist()
        told = standing_out(int(found.sum()), len(names))
        caption = f"Labelled images by `{column}`, weakest first, with exact 90 % intervals.{told}"
        figures.append(Figure(f"slice-{len(figures)}", "bars", f"Accuracy by {column}", caption, data))
    return tuple(figures[:MOST_COLUMNS])
