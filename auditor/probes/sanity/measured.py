"""The figures of every method and image, from the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from auditor import bounds
from auditor.methods.deletion import area
from auditor.methods.randomisation import top_count
from auditor.ops.columns import spread_out
from auditor.types import Array, Measure, Value


def judged_at(rows: Mapping[str, Array], top: float) -> int:
    """The level at which the share `top` of the layers is randomised."""
    counts, total = rows["levels"][0][:-1], int(rows["levels"][0][-1])
    return int(np.flatnonzero(counts == top_count(total, top))[0])


def measured(rows: Mapping[str, Array], level: int) -> dict[str, Array]:
    """Measure -> (n,M) for n images and M methods."""
    count = rows["hidden"][0]
    areas = {kind: area_of(rows[kind], count) for kind in ("deletion", "insertion", "random_deletion", "random_insertion")}
    chance = {kind: areas[f"random_{kind}"].mean(1, keepdims=True) for kind in ("deletion", "insertion")}
    between = rows["agreement"].astype(np.float64)
    methods = between.shape[1] - 1
    others = between[:, :methods, :methods].copy()
    others[:, range(methods), range(methods)] = np.nan
    return {
        "randomisation_spearman": rows["spearman"][:, level],
        "deletion_gain": chance["deletion"] - areas["deletion"],
        "insertion_gain": areas["insertion"] - chance["insertion"],
        "agreement": mean_known(others, 2),
        "edge_spearman": between[:, :methods, -1],
    }


def area_of(curves: Array, count: Array) -> Array:
    """(n,m) area under curves (n,m,P+1)."""
    return area(curves.reshape(-1, curves.shape[-1]), count).reshape(curves.shape[:2])


def mean_known(values: Array, axis: int) -> Array:
    """The mean along an axis over what is a number; NaN where nothing is."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis)
    return np.where(known.any(axis), total / np.maximum(known.sum(axis), 1), np.nan)


def valued(
    found: Mapping[str, Array], used: Sequence[str], measures: Sequence[Measure], positions: Array, *, size: int, seed: int
) -> tuple[dict[str, Value], dict[str, Array]]:
    """`measure.method` -> its value, and the columns (size,) behind them, for images at `positions`."""
    values: dict[str, Value] = {}
    columns: dict[str, Array] = {}
    for measure in measures:
        for m, method in enumerate(used):
            key = f"sanity.{measure.name}.{method}"
            columns[key] = spread_out(found[measure.name][:, m], positions, size)
            values[f"{measure.name}.{method}"] = bounds.statistic("mean", {key: columns[key]}, unit=measure.unit, seed=seed)
    return values, columns
