"""`auditor check` as CI calls it: in a process of its own, where torch and what the page needs cannot be imported."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from auditor import store
from auditor.bounds import exact, proportion, statistic
from auditor.types import AuditRecord, Measure, Section

N = 400
HEAVY = ("torch", "torchvision", "captum", "sklearn", "umap", "openTSNE")
PAGE = ("jinja2",)


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    """A saved audit: top1 0.8 of 400, a statistic, a failed probe."""
    rng, folder = np.random.default_rng(0), tmp_path / "audit"
    label, right = np.arange(N) % 4, np.arange(N) % 5 != 0
    columns = {
        "index": np.arange(N),
        "key": np.array([f"{i:064x}:0" for i in range(N)], dtype=object),
        "name": np.array([f"{i}.png" for i in range(N)], dtype=object),
        "label": label,
        "predicted": np.where(right, label, (label + 1) % 4),
        "confidence": rng.uniform(0.5, 1, N).astype(np.float32),
        "correct": right.astype(np.float32),
        "loss": rng.uniform(0, 3, N).astype(np.float32),
    }
    recall = statistic("macro_recall", {name: columns[name] for name in ("label", "predicted")}, unit="share", seed=0)
    sections = {
        "performance": Section(
            "performance", "Performance", "done", values={"top1": proportion(int(right.sum()), N), "macro_recall": recall}
        ),
        "filters": Section("filters", "Filters", "done", values={"dead_fraction": exact(0.0, "share")}),
        "saliency": Section("saliency", "Saliency", "failed", reason="RuntimeError: no gradient"),
    }
    catalogue = {
        "performance": (
            Measure("top1", "Top-1 accuracy", "share", "higher", "."),
            Measure("macro_recall", "Recall", "share", "higher", "."),
        ),
        "filters": (Measure("dead_fraction", "Dead filters", "share", "lower", "."),),
        "saliency": (Measure("completeness_gap", "Gap", "share", "lower", "."),),
    }
    ledger = {"listed": N, "ok": N, "normalised": 0, "quarantined": 0, "coverage": 1.0}
    files = store.write_columns(folder, columns)
    store.write_audit(folder, AuditRecord(1, "demo", {}, ledger, {}, catalogue, sections, files))
    return folder


def policy(folder: Path, *rules: str) -> Path:
    path = folder.parent / "policy.toml"
    path.write_text("".join(f"[[gate.rules]]\n{rule}\n" for rule in rules))
    return path


def called(cwd: Path, *arguments: object, without: tuple[str, ...] = HEAVY + PAGE) -> subprocess.CompletedProcess[str]:
    """`auditor check ...` where importing any of `without` is an error."""
    poison = cwd / "poison"
    for name in without:
        (poison / name).mkdir(parents=True, exist_ok=True)
        (poison / name / "__init__.py").write_text(f"raise RuntimeError('{name} was imported')\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(poison), str(Path(__file__).parents[2])])}
    command = [sys.executable, "-m", "auditor", "check", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120)


def digests(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


TOP1, GAP = 'measure = "performance.top1"\n', 'measure = "saliency.completeness_gap"\n'
CASES = {
    "pass": (0, [TOP1 + "at_least = 0.7", 'measure = "performance.macro_recall"\nat_least = 0.7']),
    "fail": (1, [TOP1 + "at_least = 0.9", GAP + "at_most = 1", TOP1 + "at_least = 0.8"]),
    "incomplete": (3, [TOP1 + "at_least = 0.7", GAP + "at_most = 1", TOP1 + "at_least = 0.8"]),
    "inconclusive": (4, [TOP1 + "at_least = 0.7", TOP1 + "at_least = 0.79"]),
    "warn": (0, [TOP1 + 'at_least = 0.9\nlevel = "warn"']),
}


@pytest.mark.parametrize("name", list(CASES))
def test_the_exit_code_the_lines_and_junit_agree(audit: Path, name: str) -> None:
    code, rules = CASES[name]
    path, before = policy(audit, *rules), digests(audit)
    done = called(audit.parent, audit, "--policy", path)
    assert (done.returncode, done.stderr) == (code, "")
    lines = done.stdout.splitlines()
    assert len(lines) == len(rules) + 3  # coverage, an empty line, the verdict
    assert lines[-1].startswith(f"{name.upper()}: ")
    assert digests(audit) == before
    told = json.loads(called(audit.parent, audit, "--policy", path, "--json").stdout)
    assert (told["verdict"], told["exit_code"], len(told["outcomes"])) == (name, code, len(rules) + 1)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([], "has no [[gate.rules]]"),
        ([TOP1 + "atleast = 0.7"], "did you mean 'at_least'?"),
        (['measure = "performance.top2"\nat_least = 0.7'], "did you mean 'performance.top1'?"),
    ],
)
def test_a_policy_that_cannot_be_used_ends_with_2(audit: Path, rules: list[str], words: str) -> None:
    done = called(audit.parent, audit, "--policy", policy(audit, *rules), "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_a_policy_or_an_audit_it_ends_with_2(audit: Path) -> None:
    done = called(audit.parent, audit)
    assert done.returncode == 2
    assert "--policy audit.toml" in done.stderr
    (audit.parent / "audit.toml").write_text(f"[[gate.rules]]\n{TOP1}at_least = 0.7\n")
    assert called(audit.parent, audit).returncode == 0  # the one in this folder
    none = called(audit.parent, audit.parent / "poison")
    assert none.returncode == 2
    assert "expected an audit folder" in none.stderr


def test_write_leaves_the_verdict_everywhere(audit: Path) -> None:
    code, rules = CASES["fail"]
    done = called(audit.parent, audit, "--policy", policy(audit, *rules), "--write", "--json", without=HEAVY)
    assert (done.returncode, done.stderr) == (code, "")
    told, verdict = json.loads(done.stdout), store.read_verdict(audit)
    assert verdict is not None
    assert (verdict.verdict, verdict.exit_code, verdict.why) == (told["verdict"], 1, told["why"])
    assert len(verdict.outcomes[0].samples) == 80
    root = ET.parse(audit / "junit.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("4", "2", "1")
    assert (audit / "summary.md").read_text().startswith("## Fail: demo")
    assert "80.0 %" in (audit / "index.html").read_text()


def test_scipys_distributions_are_not_loaded(audit: Path) -> None:
    done = called(
        audit.parent, audit, "--policy", policy(audit, *CASES["fail"][1]), without=(*HEAVY, *PAGE, "pandas", "matplotlib")
    )
    assert done.returncode == 1
    code = (
        "import sys; sys.argv = ['auditor', 'check', *sys.argv[1:]]\nfrom auditor.cli import main\ntry:\n    main()\nfinally:\n"
        "    print([m for m in ('scipy.stats', 'torch', 'jinja2', 'PIL') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(audit), "--policy", str(audit.parent / "policy.toml")]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_goes_away_is_no_failed_gate(tmp_path: Path) -> None:
    """`auditor probes explain NAME | true` must not end with 1."""
    script = "import sys; from auditor.cli import main; sys.argv = ['auditor', 'probes', 'list', '--json']; main()"
    running = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    running.stderr.read()
    running.stderr.close()
    assert running.wait(timeout=60) in (0, 141)
