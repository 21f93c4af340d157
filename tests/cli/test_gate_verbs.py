"""baseline, waive, compare, init --from and verify, as they are typed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from auditor.baseline import read_baseline
from auditor.config import load_config
from auditor.folder import judge_folder
from auditor.store import read_audit, read_verdict
from tests.cli.world import called, write_folder
from tests.gate.world import answers, real_statistics, rng

LABEL = np.repeat(np.arange(4), 100)
RIGHT = rng(0).uniform(size=400) < 0.95
GOOD = answers(LABEL, RIGHT, site=np.array(["north", "south"])[np.arange(400) % 2])
LOST = answers(LABEL, np.where((LABEL == 2) & (np.arange(400) % 2 == 0), False, RIGHT), site=GOOD["slice.site"])
EASY = {"rules": [{"measure": "performance.top1", "at_least": 0.5}]}
POLICY = """\
[gate]
baseline = "baseline.parquet"

[[gate.rules]]
measure = "performance.recall"
no_worse_than_baseline_by = 0.1

[[gate.rules]]
measure = "performance.top1"
slice = "site=north"
at_least = 0.9
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """reports/main and reports/candidate, which has lost half of a class, and their audit.toml."""
    write_folder(tmp_path / "reports" / "main", GOOD, policy=EASY)
    write_folder(tmp_path / "reports" / "candidate", LOST, policy=EASY, digest="cd" * 32)
    (tmp_path / "audit.toml").write_text(POLICY)
    return tmp_path


def test_a_baseline_is_set_shown_and_carries_the_first_one(here: Path) -> None:
    code, out, _ = called("baseline", "set", "reports/main", "--today", "2026-01-02", cwd=here)
    assert code == 0
    assert "baseline main, set on 2026-01-02" in out
    assert "file     baseline.parquet, 0.0" in out
    code, out, _ = called("baseline", "set", "reports/candidate", "--today", "2026-02-02", cwd=here)
    assert (code, "first    main, set on 2026-01-02" in out) == (0, True)
    shown = called("baseline", "show", cwd=here)[1]
    assert "baseline candidate, set on 2026-02-02" in shown
    assert "(first: 9" in shown
    found = read_baseline(here / "baseline.parquet")
    assert found is not None
    assert found.digest in shown
    assert found.first["name"] == "main"


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        ({"rules": [{"measure": "performance.top1", "at_least": 0.999}]}, "ended as fail"),
        ({"rules": [{"measure": "performance.top1", "at_least": 0.95}]}, "ended as inconclusive"),
        ({}, "was not judged"),
        (None, "was not judged"),
    ],
)
def test_an_audit_that_did_not_pass_is_no_baseline(tmp_path: Path, policy: dict[str, object] | None, word: str) -> None:
    write_folder(tmp_path / "x", GOOD, policy=policy)
    code, _, err = called("baseline", "set", "x", cwd=tmp_path)
    assert (code, word in err) == (2, True)
    assert not (tmp_path / "baseline.parquet").exists()


def test_a_baseline_set_on_a_waiver_says_so(here: Path) -> None:
    waiver = {"id": "W1", "measure": "performance.top1", "owner": "a", "reason": "b", "expires": "2999-01-01"}
    policy = {"rules": [{"measure": "performance.top1", "at_least": 0.999}], "waivers": [waiver]}
    write_folder(here / "reports" / "waived", GOOD, policy=policy)
    code, out, _ = called("baseline", "set", "reports/waived", cwd=here)
    assert (code, "it passed by waivers: performance.top1" in out) == (0, True)


@pytest.mark.parametrize("arguments", [("set",), ("show", "x"), ("get",)])
def test_other_uses_of_baseline_end_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert called("baseline", *arguments, cwd=tmp_path)[0] == 2
    code, _, err = called("baseline", "show", cwd=tmp_path)
    assert (code, "there is no baseline at baseline.parquet" in err) == (2, True)
    code, _, err = called("baseline", "set", "x", "--to", "https://example.org/b", cwd=tmp_path)
    assert (code, "is a URL" in err) == (2, True)


def test_a_waiver_is_written_for_what_fails_and_ends(here: Path) -> None:
    called("baseline", "set", "reports/main", cwd=here)
    assert called("check", "reports/candidate", cwd=here)[0] == 1
    text = ("--owner", 'Ada "the" Countess\\', "--reason", "Line\nbreak, ünïcödé.")
    code, out, err = called("waive", "reports/candidate", "performance.recall.2", *text, "--today", "2026-03-01", cwd=here)
    assert (code, err) == (0, "")
    assert (here / "audit.toml").read_text() == POLICY + "\n" + out
    (waiver,) = load_config(here / "audit.toml").gate.waivers
    assert (waiver.id, waiver.covers, waiver.owner) == ("W1", "performance.recall.2", text[1])
    assert (waiver.reason, str(waiver.last_day)) == (text[3], "2026-03-31")
    sliced = called("check", "reports/candidate", "--today", "2026-03-15", cwd=here)
    assert sliced[0] == 1  # the slice still fails
    code, out, _ = called(
        "waive", "reports/candidate", "performance.top1[site=north]", "--owner", "a", "--reason", "b", "--days", "5", "--bound", "0.5",
        "--this-model", "--today", "2026-03-01", cwd=here,
    )  # fmt: skip
    assert 'slice = "site=north"' in out
    assert f'weights = "{"cd" * 8}"' in out
    assert "bound = 0.5" in out
    assert called("check", "reports/candidate", "--today", "2026-03-06", cwd=here)[0] == 0
    code, out, _ = called("check", "reports/candidate", "--today", "2026-03-07", cwd=here)
    assert (code, "waiver.W2" in out) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("performance.recall.1",), "expected one of: performance.recall.2"),
        (("performance.recall.2", "--days", "0"), "--days"),
        (("performance.recall.2", "--id", "W 1"), "cannot take the waiver"),
    ],
)
def test_what_cannot_be_waived_is_told_and_nothing_is_written(here: Path, arguments: tuple[str, ...], words: str) -> None:
    called("baseline", "set", "reports/main", cwd=here)
    code, _, err = called("waive", "reports/candidate", *arguments, "--owner", "a", "--reason", "b", cwd=here)
    assert (code, words in err) == (2, True)
    assert (here / "audit.toml").read_text() == POLICY


def test_compare_lists_every_image_that_turned(here: Path) -> None:
    code, out, err = called("compare", "reports/main", "reports/candidate", cwd=here)
    assert (code, err) == (0, "")
    lost = np.flatnonzero((GOOD["correct"] == 1) & (LOST["correct"] == 0))
    assert f"{len(lost)} newly wrong" in out
    assert "0 newly right" in out
    assert "class performance.recall.2" in out
    assert "WORSE" in out
    rows = list(csv.DictReader((here / "reports/candidate/compare-main.csv").read_text().splitlines()))
    assert {row["name"] for row in rows} == {GOOD["name"][i] for i in lost}
    assert {(row["turned"], row["label"], row["before"], row["today"]) for row in rows} == {("newly wrong", "2", "2", "3")}
    page = (here / "reports/candidate/compare-main.html").read_text()
    assert all(str(GOOD["name"][i]) in page for i in lost)
    found = json.loads(called("compare", "reports/main", "reports/candidate", "--json", cwd=here)[1])
    (top1,) = [f for f in found["figures"] if f["id"] == "performance.top1"]
    assert (top1["broken"], top1["fixed"], top1["shown"]) == (len(lost), 0, "worse")
    assert top1["difference"] == pytest.approx(-len(lost) / 400)
    assert top1["low"] < top1["difference"] < top1["high"] < 0
    back = json.loads(called("compare", "reports/candidate", "reports/main", "--json", cwd=here)[1])
    assert (len(back["fixed"]), len(back["broken"])) == (len(lost), 0)
    assert [c["id"] for c in back["classes"] if c["shown"] == "better"] == ["performance.recall.2"]


def test_compare_of_an_audit_with_itself_finds_nothing(here: Path) -> None:
    found = json.loads(called("compare", "reports/main", "reports/main", "--json", cwd=here)[1])
    assert (found["broken"], found["fixed"], found["overlap"]) == ([], [], 1.0)
    assert not any(f["shown"] for f in [*found["figures"], *found["classes"]])


def test_compare_says_what_cannot_be_compared(here: Path) -> None:
    other = {key: column[:200] for key, column in GOOD.items()}
    write_folder(here / "half", other)
    code, out, _ = called("compare", "half", "reports/main", cwd=here)
    assert (code, "not comparable: only 50.0 % of the images" in out) == (0, True)


def test_proposed_rules_are_held_by_the_audit_they_come_from_and_by_its_equals(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", GOOD, policy=EASY, names=["a", "b", "c", 'd"\n'], **real_statistics(GOOD))
    code, _, err = called("init", "audit.toml", "--from", "x", cwd=tmp_path)
    assert (code, err) == (0, "")
    settings = load_config(tmp_path / "audit.toml")
    assert {rule.measure for rule in settings.gate.rules} == {
        f"performance.{name}" for name in ("top1", "macro_recall", "worst_class_recall", "ece", "recall")
    }
    assert judge_folder(tmp_path / "x", settings).verdict == "pass"
    passed = 0
    for seed in range(40):
        equal = answers(LABEL, rng(100 + seed).uniform(size=400) < RIGHT.mean())
        write_folder(tmp_path / "equal", equal, **real_statistics(equal))
        verdict = judge_folder(tmp_path / "equal", settings)
        passed += next(o for o in verdict.outcomes if o.id == "performance.top1").verdict == "pass"
    assert passed >= 33, "an equal model holds the line on accuracy in about 95 of 100 audits"
    assert called("init", "audit.toml", "--from", "x", cwd=tmp_path)[0] == 2, "an existing file is kept"
    text = (tmp_path / "audit.toml").read_text()
    assert "# no_worse_than_baseline_by = 0.01" in text


def test_verify_says_where_an_audit_comes_from(here: Path) -> None:
    code, out, _ = called("verify", "reports/main", cwd=here)
    assert code == 0
    for word in ("ab" * 32, "d" * 64, "2, all as they were written", "pass, policy "):
        assert word in out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: (f / "predictions.parquet").write_bytes(b"x"), ["predictions.parquet is altered"]),
        (lambda f: (f / "artifacts/samples/inputs-0.png").unlink(), ["artifacts/samples/inputs-0.png is missing"]),
        (lambda f: (f / "artifacts/x.js").write_text("x"), ["artifacts/x.js is foreign"]),
        (lambda f: (f / "junit.xml").write_text("<testsuites/>"), ["junit.xml is not of this gate.json"]),
    ],
)
def test_verify_names_what_is_not_as_it_was_written(here: Path, change: object, words: list[str]) -> None:
    folder = here / "reports/main"
    if words[0].startswith("predictions"):
        (folder / "gate.json").unlink()  # its exports need the columns
    change(folder)  # type: ignore[operator]
    code, _, err = called("verify", "reports/main", cwd=here)
    assert code == 2
    assert [word for word in words if word not in err] == []


def test_check_speaks_to_github(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called("baseline", "set", "reports/main", cwd=here)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(here / "step.md"))
    code, out, _ = called("check", "reports/candidate", "--github", cwd=here)
    errors = [line for line in out.splitlines() if line.startswith("::error ")]
    assert code == 1
    assert any("file=audit.toml,line=4,title=fail%3A performance.recall.2" in line for line in errors)
    assert (here / "step.md").read_text().startswith("## Fail: candidate")
    called("check", "reports/candidate", "--github", cwd=here)
    assert (here / "step.md").read_text().count("## Fail") == 2


def test_check_takes_another_baseline_and_day_and_refuses_a_wrong_one(here: Path) -> None:
    called("baseline", "set", "reports/main", "--to", "other.parquet", cwd=here)
    assert called("check", "reports/main", cwd=here)[0] == 4  # there is none where the policy says
    assert called("check", "reports/main", "--baseline", "other.parquet", cwd=here)[0] == 0
    code, _, err = called("check", "reports/main", "--today", "tomorrow", cwd=here)
    assert (code, "--today: expected a day" in err) == (2, True)


def test_what_is_written_again_agrees_and_is_read_again(here: Path) -> None:
    called("baseline", "set", "reports/main", cwd=here)
    assert called("check", "reports/candidate", "--write", cwd=here)[0] == 1
    folder = here / "reports/candidate"
    verdict = read_verdict(folder)
    assert verdict is not None
    assert verdict.source == {"path": "audit.toml", "rules": [4, 8], "waivers": [], "gate": 1}
    names = {"gate.json", "junit.xml", "summary.md", "results.sarif", "model_card.md", "images.csv", "index.html"}
    assert names <= {path.name for path in folder.iterdir()}
    assert called("verify", "reports/candidate", cwd=here)[0] == 0
    page = (folder / "index.html").read_text()
    assert "Against the baseline" in page
    assert "performance.recall on each class" in page
    assert read_audit(folder).name == "candidate"
