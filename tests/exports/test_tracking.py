"""Logging to a tracker: against modules that record what they are told. With the extras installed, against the real ones as well."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from auditor.errors import ConfigError
from auditor.exports import tracking
from tests.cli.world import called, write_folder
from tests.exports.verdicts import one
from tests.gate.world import answers

RULES = {"rules": [{"measure": "performance.top1", "at_least": 0.5}]}


class Recorder(ModuleType):
    """As much of mlflow as is used, with what it was told."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.told: dict[str, Any] = {"files": []}

    def set_tracking_uri(self, uri: str) -> None:
        self.told["uri"] = uri

    def start_run(self, run_name: str) -> Recorder:
        self.told["run"] = run_name
        return self

    def __enter__(self) -> SimpleNamespace:
        return SimpleNamespace(info=SimpleNamespace(run_id="r1"))

    def __exit__(self, *_: object) -> None:
        self.told["closed"] = True

    def log_metrics(self, metrics: dict[str, float]) -> None:
        self.told["metrics"] = metrics

    def set_tags(self, tags: dict[str, str]) -> None:
        self.told["tags"] = tags

    def log_artifact(self, path: str) -> None:
        self.told["files"].append(Path(path).name)


def test_mlflow_gets_figures_facts_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, _, verdict = one(3)
    (tmp_path / "gate.json").write_text("{}")
    fake = Recorder()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    assert tracking.log("mlflow:file:///x", tmp_path, record, verdict) == "mlflow run r1"
    told = fake.told
    assert (told["uri"], told["run"], told["files"], told["closed"]) == ("file:///x", record.name, ["gate.json"], True)
    assert told["metrics"]["performance/top1"] == record["performance"]["top1"].value
    assert told["metrics"]["gate/exit_code"] == verdict.exit_code
    assert all(math.isfinite(value) for value in told["metrics"].values())
    assert told["tags"]["auditor.verdict"] == verdict.verdict
    assert told["tags"]["auditor.weights"] == "ab" * 32


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_a_tracker_that_is_not_installed_is_told_clearly(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "import_module", lambda module: importlib.import_module(f"not_installed_{module}"))
    record, _, verdict = one(0)
    with pytest.raises(ConfigError, match=rf"--log {name} needs .*: pip install 'auditor\[{name}\]'"):
        tracking.log(name, tmp_path, record, verdict)


def test_another_tracker_ends_with_2_after_the_verdict(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", answers([0, 1] * 50, [True] * 100), policy=RULES)
    (tmp_path / "audit.toml").write_text('[[gate.rules]]\nmeasure = "performance.top1"\nat_least = 0.5\n')
    code, out, err = called("check", "x", "--log", "wandb", cwd=tmp_path)
    assert (code, "PASS: " in out) == (2, True)
    assert "expected mlflow or tensorboard, got 'wandb'" in err


def test_no_tracker_is_imported_without_being_asked_for() -> None:
    import subprocess

    code = "import sys, auditor.exports.tracking, auditor.cli.check; assert not {'mlflow', 'tensorboard', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record, _, verdict = one(3)
    tracking.log(f"tensorboard:{tmp_path}", tmp_path, record, verdict)
    events = EventAccumulator(str(tmp_path / record.name)).Reload()
    assert "performance/top1" in events.Tags()["tensors"]


@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = pytest.importorskip("mlflow")
    record, _, verdict = one(3)
    (tmp_path / "gate.json").write_text("{}")
    said = tracking.log(f"mlflow:{(tmp_path / 'runs').as_uri()}", tmp_path, record, verdict)
    found = mlflow.get_run(said.removeprefix("mlflow run "))
    assert found.data.metrics["performance/top1"] == record["performance"]["top1"].value
    assert found.data.tags["auditor.verdict"] == verdict.verdict
