"""Everything that is made from gate.json says what gate.json says: over hundreds of verdicts, hostile names among them."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml
from huggingface_hub import ModelCard

from auditor.exports.github import workflow_commands
from auditor.exports.sarif import LEVELS
from auditor.folder import exported
from auditor.store import outcome_from, plain
from auditor.types import VERDICTS, Outcome, Verdict
from tests.exports.verdicts import one

SCHEMA = json.loads(Path(__file__).with_name("sarif-2.1.0.subset.json").read_text())
BLOCKING = ("fail", "incomplete", "inconclusive")
CASES = [(seed, nasty) for seed in range(60) for nasty in (False, True)]

# What Jenkins' xUnit schema (junit-10) knows: element -> (attributes it must have, attributes it may have, children).
ELEMENTS = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors"}, {"time", "skipped", "timestamp", "hostname", "id", "package"}, {"testcase", "properties"}),
    "testcase": ({"name"}, {"time", "classname"}, {"failure", "error", "skipped", "system-out", "system-err"}),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "skipped": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}  # fmt: skip


def valid(element: ET.Element) -> None:
    must, may, children = ELEMENTS[element.tag]
    assert must <= set(element.attrib) <= must | may, element.tag
    for child in element:
        assert child.tag in children, f"{child.tag} in {element.tag}"
        valid(child)


def wanted(verdict: Verdict) -> Counter[str]:
    return Counter(outcome.verdict for outcome in verdict.outcomes)


def test_the_cases_hold_every_kind_of_outcome() -> None:
    kinds = {outcome.verdict for seed in range(60) for outcome in one(seed)[2].outcomes}
    assert kinds == set(VERDICTS) - {"not_gated"}


@pytest.mark.parametrize(("seed", "nasty"), CASES)
def test_all_outputs_agree_with_gate_json(seed: int, nasty: bool) -> None:
    record, columns, verdict = one(seed, nasty=nasty)
    assert (verdict.exit_code == 0) == (not any(wanted(verdict)[name] for name in BLOCKING))
    stored = json.loads(json.dumps(plain(verdict)))
    again = Verdict(**{**stored, "outcomes": tuple(map(outcome_from, stored["outcomes"])), "waivers": tuple(stored["waivers"])})
    texts = exported(record, verdict, columns)
    assert exported(record, again, columns) == texts, "the exports come from gate.json alone"
    for name, text in texts.items():
        assert text.encode(), f"{name} is valid UTF-8"
    junit_agrees(ET.fromstring(texts["junit.xml"]), verdict)
    sarif_agrees(json.loads(texts["results.sarif"]), verdict)
    summary_agrees(texts["summary.md"], verdict)
    commands_agree(workflow_commands(verdict), verdict)
    images_agree(texts["images.csv"], verdict)
    card_agrees(texts["model_card.md"], verdict)


def junit_agrees(root: ET.Element, verdict: Verdict) -> None:
    valid(root)
    counts = wanted(verdict)
    assert root.get("tests") == str(len(verdict.outcomes))
    assert root.get("failures") == str(counts["fail"] + counts["inconclusive"]) == str(len(root.findall(".//failure")))
    assert root.get("errors") == str(counts["incomplete"]) == str(len(root.findall(".//error")))
    assert len(root.findall(".//skipped")) == counts["waived"]
    assert len(root.findall(".//system-out")) == counts["warn"] + counts["undecided"]
    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len(set(names)) == len(names)


def sarif_agrees(document: dict, verdict: Verdict) -> None:  # type: ignore[type-arg]
    jsonschema.validate(document, SCHEMA, format_checker=jsonschema.FormatChecker())
    (run,) = document["runs"]
    assert run["invocations"][0]["exitCode"] == verdict.exit_code
    counts = wanted(verdict)
    del counts["pass"]
    assert Counter(result["properties"]["verdict"] for result in run["results"]) == counts
    open_errors = [result for result in run["results"] if result["level"] == "error" and "suppressions" not in result]
    assert bool(open_errors) == (verdict.exit_code != 0)
    for result in run["results"]:
        assert result["ruleId"] == run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"]
        assert result["level"] == LEVELS[result["properties"]["verdict"]]
    prints = [result["partialFingerprints"]["auditorOutcome/v1"] for result in run["results"]]
    assert len(set(prints)) == len(prints)


def summary_agrees(text: str, verdict: Verdict) -> None:
    assert text.startswith(f"## {VERDICTS[verdict.verdict]}")
    assert f"Exit code {verdict.exit_code}." in text
    rows = [line for line in text.splitlines() if re.match(rf"\| ({'|'.join(VERDICTS.values())}) \|", line)]
    assert len(rows) == sum(o.many == 1 or o.verdict != "pass" for o in verdict.outcomes)
    assert all(waiver["id"] and f"| {waiver['standing']} |" in text for waiver in verdict.waivers)


def commands_agree(text: str, verdict: Verdict) -> None:
    lines = text.splitlines()
    counts = wanted(verdict)
    errors, warnings = sum(counts[name] for name in BLOCKING), counts["warn"]
    assert sum(line.startswith("::error ") for line in lines) == min(errors, 10)
    assert sum(line.startswith("::warning ") for line in lines) == min(warnings, 10)
    assert bool(errors) == (verdict.exit_code != 0)
    assert all(re.match(r"::(error|warning|notice) file=[^,]*,line=\d+,title=[^,:]*::", line) for line in lines), "one line each"


def images_agree(text: str, verdict: Verdict) -> None:
    rows = list(csv.DictReader(io.StringIO(text)))
    newly = sum(len(o.baseline.get("newly_right", {}).get("samples", ())) for o in verdict.outcomes)
    assert len(rows) == sum(len(o.samples) for o in verdict.outcomes) + newly
    assert not any(cell[:1] in ("=", "+", "-", "@") for row in rows for cell in (row["name"], row["outcome"]))


def card_agrees(text: str, verdict: Verdict) -> None:
    card = ModelCard(text)
    assert card.data.eval_results
    assert f"**{VERDICTS[verdict.verdict]}.**" in text
    (result,) = [r for r in card.data.eval_results if r.metric_type == "accuracy"]
    shown = yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"][0]["metrics"]
    assert result.metric_value == next(m["value"] for m in shown if m["type"] == "accuracy")


def test_junit_names_the_images_by_their_files() -> None:
    record, columns, verdict = one(3)
    root = ET.fromstring(exported(record, verdict, columns)["junit.xml"])
    failing = [outcome for outcome in verdict.outcomes if outcome.verdict in ("fail", "inconclusive") and outcome.names]
    bodies = " ".join(failure.text or "" for failure in root.iter("failure"))
    assert failing
    assert all(outcome.names[0] in bodies for outcome in failing)


def test_a_verdict_that_fails_by_itself_has_a_result_everywhere() -> None:
    record, columns, _ = one(0)
    verdict = Verdict("incomplete", 3, "no coverage")
    texts = exported(record, verdict, columns)
    sarif = json.loads(texts["results.sarif"])
    jsonschema.validate(sarif, SCHEMA)
    assert [result["message"]["text"] for result in sarif["runs"][0]["results"]] == ["no coverage"]
    assert workflow_commands(verdict).startswith("::error ")
    assert ET.fromstring(texts["junit.xml"]).get("errors") == "1"


def test_results_point_at_the_lines_of_the_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from auditor.config import load_config
    from auditor.config.lines import located

    monkeypatch.chdir(tmp_path)
    (tmp_path / "ci").mkdir()
    path = tmp_path / "ci" / "audit.toml"
    path.write_text(
        '[gate]\nconfidence = 0.95\n\n[[gate.rules]]\nmeasure = "performance.top1"\nat_least = 0.99\n\n'
        '# a comment\n[[gate.waivers]]\nid = "W1"\nmeasure = "performance.ece"\nowner = "a"\nreason = "b"\nexpires = 2026-01-01\n'
        '\n[[ gate . rules ]]\nmeasure = "performance.recall"\nat_least = 0.9\n'
    )
    settings = load_config(path)
    found = located(settings)
    assert found == {"path": "ci/audit.toml", "rules": [4, 16], "waivers": [9], "gate": 1}
    outcomes = tuple(
        Outcome(id, "fail", "x.", {"measure": id}, number=n) for n, id in enumerate(("performance.top1", "performance.recall"))
    )
    expired = Outcome("waiver.W1", "fail", "y.", {"measure": "waiver.W1"}, waiver="W1")
    verdict = Verdict("fail", 1, "x.", (*outcomes, expired), waivers=({"id": "W1"},), source=found)
    lines = [re.search(r"file=(.*),line=(\d+),", line).groups() for line in workflow_commands(verdict).splitlines()]  # type: ignore[union-attr]
    assert lines == [("ci/audit.toml", "4"), ("ci/audit.toml", "16"), ("ci/audit.toml", "9")]
    inline = tmp_path / "inline.toml"
    inline.write_text(
        '[gate]\nrules = [\n  { measure = "performance.top1", at_least = 0.9 },\n  { measure = "performance.ece", at_most = 0.1 },\n]\n'
    )
    assert located(load_config(inline))["rules"] == [3, 4]
    assert located(load_config({})) == {}
    monkeypatch.chdir(tmp_path / "ci")
    assert located(load_config(inline))["path"] == "inline.toml", "no path of the machine"


def test_more_than_ten_errors_become_nine_and_a_roll_up() -> None:
    outcomes = tuple(
        Outcome(f"performance.recall.{i}", "fail", f"{i} is bad.", {"measure": "performance.recall"}) for i in range(40)
    )
    lines = workflow_commands(Verdict("fail", 1, "x", outcomes)).splitlines()
    assert len(lines) == 10
    assert "31 more" in lines[-1]
    assert "performance.recall.9, " in lines[-1]


def test_the_entry_for_a_benchmark_is_one_that_the_hub_reads() -> None:
    from huggingface_hub import parse_eval_result_entries

    record, columns, verdict = one(1)
    assert ".eval_results/auditor.yaml" not in exported(record, verdict, columns)
    named = replace(verdict, source={"hub": {"dataset": "org/bench", "task": None}})
    (entry,) = parse_eval_result_entries(yaml.safe_load(exported(record, named, columns)[".eval_results/auditor.yaml"]))
    assert (entry.dataset_id, entry.task_id) == ("org/bench", "default")
    assert entry.value == record.sections["performance"].values["top1"].value
    assert "90 % interval" in str(entry.notes)
