"""Which class a figure is about: by its name where the audit holds names, else by its counts where they fit one class alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from auditor.bounds import proportion
from auditor.bounds.statistics import tally
from auditor.types import Array, AuditRecord, Value

RECALL = ("performance", "recall")
"""The probe and the measure that has one figure a class."""


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


def scope_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The classes as figures are named after them: one that has another's name has its number behind it."""
    counts = Counter(names)
    return tuple(name if counts[name] == 1 else f"{name} ({number})" for number, name in enumerate(names))


def recalls(columns: Mapping[str, Array], names: tuple[str, ...]) -> dict[str, Value]:
    """Class -> its recall, of every class that has a sample: an audit of many classes holds no figure of each."""
    named = scope_names(names)
    return {
        named[number] if number < len(named) else str(number): proportion(right, count)
        for number, right, count in tallied(columns)
    }


def class_of(scope: str, value: Value | None, columns: Mapping[str, Array], names: tuple[str, ...]) -> int | None:
    """The class that the figure `recall.SCOPE` is about: by its name, its number, or the counts that fit no other."""
    named = scope_names(names)
    if scope in named:
        return named.index(scope)
    if not names and scope.isdecimal():
        return int(scope)
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
