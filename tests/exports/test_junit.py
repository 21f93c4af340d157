from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from auditor.bounds import exact, proportion
from auditor.config import load_config
from auditor.exports.junit import junit
from auditor.gate import judge
from auditor.types import AuditRecord, Measure, Outcome, Section, Verdict

NASTY = "\x00\x07\ud800\ufffe<img src=x onerror=alert(1)>]]>&\"'\n\t\u202e\U0001f600"


def record(name: str = "x") -> AuditRecord:
    return AuditRecord(1, name, {}, {}, {}, {}, {})


def verdict(*outcomes: Outcome, code: int = 0) -> Verdict:
    return Verdict("pass", code, "why", outcomes)


def outcome(id: str, name: Any, **rule: Any) -> Outcome:
    return Outcome(id, name, f"{id} is {name}.", {"measure": id, **rule}, samples=tuple(range(30)), needed=5200)


def parsed(found: Verdict, name: str = "x") -> ET.Element:
    text = junit(record(name), found)
    assert text.encode()  # no lone surrogate is left
    return ET.fromstring(text)


def test_one_suite_a_probe_and_one_case_a_rule() -> None:
    root = parsed(
        verdict(
            outcome("performance.top1", "fail", at_least=0.8),
            outcome("performance.top1", "warn", at_least=0.9, level="warn"),
            outcome("inversion.psnr.blocks.2", "inconclusive", at_least=10),
            outcome("inversion.psnr.conv1", "pass", at_least=10),
            outcome("filters.dead_fraction", "incomplete", at_most=0.2),
            outcome("filters.noise_fraction", "waived", at_most=0.2),
            code=1,
        )
    )
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("6", "2", "1")
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["performance", "inversion", "filters"]
    assert [case.get("name") for case in suites["performance"]] == ["top1 at_least 0.8", "top1 at_least 0.9 warn"]
    assert [case.get("name") for case in suites["inversion"]] == ["psnr.blocks.2 at_least 10", "psnr.conv1 at_least 10"]
    fail, warn = suites["performance"]
    (failure,) = fail
    assert (failure.tag, failure.get("type"), failure.get("message")) == ("failure", "fail", "performance.top1 is fail.")
    assert failure.text is not None
    assert "number 0, number 1, number 2" in failure.text
    assert "(30 in gate.json)" in failure.text
    assert [child.tag for child in warn] == ["system-out"]
    open_, passed = suites["inversion"]
    assert (open_[0].tag, open_[0].get("type")) == ("failure", "inconclusive")
    assert "About 5,200 samples" in (open_[0].text or "")
    assert len(passed) == 0
    assert [case[0].tag for case in suites["filters"]] == ["error", "skipped"]
    for suite in root:
        assert suite.get("tests") == str(len(suite))
        assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
        assert suite.get("errors") == str(len(suite.findall("testcase/error")))
        assert suite.get("skipped") == str(len(suite.findall("testcase/skipped")))


def test_any_string_makes_valid_xml() -> None:
    found = verdict(Outcome(f"performance.recall.{NASTY}", "fail", NASTY, {"at_least": 0.5}), code=1)
    root = parsed(found, NASTY)
    (failure,) = root.iter("failure")
    assert "<img src=x onerror=alert(1)>]]>&\"'" in (failure.get("message") or "")
    assert "\x00" not in junit(record(NASTY), found)


def test_equal_rules_still_have_names_of_their_own() -> None:
    root = parsed(verdict(*[outcome("a.b", "pass", at_least=0.5)] * 3))
    assert [case.get("name") for case in root.iter("testcase")] == ["b at_least 0.5", "b at_least 0.5 #2", "b at_least 0.5 #3"]


@pytest.mark.parametrize("code", [1, 3, 4])
def test_a_verdict_that_fails_by_itself_has_a_case(code: int) -> None:
    root = parsed(Verdict("incomplete", code, "no coverage"))
    assert root.get("errors") == "1"
    assert [error.get("message") for error in root.iter("error")] == ["no coverage"]
    assert parsed(Verdict("not_gated", 0, "no rules")).get("tests") == "0"


def test_it_agrees_with_the_exit_code() -> None:
    rng = np.random.default_rng(0)
    measures = (Measure("top1", "Top-1", "share", "higher", "."), Measure("odd", "Odd", "", "none", "."))
    codes = set()
    for _ in range(200):
        sections = {
            "performance": Section("performance", "P", "done", values={"top1": proportion(int(rng.integers(0, 101)), 100)}),
            "other": Section("other", "O", "failed")
            if rng.uniform() < 0.3
            else Section("other", "O", "done", values={"odd": exact(1, "")}),
        }
        audit = AuditRecord(1, "x", {}, {"coverage": 1.0}, {}, {"performance": measures[:1], "other": measures[1:]}, sections)
        rules = [{"measure": "performance.top1", "at_least": 0.5, "level": ["fail", "warn"][rng.integers(2)]}]
        rules += [{"measure": "other.odd", "at_most": float(rng.integers(2))}] * int(rng.integers(2))
        found = judge(audit, {}, load_config({"gate": {"rules": rules}}).gate)
        root = ET.fromstring(junit(audit, found))
        codes.add(found.exit_code)
        assert (int(root.get("failures", "")) + int(root.get("errors", "")) == 0) == (found.exit_code == 0)
        names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
        assert len(names) == len(set(names)) == len(found.outcomes)
    assert codes == {0, 1, 3, 4}
