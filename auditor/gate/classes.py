"""Which class a figure is about: by its name where the audit holds names, else by its counts where they fit one class alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from auditor.bounds.statistics import tally
from auditor.gate.match import Case
from auditor.types import Array, AuditRecord, Value


def class_names(record: AuditRecord) -> tuple[str, ...]:
    """Names of the classes in the order of the logits; empty where the audit does not hold them."""
    model = record.provenance.get("model")
    for found in (record.dataset.get("names"), model.get("classes") if isinstance(model, Mapping) else None):
        if isinstance(found, list | tuple) and all(isinstance(name, str) for name in found):
            return tuple(found)
    return ()


def tallied(columns: Mapping[str, Array]) -> list[tuple[int, int, int]]:
    """(class, right, samples) of every class that has a sample, rising."""
    if "label" not in columns or "predicted" not in columns:
        return []
    label, predicted = (np.asarray(columns[name], dtype=np.float64) for name in ("label", "predicted"))
    classes, count, right = tally(label, predicted)
    return list(zip(classes.tolist(), right.tolist(), count.tolist(), strict=True))


def worst_class(columns: Mapping[str, Array]) -> int | None:
    """The class of the lowest recall, the first on a tie; None without a label."""
    found = tallied(columns)
    return min(found, key=lambda row: row[1] / row[2])[0] if found else None


def class_of(case: Case, columns: Mapping[str, Array], names: tuple[str, ...]) -> int | None:
    """The class that `performance.recall.NAME` is about."""
    if case.scope in names:
        return names.index(case.scope)
    value = case.value
    fits = [number for number, right, count in tallied(columns) if value is not None and (right, count) == (value.k, value.n)]
    return fits[0] if len(fits) == 1 else None


def name_of(number: int, columns: Mapping[str, Array], names: tuple[str, ...], values: Mapping[str, Value]) -> str:
    """A class's name, its number where that cannot be said. `values`: those of the section, with `recall.NAME` among them."""
    if number < len(names):
        return names[number]
    rows = {row[0]: row[1:] for row in tallied(columns)}
    alone = list(rows.values()).count(rows[number]) == 1
    fits = [key for key, value in values.items() if key.startswith("recall.") and (value.k, value.n) == rows[number]]
    return fits[0].partition(".")[2] if alone and len(fits) == 1 else f"number {number}"
