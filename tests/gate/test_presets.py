"""Presets: known by version, laid under one's own rules, gentle to models that they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.config import load_config
from auditor.config.presets import PRESETS
from auditor.errors import ConfigError
from auditor.gate import require_known
from auditor.probes import registry
from tests.gate.world import answers, audit, baseline, gate, of, rng

DOCS = Path(__file__).parents[2] / "docs"
COLUMNS = answers([0, 1, 2] * 200, rng(0).uniform(size=600) < 0.95)


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_is_hygiene_and_baseline_rules_on_figures_that_there_are(name: str) -> None:
    policy = load_config({"gate": {"preset": name}}).gate
    catalogue = {probe: cls.measures for probe, cls in registry().items()}
    assert "@" in name
    for rule in policy.all_rules:
        require_known(rule, catalogue)
        assert rule.paired or rule.probe != "performance", "no absolute accuracy"
        assert rule.paired or rule.at_most is not None


def test_the_study_behind_them_is_committed_and_of_these_rules() -> None:
    study = json.loads((DOCS / "presets.json").read_text())
    assert set(study["rules"]) == set(PRESETS)
    for name, rules in study["rules"].items():
        assert {rule.partition(" ")[0] for rule in rules} == {rule["measure"] for rule in PRESETS[name]}
        assert all(counts["sound"][0] == 0 for counts in rules.values()), "no sound model is found bad"
    assert all(f"`{name}`" in (DOCS / "gate.md").read_text() for name in PRESETS)


def test_ones_own_rule_takes_the_place_of_the_presets() -> None:
    own = {"measure": "performance.top1", "no_worse_than_baseline_by": 0.2}
    policy = load_config(
        {"gate": {"preset": "standard@1", "rules": [own, {"measure": "performance.top1", "at_least": 0.5}]}}
    ).gate
    margins = [rule.line for rule in policy.all_rules if rule.measure == "performance.top1" and rule.paired]
    assert margins == [0.2]
    assert policy.all_rules[0] == policy.rules[0]
    assert len(policy.all_rules) == len(PRESETS["standard@1"]) + 1
    assert policy.digest != load_config({"gate": {"preset": "smoke@1", "rules": [own]}}).gate.digest


def test_a_probe_that_is_not_there_warns_and_one_that_failed_is_incomplete() -> None:
    import dataclasses

    from auditor.types import Measure, Section

    found = gate(COLUMNS, preset="standard@1", against=baseline(COLUMNS))
    assert (found.verdict, found.exit_code) == ("warn", 0)
    assert of(found, "filters.dead_fraction").verdict == "warn"
    assert of(found, "performance.top1").verdict == "pass"
    record = audit(COLUMNS)
    measures = (Measure("dead_fraction", "Dead filters", "share", "lower", "."),)
    for status, code in (("not_applicable", 0), ("skipped", 0), ("failed", 3)):
        sections = {**record.sections, "filters": Section("filters", "F", status, reason="x")}  # type: ignore[arg-type]
        catalogue = record.catalogue if status == "skipped" else {**record.catalogue, "filters": measures}
        other = dataclasses.replace(record, sections=sections, catalogue=catalogue)
        assert gate(COLUMNS, preset="standard@1", record=other, against=baseline(COLUMNS)).exit_code == code, status
    asked = {"measure": "filters.dead_fraction", "at_most": 0.2}
    sections = {**record.sections, "filters": Section("filters", "F", "not_applicable")}
    other = dataclasses.replace(record, sections=sections, catalogue={**record.catalogue, "filters": measures})
    assert gate(COLUMNS, asked, preset="standard@1", record=other, against=baseline(COLUMNS)).exit_code == 3, (
        "a rule of one's own"
    )


def test_a_preset_without_a_version_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="expected one of strict@1, standard@1, smoke@1, got 'standard'"):
        load_config({"gate": {"preset": "standard"}})
