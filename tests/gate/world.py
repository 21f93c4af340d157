"""Audits of a classifier from its answers alone, as the gate reads them."""

from __future__ import annotations

from typing import Any

import numpy as np

from auditor.baseline import baseline_of
from auditor.bounds import proportion, statistic
from auditor.config import load_config
from auditor.gate import judge
from auditor.types import AuditRecord, Baseline, Measure, Outcome, Section, Value, Verdict

Columns = dict[str, np.ndarray]

MEASURES = (
    Measure("top1", "Accuracy", "share", "higher", "."),
    Measure("macro_recall", "Macro recall", "share", "higher", "."),
    Measure("worst_class_recall", "Worst-class recall", "share", "higher", "."),
    Measure("ece", "Calibration error", "share", "lower", "."),
    Measure("recall", "Recall", "share", "higher", "."),
    Measure("kept", "Images kept", "share", "none", "."),
)


def answers(label: np.ndarray, right: np.ndarray, *, confidence: np.ndarray | None = None, **slices: Any) -> Columns:
    """Columns of predictions.parquet; a wrong answer is the next class."""
    label, n = np.asarray(label, dtype=np.int64), len(label)
    classes = max(2, int(label.max()) + 1)
    right = np.asarray(right, dtype=bool)
    columns = {
        "key": np.array([f"{i:064x}:0" for i in range(n)], dtype=object),
        "name": np.array([f"{label[i]}/{i:05d}.png" for i in range(n)], dtype=object),
        "label": label,
        "predicted": np.where(right, label, (label + 1) % classes),
        "confidence": np.full(n, 0.8) if confidence is None else confidence,
        "correct": np.where(label >= 0, right, np.nan).astype(np.float32),
        "loss": np.where(right, 0.1, 2.0).astype(np.float32),
    }
    return columns | {f"slice.{name}": np.array(entries, dtype=object) for name, entries in slices.items()}


def audit(columns: Columns, *, names: list[str] | None = None, digest: str = "ab" * 32, **values: Value) -> AuditRecord:
    """The audit of these answers, with the figures that `performance` gives."""
    held = columns["label"] >= 0
    label, right = columns["label"], np.nan_to_num(columns["correct"]) > 0
    found = {"top1": proportion(int(right[held].sum()), int(held.sum()), columns=("correct",))}
    two = {name: columns[name] for name in ("label", "predicted")}
    for name in ("macro_recall", "worst_class_recall"):
        found[name] = Value(0.5, "statistic", "share", n=int(held.sum()), statistic=name, columns=tuple(two), seed=0)
    found["ece"] = Value(0.1, "statistic", "share", n=len(label), statistic="ece", columns=("confidence", "correct"), seed=0)
    classes = np.unique(label[held]).tolist()
    if len(classes) <= 100:
        for number in classes:
            named = names[number] if names else str(number)
            found[f"recall.{named}"] = proportion(int(right[label == number].sum()), int((label == number).sum()))
    model = {"source": "net.py:net", "digest": digest, "task": "classification", "outputs": max(classes) + 1}
    return AuditRecord(
        1,
        "candidate",
        {"model": model, "dataset_digest": "d" * 64},
        {"coverage": 1.0, "listed": len(label), "names": names or []},
        {"seed": 0},
        {"performance": MEASURES},
        {"performance": Section("performance", "Performance", "done", values=found | values)},
    )


def real_statistics(columns: Columns) -> dict[str, Value]:
    """macro_recall, worst_class_recall and ece, computed: `audit` gives placeholders, as that takes a while."""
    two = {name: columns[name] for name in ("label", "predicted")}
    return {name: statistic(name, two, unit="share", seed=0) for name in ("macro_recall", "worst_class_recall")} | {
        "ece": statistic("ece", {name: columns[name] for name in ("confidence", "correct")}, unit="share", seed=0)
    }


def baseline(columns: Columns, **more: Any) -> Baseline:
    """The same as a baseline."""
    return baseline_of(audit(columns, **more), columns, made="2026-01-02")


def gate(columns: Columns, *rules: dict[str, Any], record: AuditRecord | None = None, **more: Any) -> Verdict:
    """Judge: `more` are keys of [gate], and baseline=, today=, group= of judge."""
    to_judge = {key: more.pop(key) for key in ("against", "today", "group") if key in more}
    policy = load_config({"gate": {"rules": list(rules), **more}}).gate
    named = {"baseline" if key == "against" else key: value for key, value in to_judge.items()}
    return judge(record or audit(columns), columns, policy, **named)


def rule(measure: str, **keys: Any) -> dict[str, Any]:
    return {"measure": f"performance.{measure}", **keys}


def of(verdict: Verdict, id: str) -> Outcome:
    (outcome,) = [o for o in verdict.outcomes if o.id == id]
    return outcome


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)
