"""The fixture `audit`, in a pytest of its own, as another project has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.world import write_folder
from tests.gate.world import answers

ROOT = Path(__file__).parents[1]
TESTS = """
import sys

def test_the_release_holds(audit):
    assert audit["performance"]["top1"].value > 0.8
    verdict = audit.check({"gate": {"rules": [{"measure": "performance.top1", "at_least": 0.8}]}})
    assert verdict.exit_code == 0, verdict.why
    assert "torch" not in sys.modules

def test_it_is_one_audit_for_all_tests(audit):
    assert audit.record.name == "candidate"
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest where the plugin is loaded by name, as the entry point does once auditor is installed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "auditor.pytest_plugin", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with an audit and tests on it."""
    write_folder(tmp_path / "reports" / "candidate", answers([0, 1] * 100, [True] * 190 + [False] * 10))
    (tmp_path / "test_release.py").write_text(TESTS)
    return tmp_path


def test_an_audit_is_given_on_the_command_line(project: Path) -> None:
    done = run(project, "--audit", "reports/candidate")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_or_in_the_configuration(project: Path) -> None:
    (project / "pytest.ini").write_text("[pytest]\naudit = reports/candidate\n")
    assert "2 passed" in run(project).stdout


def test_without_an_audit_the_test_says_what_it_needs(project: Path) -> None:
    done = run(project)
    assert done.returncode != 0
    assert "give --audit FOLDER" in done.stdout + done.stderr


def test_a_failing_release_fails_with_the_verdicts_words(project: Path) -> None:
    write_folder(project / "reports" / "candidate", answers([0, 1] * 100, [True] * 165 + [False] * 35))
    done = run(project, "--audit", "reports/candidate")
    assert done.returncode == 1
    assert "Accuracy is 82.5 %" in done.stdout


def test_the_entry_point_names_the_plugin() -> None:
    import tomllib

    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert points == {"auditor": "auditor.pytest_plugin"}
