"""The scatter, the table of the maps, the curve of the variance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from auditor.probes.embedding.sample import GRIDS, MAPS, Sample
from auditor.types import Array, Figure, Json, Value

if TYPE_CHECKING:
    from auditor.evidence import Evidence

COLUMNS = (
    ("trustworthiness", "trustworthiness", "number"),
    ("kept_neighbours", "neighbours kept", "percent"),
    ("knn_accuracy", "10-NN accuracy", "percent"),
    ("grid_moves", "moved by, in cells", "number"),
)


def scatter(sample: Sample, maps: Mapping[str, Array]) -> tuple[Figure, dict[str, Array]]:
    """All maps as points."""
    artifacts: dict[str, Array] = {f"{name}.npy": flat for name, flat in maps.items()}
    positions = None
    if not sample.whole:
        positions, artifacts["positions.npy"] = "positions.npy", sample.positions
    views = [{"name": MAPS[name], "file": f"{name}.npy"} for name in maps]
    data = {"views": views, "positions": positions, "color": "label"}
    return Figure("scatter", "scatter", "The data in two dimensions", "Each dot is an image; hover to see it.", data), artifacts


def compared(values: Mapping[str, Value]) -> Figure:
    """What each picture keeps of the features, one row a picture."""

    def row(title: str, scope: str, accuracy: str) -> dict[str, Json]:
        keys = {key: f"{key}.{scope}" for key, _, _ in COLUMNS} | {"knn_accuracy": accuracy}
        return {"picture": title} | {key: values[name].value if name in values else None for key, name in keys.items()}

    rows = [row("features, all dimensions", "full", "knn_accuracy_full")] if "knn_accuracy_full" in values else []
    rows += [row(title, name, f"knn_accuracy_2d.{name}") for name, title in MAPS.items()]
    rows += [
        row(f"{GRIDS[kind]} of {MAPS[name]}", f"{kind}.{name}", "")
        for name in MAPS
        for kind in GRIDS
        if f"kept_neighbours.{kind}.{name}" in values
    ]
    columns = [{"key": "picture", "label": "picture", "format": "text"}]
    shown = [(key, label, form) for key, label, form in COLUMNS if any(r[key] is not None for r in rows)]
    columns += [{"key": key, "label": label, "format": form} for key, label, form in shown]
    caption = "Two dimensions cannot hold what many do: how much each picture keeps. Intervals stand in the figures above."
    return Figure("compared", "table", "What each picture keeps", caption, {"columns": columns, "rows": rows})


def variance(evidence: Evidence) -> Figure:
    """How much of the variance the first components hold."""
    found = evidence.pca
    whole = float(found.explained.sum() + found.residual)
    share = np.cumsum(found.explained) / whole
    series = [{"name": "features", "x": list(range(1, len(share) + 1)), "y": share.tolist()}]
    data = {"x_label": "principal components", "y_label": "share of the variance", "series": series}
    caption = f"Cumulative, of {len(found.mean):,} features; the first two hold {share[:2][-1]:.1%}."
    return Figure("variance", "lines", "Variance by principal components", caption, data)
