"""Today's images beside the baseline's: matched by content, both sides scored with today's labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from auditor.config.moved import BACK, MOVED, renamed
from auditor.gate.classes import class_names
from auditor.types import Array, AuditRecord, Baseline, Json

LEAST_OVERLAP = 0.95
"""Share of either side's images that the other must hold, too."""


@dataclass(frozen=True)
class Pairs:
    """A baseline, matched with an audit."""

    baseline: Baseline
    record: AuditRecord
    columns: Mapping[str, Array]
    """Today's, of predictions.parquet."""

    @cached_property
    def matched(self) -> tuple[Array, Array]:
        """(M,) positions today, and (M,) the positions of the same images in the baseline."""
        if "key" not in self.columns or "key" not in self.baseline.columns:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        place = {key: i for i, key in enumerate(self.baseline.columns["key"].tolist())}
        found = [(i, place[key]) for i, key in enumerate(self.columns["key"].tolist()) if key in place]
        both = np.array(found, dtype=np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    @cached_property
    def overlap(self) -> float:
        """Matched images as a share of the larger side."""
        most = max(len(self.columns.get("key", ())), len(self.baseline.columns.get("key", ())))
        return len(self.matched[0]) / most if most else 0.0

    @cached_property
    def relabelled(self) -> Array:
        """(M,) bool: the label is another one today."""
        now, then = self.matched
        if "label" not in self.columns or "label" not in self.baseline.columns:
            return np.zeros(len(now), dtype=bool)
        return np.asarray(np.asarray(self.columns["label"])[now] != self.as_today(self.baseline.columns["label"])[then])

    def as_today(self, classes: Array) -> Array:
        """The baseline's class numbers as today's; -2 for a class that today's model does not have."""
        today, before = class_names(self.record), tuple(self.baseline.model.get("classes") or ())
        numbers = np.asarray(classes, dtype=np.int64)
        if not today or not before or today == before:
            return numbers
        place = {name: i for i, name in enumerate(today)}
        table = np.array([place.get(name, -2) for name in before], dtype=np.int64)
        known = (numbers >= 0) & (numbers < len(table))
        return np.where(known, table[np.clip(numbers, 0, len(table) - 1)], np.where(numbers < 0, numbers, -2))

    @cached_property
    def before(self) -> Mapping[str, Array]:
        """The baseline's columns at the matched images (M,), scored with today's labels.

        A column that cannot be scored anew has NaN where the label is another one today.
        """
        now, then = self.matched
        found: dict[str, Array] = {}
        for name, column in self.baseline.columns.items():
            if column.dtype.kind in "fiub" and name not in ("label", "predicted", "correct"):
                entries = np.asarray(column, dtype=np.float64)[then]
                found[name] = entries if name == "confidence" else np.where(self.relabelled, np.nan, entries)
        if "label" in self.columns:
            found["label"] = np.asarray(self.columns["label"], dtype=np.int64)[now]
        if "predicted" in self.baseline.columns:
            found["predicted"] = self.as_today(self.baseline.columns["predicted"])[then]
        if "label" in found and "predicted" in found:
            right = (found["predicted"] == found["label"]).astype(np.float64)
            found["correct"] = np.where(found["label"] >= 0, right, np.nan)
        return found

    @cached_property
    def today(self) -> Mapping[str, Array]:
        """Today's columns of numbers at the matched images (M,)."""
        now, _ = self.matched
        return {name: np.asarray(column)[now] for name, column in self.columns.items() if column.dtype.kind in "fiub"}

    @cached_property
    def difference(self) -> str:
        """Why the two cannot be compared at all; "" where they can."""
        model, before = self.record.provenance.get("model"), self.baseline.model
        task = model.get("task") if isinstance(model, Mapping) else None
        if task != before.get("task"):
            return f"the baseline was made for the task {before.get('task')}, this audit for {task}"
        seed = self.record.plan.get("seed")
        if seed != before.get("seed"):
            return f"the baseline was made with seed {before.get('seed')}, this audit with {seed}"
        if self.overlap < LEAST_OVERLAP:
            share = f"{100 * self.overlap:.1f} %"
            return f"only {share} of the images are the same as the baseline's, and at least {100 * LEAST_OVERLAP:.0f} % must be"
        if not class_names(self.record) and model_outputs(model) != before.get("outputs"):
            return f"the baseline's model has {before.get('outputs')} outputs, this one {model_outputs(model)}, and no names"
        return ""

    def unlike(self, probe: str, name: str, revision: int) -> str:
        """Why this measure cannot be compared: another revision, other parameters of its probe; "" where it can."""
        if self.difference:
            return self.difference
        before = self.baseline.revisions.get(f"{probe}.{name}")
        if before is not None and before != revision:
            return f"the measure has changed its meaning since the baseline (revision {before}, now {revision})"
        section = self.record.sections.get(probe)
        made, then = (section.parameters if section else {}), self.baseline.parameters.get(probe)
        if then is None:
            return f"the baseline has no figures of {probe}"
        shown = section.only_shown if section else ()
        other = sorted(key for key in {*made, *then} - {*shown} if made.get(key) != then.get(key))
        if other:
            return f"the baseline was made with other settings of {probe}: {', '.join(told(k, then, made) for k in other)}"
        return ""


def with_moved(baseline: Baseline) -> Baseline:
    """The baseline with every figure that has moved to another probe under both its names."""
    values, revisions, parameters = dict(baseline.values), dict(baseline.revisions), dict(baseline.parameters)
    first = dict(baseline.first.get("values", {}))
    for table in (MOVED, BACK):
        for held, add in ((values, values.setdefault), (revisions, revisions.setdefault), (first, first.setdefault)):
            for id in list(held):
                if renamed(id, table) != id:
                    add(renamed(id, table), held[id])  # type: ignore[arg-type]
        for old, new in table.items():
            before, now = old.split(".")[0], new.split(".")[0]
            if old in baseline.values and before in baseline.parameters:
                parameters.setdefault(now, baseline.parameters[before])
    known = {**baseline.first, "values": first} if baseline.first else baseline.first
    return replace(baseline, values=values, revisions=revisions, parameters=parameters, first=known)


def told(key: str, before: Mapping[str, Json], now: Mapping[str, Json]) -> str:
    """`images 64, now 32`."""
    return f"{key} {before.get(key)}, now {now.get(key)}"


def model_outputs(model: object) -> object:
    """How many scores the model gives."""
    return model.get("outputs") if isinstance(model, Mapping) else None
