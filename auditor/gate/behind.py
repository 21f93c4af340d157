"""The images behind a figure that a rule does not pass, worst first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from auditor.gate.classes import class_of, worst_class
from auditor.gate.match import Case
from auditor.types import Array

MOST = 200
ROBUST = "adversarial.robust"
NONE: Array = np.zeros(0, dtype=np.int64)


def samples(case: Case, columns: Mapping[str, Array], names: tuple[str, ...] = ()) -> tuple[int, ...]:
    """Indices of at most 200 images. `names`: of the classes, in the order of the logits, where they are known.

    Of an accuracy or a recall: those taken for another class, by falling loss (of one class's recall: its own). Of the robust
    accuracy: those that did not stay right. Of a measure with a column of its own: those that miss the line by themselves,
    the farthest first. Of a slice: only its own images.
    """
    probe, name = case.rule.probe, case.rule.name
    own = ".".join(part for part in (probe, name, case.scope) if part)
    if own in columns and not case.rule.paired:
        found = beyond(case, columns[own], columns)
    elif probe == "performance" or (probe, name) == ("calibration", "ece"):
        found = wrong(case, columns, names)
    elif probe == "adversarial" and name.startswith("robust_accuracy"):
        found = lost(columns.get(ROBUST), columns)
    else:
        return ()
    if case.rows is not None:
        found = found[case.rows[found]]
    return tuple(int(i) for i in found[:MOST])


def wrong(case: Case, columns: Mapping[str, Array], names: tuple[str, ...]) -> Array:
    """Those labelled and taken for another class: by falling confidence for the calibration error, by falling loss else."""
    if "label" not in columns or "predicted" not in columns:
        return NONE
    label, predicted, name = as_numbers(columns["label"]), as_numbers(columns["predicted"]), case.rule.name
    chosen = (label >= 0) & (label != predicted)
    if name in ("worst_class_recall", "recall"):
        chosen &= label == (
            worst_class(columns) if name == "worst_class_recall" else class_of(case.scope, case.value, columns, names)
        )
    return ordered(np.flatnonzero(chosen), "confidence" if name == "ece" else "loss", columns)


def lost(robust: Array | None, columns: Mapping[str, Array]) -> Array:
    """Those that were attacked and did not stay right."""
    return NONE if robust is None else ordered(np.flatnonzero(as_numbers(robust) == 0), "loss", columns)


def beyond(case: Case, column: Array, columns: Mapping[str, Array]) -> Array:
    """Those on the wrong side of the line by themselves."""
    if column.dtype.kind not in "fiub":
        return NONE
    x = as_numbers(column)
    missed = x < case.rule.line if case.rule.at_least is not None else x > case.rule.line
    at = np.flatnonzero(missed)
    return np.asarray(at[by_key(x[at] if case.rule.at_least is not None else -x[at], at, columns)])


def ordered(at: Array, column: str, columns: Mapping[str, Array]) -> Array:
    """The positions `at` by the falling value of a column; those without a number come last."""
    return np.asarray(at[by_key(-falling(column, at, columns), at, columns)])


def falling(column: str, at: Array, columns: Mapping[str, Array]) -> Array:
    """The column's values at `at`, the lowest where there is no number; zeros without the column."""
    return np.nan_to_num(as_numbers(columns[column])[at], nan=-np.inf) if column in columns else np.zeros(len(at))


def by_key(rank: Array, at: Array, columns: Mapping[str, Array]) -> Array:
    """The order by rising rank; ties by falling loss, then by the sample's key, then by position."""
    keys = columns["key"][at].astype(str) if "key" in columns else np.zeros(len(at))
    return np.lexsort((at, keys, -falling("loss", at, columns), rank))


def as_numbers(column: Array) -> Array:
    """(N,) float64."""
    return np.asarray(column, dtype=np.float64)
