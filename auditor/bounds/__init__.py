"""Figures with their bounds: what a probe writes, and what the gate computes again at its own confidence. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from auditor.bounds import statistics
from auditor.bounds.binomial import clopper_pearson
from auditor.bounds.decide import samples_to_decide
from auditor.bounds.groups import grouped_bounds
from auditor.bounds.intervals import INTERVALS, Bounds
from auditor.bounds.paired import mcnemar, paired_bounds
from auditor.bounds.power import normal_power, share_power
from auditor.types import Array, Value

__all__ = [
    "CONFIDENCE", "RESAMPLES", "STATISTICS", "Bounds", "bounds_of", "clopper_pearson", "exact", "grouped_bounds", "kept",
    "mcnemar", "normal_power", "paired_bounds", "proportion", "rebound", "samples_to_decide", "share_power", "statistic",
]  # fmt: skip

STATISTICS: Mapping[str, Callable[..., float]] = {
    "mean": statistics.mean,
    "median": statistics.median,
    "macro_recall": statistics.macro_recall,
    "worst_class_recall": statistics.worst_class_recall,
    "ece": statistics.ece,
    "lowest_mean": statistics.lowest_mean,
}
"""Name -> function of (n,) columns, in the order in which `statistic` is given them."""

BY_LABEL = ("macro_recall", "worst_class_recall")
"""Statistics whose first column is a label: -1 is none, as NaN is."""

RESAMPLES = 1000
CONFIDENCE = 0.95
"""One-sided, of the `low` and `high` that an audit holds."""


def finite(value: float | None) -> float | None:
    """`value` as a float, None for NaN and infinities."""
    return float(value) if value is not None and math.isfinite(value) else None


def proportion(k: int, n: int, *, unit: str = "share", columns: tuple[str, ...] = ()) -> Value:
    """`k` of `n`, with exact bounds; without a value for n = 0. `columns`: the 0/1 column of predictions.parquet behind it."""
    low, high = clopper_pearson(k, n, CONFIDENCE)
    if n == 0:
        return Value(None, "proportion", unit, n=0, k=0, columns=columns)
    return Value(k / n, "proportion", unit, n=int(n), k=int(k), low=low, high=high, columns=columns)


def exact(value: float, unit: str, *, n: int | None = None) -> Value:
    """A property of the weights or of a fixed computation: without sampling error, so without bounds. NaN is no value."""
    return Value(finite(value), "exact", unit, n=n)


def statistic(name: str, columns: Mapping[str, Array], *, unit: str, seed: int, resamples: int = RESAMPLES) -> Value:
    """STATISTICS[name] of per-sample columns, with its bounds (`auditor.bounds.intervals` says which, and why).

    `columns`: column of predictions.parquet -> (N,), in the order the statistic takes them. A row with NaN in any of them is
    left out, as is one with a label below 0; `n` counts the rest. So `correct` must be NaN, not False, where there is no label.
    Without a value for n = 0; without bounds where nothing can be said (see there). Raises ValueError for an unknown name.
    """
    if name not in STATISTICS:
        raise ValueError(f"expected one of {', '.join(STATISTICS)}, got the statistic {name!r}; register it in auditor.bounds")
    rows = kept(name, list(columns.values()))
    n = len(rows[0])
    value = finite(STATISTICS[name](*rows)) if n else None
    low, high = bounds(name, rows, seed, resamples, CONFIDENCE) if value is not None else (None, None)
    return Value(value, "statistic", unit, n=n, low=low, high=high, statistic=name, columns=tuple(columns), seed=seed)


def kept(name: str, columns: list[Array]) -> list[Array]:
    """The columns (N,) without the rows that were not looked at: NaN in any column, or no label."""
    rows = [np.asarray(column) for column in columns]
    held = np.ones(len(rows[0]), dtype=bool)
    for column in rows:
        if column.dtype.kind == "f":
            held &= ~np.isnan(column)
    if name in BY_LABEL:
        held &= rows[0] >= 0
    return [column[held] for column in rows]


def bounds(name: str, rows: list[Array], seed: int, resamples: int, confidence: float) -> Bounds:
    """The finite bounds of a statistic, None else."""
    low, high = INTERVALS[name](*rows, seed=seed, resamples=resamples, confidence=confidence)
    return finite(low), finite(high)


def bounds_of(name: str, rows: list[Array], *, seed: int, confidence: float, groups: Array | None = None) -> Bounds:
    """The finite one-sided bounds of a statistic of rows (n,) without NaN; by group where `groups` (n,) is given."""
    if not len(rows[0]):
        return None, None
    if groups is None:
        return bounds(name, rows, seed, RESAMPLES, confidence)
    low, high = grouped_bounds(name, rows, groups, seed=seed, resamples=RESAMPLES, confidence=confidence)
    return finite(low), finite(high)


def rebound(value: Value, columns: Mapping[str, Array], confidence: float) -> tuple[float | None, float | None]:
    """The one-sided bounds of `value` at `confidence`, computed from k and n or from its columns, not taken from the audit.

    Only where the columns are missing, and for the confidence that the audit itself used (0.95), the stored ones serve.
    (None, None) for kind "exact", and where nothing can be said.
    """
    if value.kind == "proportion":
        if value.k is None or not value.n or not 0 <= value.k <= value.n:
            return None, None
        return clopper_pearson(value.k, value.n, confidence)
    if value.kind != "statistic":
        return None, None
    name = value.statistic or ""
    if name in STATISTICS and value.columns and all(column in columns for column in value.columns):
        rows = kept(name, [columns[column] for column in value.columns])
        return bounds(name, rows, value.seed or 0, RESAMPLES, confidence) if len(rows[0]) else (None, None)
    return (finite(value.low), finite(value.high)) if confidence == CONFIDENCE else (None, None)
