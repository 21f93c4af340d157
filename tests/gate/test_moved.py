"""A figure that has moved to another probe is found under its old name: in rules, presets, waivers, baselines and old audits."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from auditor.bounds import statistic
from auditor.config import GateSettings, load_config
from auditor.config.moved import name_in, probes_for, today_of
from auditor.gate import judge
from auditor.gate.compare import compare
from auditor.gate.pairs import with_moved
from auditor.types import AuditRecord, Baseline, Measure, Section, Value

ECE = Measure("ece", "Calibration error", "share", "lower", ".")
TOP1 = Measure("top1", "Accuracy", "share", "higher", ".")


def columns(seed: int = 0, shift: float = 0.0, n: int = 600) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.5, 0.95, n)
    correct = (np.random.default_rng(99).uniform(size=n) < confidence).astype(float)
    return {
        "key": np.array([f"{i:064x}:0" for i in range(n)], dtype=object), "name": np.array([f"{i}.png" for i in range(n)], dtype=object),
        "label": np.zeros(n, dtype=np.int64), "predicted": (1 - correct).astype(np.int64), "correct": correct,
        "confidence": np.clip(confidence + shift, 0, 1), "loss": 1 - confidence,
    }  # fmt: skip


def figure(held: Any) -> Value:
    return statistic("ece", {name: held[name] for name in ("confidence", "correct")}, unit="share", seed=0)


def audit(held: Any, probe: str, **parameters: Any) -> AuditRecord:
    measures = {"performance": (TOP1,), "calibration": (ECE,)} if probe == "calibration" else {"performance": (TOP1, ECE)}
    sections = {
        name: Section(name, name, "done", parameters={"gallery": 8, **parameters}, only_shown=("gallery",)) for name in measures
    }
    sections[probe] = replace(sections[probe], values={"ece": figure(held)})
    return AuditRecord(
        1, "audit", {"model": {"task": "classify", "outputs": 2, "classes": ["a", "b"]}}, {"names": ["a", "b"], "coverage": 1.0},
        {"seed": 0}, measures, sections,
    )  # fmt: skip


def baseline(held: Any, probe: str) -> Baseline:
    model = {"task": "classify", "outputs": 2, "classes": ["a", "b"], "seed": 0, "digest": "x"}
    return Baseline(
        "old", "2026-01-01", model, {f"{probe}.ece": 1}, {probe: {"gallery": 16}}, {f"{probe}.ece": figure(held)},
        {name: column for name, column in held.items() if name != "correct"}, first={"name": "first", "made": "2025-01-01", "values": {f"{probe}.ece": 0.01}},
    )  # fmt: skip


def settings(*rules: Any, **more: Any) -> GateSettings:
    return load_config({"gate": {"rules": list(rules), **more}}).gate


@pytest.mark.parametrize("named", ["performance.ece", "calibration.ece"])
@pytest.mark.parametrize("probe", ["performance", "calibration"], ids=["old audit", "new audit"])
def test_a_rule_by_either_name_judges_either_audit(named: str, probe: str) -> None:
    held = columns()
    record = audit(held, probe)
    good, bad = (judge(record, held, settings({"measure": named, "at_most": line})).outcomes for line in (0.3, 1e-6))
    assert [(o.id, o.verdict) for o in good[:1]] == [(f"{probe}.ece", "pass")]
    assert bad[0].verdict in ("fail", "inconclusive")
    sliced = {**held, "slice.site": np.array(["n", "s"] * 300, dtype=object)}
    found = judge(record, sliced, settings({"measure": named, "at_most": 0.3, "slice": "site=n"})).outcomes
    assert found[0].n == 300


@pytest.mark.parametrize("then", ["performance", "calibration"])
@pytest.mark.parametrize("now", ["performance", "calibration"])
@pytest.mark.parametrize("named", ["performance.ece", "calibration.ece"])
def test_a_baseline_of_either_time_pairs_with_either_audit(named: str, now: str, then: str) -> None:
    before, today = columns(), columns(shift=0.04)
    asked = settings({"measure": named, "no_worse_than_baseline_by": 0.2})
    verdict = judge(audit(today, now), today, asked, baseline=baseline(before, then))
    outcome = verdict.outcomes[0]
    assert outcome.verdict == "pass", outcome.sentence
    assert outcome.baseline["pairs"] == 600
    assert outcome.baseline["difference"] == pytest.approx(figure(today).value - figure(before).value)
    assert [row["id"] for row in verdict.baseline["drift"]] == [f"{now}.ece"]


def test_a_preset_that_names_it_works_on_new_audits() -> None:
    before, today = columns(), columns(shift=0.01)
    verdict = judge(audit(today, "calibration"), today, settings(preset="standard@1"), baseline=baseline(before, "performance"))
    found = {o.id: o for o in verdict.outcomes}
    assert found["calibration.ece"].baseline["pairs"] == 600
    own = settings({"measure": "calibration.ece", "no_worse_than_baseline_by": 0.5}, preset="standard@1")
    assert [r.line for r in own.all_rules if today_of(r.measure) == "calibration.ece"] == [0.5]


def test_a_waiver_by_the_old_name_lets_the_figure_through() -> None:
    held = columns()
    waiver = {"id": "W1", "measure": "performance.ece", "owner": "a", "reason": "b", "expires": "2026-12-31"}
    policy = settings({"measure": "calibration.ece", "at_most": 1e-6}, waivers=[waiver])
    verdict = judge(audit(held, "calibration"), held, policy, today=date(2026, 12, 1))
    assert [(o.id, o.verdict) for o in verdict.outcomes[:1]] == [("calibration.ece", "waived")]


def test_compare_finds_it_on_both_sides_once() -> None:
    before, today = columns(), columns(shift=0.04)
    found = compare(audit(today, "calibration"), today, baseline(before, "performance"))
    assert [d.id for d in found.figures] == ["calibration.ece"]
    assert found.figures[0].n == 600
    assert found.left_out == ()


def test_names_by_hand() -> None:
    assert today_of("performance.ece") == "calibration.ece"
    assert today_of("performance.ece.x.y") == "calibration.ece.x.y"
    assert today_of("performance.top1") == "performance.top1"
    assert name_in("performance.ece", {"calibration.ece"}) == "calibration.ece"
    assert name_in("calibration.ece", {"performance.ece"}) == "performance.ece"
    assert name_in("performance.ece", {"performance.ece", "calibration.ece"}) == "performance.ece"
    assert name_in("performance.ece", set()) == "performance.ece"
    assert probes_for(["performance.ece", "performance.top1"], {"performance"}) == ("calibration",)
    assert probes_for(["performance.ece"], {"filters"}) == ()
    assert probes_for(["performance.top1"], {"performance"}) == ()
    held = with_moved(baseline(columns(), "performance"))
    assert set(held.values) == {"performance.ece", "calibration.ece"}
