"""What a figure is computed from, image by image: for figures of slices and of groups, and for pairs with a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from auditor.bounds import STATISTICS, kept, proportion, statistic
from auditor.gate.classes import RECALL, class_of
from auditor.types import Array, Value

SLICE = "slice."
"""What a column of the manifest begins with in predictions.parquet."""


@dataclass(frozen=True)
class Material:
    """A statistic by name, and its columns (N,); a share is the mean of zeros and ones. NaN where an image does not count."""

    statistic: str
    columns: tuple[str, ...]
    rows: tuple[Array, ...]

    def held(self, where: Array | None = None) -> tuple[list[Array], Array]:
        """The columns without the images that do not count, or that are not in `where` (N,) bool; and (n,) their positions."""
        every = np.arange(len(self.rows[0])) if where is None else np.flatnonzero(where)
        *rows, positions = kept(self.statistic, [*(row[every] for row in self.rows), every])
        return rows, positions


def material(
    probe: str, name: str, scope: str, value: Value | None, columns: Mapping[str, Array], names: tuple[str, ...]
) -> Material | None:
    """What is behind a figure; None for an exact one, and where the audit does not hold it."""
    if (probe, name) == RECALL and "label" in columns and "predicted" in columns:
        number = class_of(scope, value, columns, names)
        return None if number is None else recall_material(number, columns["label"], columns["predicted"])
    if value is None or not value.columns or any(column not in columns for column in value.columns):
        return None
    rows = tuple(np.asarray(columns[column], dtype=np.float64) for column in value.columns)
    if value.kind == "proportion" and len(rows) == 1:
        return Material("mean", value.columns, rows)
    if value.kind == "statistic" and value.statistic is not None and value.statistic in STATISTICS:
        return Material(value.statistic, value.columns, rows)
    return None


def recall_material(number: int, label: Array, predicted: Array) -> Material:
    """Right or wrong of the images of one class."""
    of = np.asarray(label, dtype=np.float64) == number
    right = np.where(of, np.asarray(predicted, dtype=np.float64) == number, np.nan)
    return Material("mean", ("label", "predicted"), (right,))


def remade(value: Value, found: Material, where: Array | None) -> Value:
    """The same figure of fewer images: of those in `where` (N,) bool."""
    rows, _ = found.held(where)
    if value.kind == "proportion":
        return proportion(int(rows[0].sum()), len(rows[0]), unit=value.unit, columns=value.columns)
    seed = value.seed or 0
    return statistic(found.statistic, dict(enumerate(rows)), unit=value.unit, seed=seed)  # type: ignore[arg-type]
