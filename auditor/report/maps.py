"""Scatter figures: one sub-sample for all views, stratified by class, seeded by the positions alone, and disclosed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from auditor.report.charts import packed
from auditor.report.samples import Samples
from auditor.report.values import name, number
from auditor.types import Array, Json

MOST_POINTS = 5_000
"""Beyond this an SVG scatter is slow; WebGL ones need eval, which the page forbids."""


def subsample(positions: Array, labels: Array, *, most: int = MOST_POINTS) -> Array:
    """Indices (sorted) into `positions` of at most `most` points: by class in proportion, within a class by a fixed hash.

    Each class keeps its share, rounded by largest remainders, so that the picture's proportions are those of the data.
    """
    if len(positions) <= most:
        return np.arange(len(positions))
    mixed = np.asarray(positions, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    order = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    kinds, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    share = counts * (most / len(positions))
    take = np.floor(share).astype(int)
    take[np.argsort(take - share, kind="stable")[: most - int(take.sum())]] += 1
    kept = [np.flatnonzero(inverse == i) for i in range(len(kinds))]
    return np.sort(np.concatenate([rows[np.argsort(order[rows], kind="stable")[:n]] for rows, n in zip(kept, take, strict=True)]))


def scatter(data: Mapping[str, Json], views: Sequence[tuple[str, Array]], positions: Array, samples: Samples) -> tuple[Json, str]:
    """The page's own specification of a scatter (its script makes the traces) and the sentence on what is shown."""
    labels = samples.labels(positions)
    kept = subsample(positions, labels)
    shown, classes = positions[kept], labels[kept]
    samples.mention(shown.tolist())
    present = np.unique(classes)
    spec = {
        "scatter": True,
        "height": 560,
        "positions": packed(shown, "int32"),
        "labels": packed(classes, "int32"),
        "correct": packed([-1 if (c := samples.number("correct", int(p))) is None else c for p in shown], "int8"),
        "confidence": packed([samples.number("confidence", int(p)) for p in shown]),
        "classes": {str(int(label)): samples.class_name(int(label)) or "unlabelled" for label in present},
        "views": [{"name": name(title), "x": packed(xy[kept, 0]), "y": packed(xy[kept, 1])} for title, xy in views],
    }
    told = f"{len(kept):,} of {len(positions):,} points" + (
        ", in proportion to the classes, chosen by a fixed hash." if len(kept) < len(positions) else "."
    )
    return spec, told


def centres(views: Sequence[tuple[str, Array]], positions: Array, samples: Samples) -> tuple[list[str], list[list[str]]]:
    """The scatter's static table: class, points, and the median place in each view."""
    labels = samples.labels(positions)
    rows = []
    for label in np.unique(labels).tolist():
        of = labels == label
        middle = [np.median(xy[of], axis=0) for _, xy in views]
        rows.append(
            [
                samples.class_name(label) or "unlabelled",
                f"{int(of.sum()):,}",
                *(f"{number(float(m[0]))}, {number(float(m[1]))}" for m in middle),
            ]
        )
    return ["class", "points", *(f"median in {name(title)}" for title, _ in views)], rows
