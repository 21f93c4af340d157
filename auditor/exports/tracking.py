"""An audit to an experiment tracker: MLflow, or TensorBoard. Both are extras, imported only when they are asked for.

Each gets the figures that are finite, the verdict, and what names model, data and policy by content; MLflow also gets the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from auditor.errors import ConfigError
from auditor.types import AuditRecord, Verdict, is_finite

FILES = ("audit.json", "gate.json", "index.html", "summary.md", "junit.xml", "results.sarif", "model_card.md")
PACKAGES = {"mlflow": "mlflow-skinny", "tensorboard": "tensorboard"}
TRACKERS = tuple(PACKAGES)


def log(tracker: str, folder: Path, record: AuditRecord, verdict: Verdict) -> str:
    """Log an audit to `mlflow`, `mlflow:URI`, `tensorboard` or `tensorboard:FOLDER`; returns where it went.

    Raises ConfigError for another tracker, and where its package is not installed.
    """
    name, _, place = tracker.partition(":")
    if name == "mlflow":
        return to_mlflow(place, folder, record, verdict)
    if name == "tensorboard":
        return to_tensorboard(Path(place or "runs") / record.name, record, verdict)
    raise ConfigError(f"--log: expected {' or '.join(TRACKERS)}, got {tracker!r}")


def required(name: str) -> ModuleType:
    """The package of a tracker."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ConfigError(f"--log {package} needs {PACKAGES[package]}: pip install 'auditor[{package}]'") from error


def figures(record: AuditRecord, verdict: Verdict) -> Iterator[tuple[str, float]]:
    """(name, figure) of all that are finite, with their bounds; the exit code as `gate/exit_code`."""
    for probe, section in record.sections.items():
        for key, value in section.values.items():
            ends = {"": value.value, ".low": value.low, ".high": value.high}  # no slash: a name may not be a folder of another
            yield from ((f"{probe}/{plain(key)}{end}", float(x)) for end, x in ends.items() if x is not None and is_finite(x))
    yield "gate/exit_code", float(verdict.exit_code)


def plain(name: str) -> str:
    """A name that both trackers take."""
    return re.sub(r"[^A-Za-z0-9_. /-]", "_", name)


def facts(record: AuditRecord, verdict: Verdict) -> dict[str, str]:
    """What names it all by content."""
    model = record.provenance.get("model")
    about: Mapping[str, Any] = model if isinstance(model, Mapping) else {}
    return {
        "verdict": verdict.verdict,
        "why": verdict.why[:5000],
        "model": str(about.get("source", "")),
        "weights": str(about.get("digest", "")),
        "data": str(record.provenance.get("dataset_digest", "")),
        "policy": verdict.policy_digest,
    }


def to_mlflow(uri: str, folder: Path, record: AuditRecord, verdict: Verdict) -> str:
    """One run of MLflow, in the active experiment: figures as metrics, facts as tags, the files as artifacts."""
    mlflow = required("mlflow")
    if uri:
        mlflow.set_tracking_uri(uri)
    with mlflow.start_run(run_name=record.name) as run:
        mlflow.log_metrics(dict(figures(record, verdict)))
        mlflow.set_tags({f"auditor.{key}": value for key, value in facts(record, verdict).items()})
        for name in FILES:
            if (folder / name).is_file():
                mlflow.log_artifact(str(folder / name))
        return f"mlflow run {run.info.run_id}"


def to_tensorboard(place: Path, record: AuditRecord, verdict: Verdict) -> str:
    """An event file of TensorBoard: figures as scalars; the verdict and the facts describe `gate/exit_code`."""
    summary = required("tensorboard.summary")
    writer = summary.Writer(str(place))
    told = "\n".join(f"{key}: {value}" for key, value in facts(record, verdict).items())
    for name, value in figures(record, verdict):
        writer.add_scalar(name, value, 0, description=told if name == "gate/exit_code" else None)
    writer.flush()
    writer.close()
    return f"tensorboard --logdir {place.parent}"
