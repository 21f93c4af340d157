"""From target, data and probes to a folder: what applies, what fails, what is written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor import api
from auditor.errors import ConfigError
from auditor.job import in_order
from auditor.preprocess import Opaque
from auditor.probe import Probe
from auditor.probes import named
from auditor.types import Finding
from tests.small import PREPROCESS, images, net


def audited(tmp_path: Path, labels: Any = None, *, preprocess: Any = PREPROCESS, **options: Any) -> api.Audit:
    options = {"profile": "quick", "device": "cpu", "out": tmp_path / "x"} | options
    return api.run(net(), (images(), labels), preprocess=preprocess, **options)


def test_a_probe_that_is_named_runs_also_where_the_profile_leaves_it_out(tmp_path: Path) -> None:
    audit = audited(tmp_path, np.arange(30) % 3, probes="performance,corruptions")
    assert audit["corruptions"].status == "done"
    assert audit.record.plan["probes"]["corruptions"] == json.loads(json.dumps(named("corruptions")().parameters())), (
        "as standard"
    )
    assert audit["deepdream"].status == "skipped"


def test_without_labels_what_needs_them_does_not_apply_and_the_rest_runs(tmp_path: Path) -> None:
    audit = audited(tmp_path)
    labelled = ("performance", "calibration")
    for name in labelled:
        found = audit[name].status, audit[name].reason
        assert found == ("not_applicable", "it needs labels, and no sample has one")
    others = {name: s.status for name, s in audit.record.sections.items() if name not in (*labelled, "shape_bias")}
    left_out = {name: others.pop(name) for name in ("deepdream", "facets", "generator", "corruptions", "style")}
    assert set(left_out.values()) == {"skipped"}, "the profile quick leaves them out"
    assert set(others.values()) == {"done"}, others
    assert audit["shape_bias"].status == "not_applicable", "no folder of cue-conflict pictures was named"


def test_the_task_features_runs_what_needs_no_scores(tmp_path: Path) -> None:
    audit = audited(tmp_path, np.arange(30) % 3, task="features")
    done = {name for name, s in audit.record.sections.items() if s.status == "done"}
    assert done == {"filters", "activations", "patches", "neighbours", "embedding", "visualisation", "inversion", "texture"}
    assert all("--task features" in audit[name].reason for name in ("performance", "occlusion", "saliency", "adversarial"))


def test_an_opaque_preprocessing_leaves_out_what_bounds_pixels(tmp_path: Path) -> None:
    def prepare(image: Any) -> Tensor:
        return torch.from_numpy(np.asarray(image, dtype=np.float32)).permute(2, 0, 1) / 255

    audit = audited(tmp_path, np.arange(30) % 3, preprocess=Opaque(prepare))
    assert audit["adversarial"].status == audit["inversion"].status == "not_applicable"
    assert "opaque" in audit["adversarial"].reason
    assert audit["performance"].status == audit["occlusion"].status == "done"
    assert {s.status for s in audit.record.sections.values()} == {"done", "not_applicable", "skipped"}


def test_a_model_without_maps_has_no_patches(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
    audit = api.run(model, (images(), None), preprocess=PREPROCESS, profile="quick", device="cpu", out=tmp_path / "x")
    assert audit["patches"].status == audit["filters"].status == "not_applicable"
    assert "failed" not in {s.status for s in audit.record.sections.values()}


def test_a_folder_holds_what_it_says_and_nothing_of_the_machine(tmp_path: Path) -> None:
    audit = audited(tmp_path, np.arange(30) % 3, probes=["performance", "patches"])
    import hashlib

    for path, digest in audit.record.files.items():
        assert hashlib.sha256((audit.path / path).read_bytes()).hexdigest() == digest, path
    text = (audit.path / "audit.json").read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["schema_version"] == 1
    assert set(json.loads(text)["sections"]["performance"]["values"]["top1"]) >= {
        "value",
        "unit",
        "n",
        "low",
        "high",
        "kind",
        "k",
    }
    ledger = json.loads(text)["dataset"]
    assert ledger["listed"] == ledger["ok"] + ledger["normalised"] + ledger["quarantined"] == 30
    assert sorted(p.name for p in audit.path.iterdir()) == [
        "artifacts", "audit.json", "gate.json", "images.csv", "index.html", "junit.xml", "model_card.md", "plan.json",
        "predictions.parquet", "results.sarif", "run.json", "summary.md",
    ]  # fmt: skip


def test_other_seeds_and_batches_are_other_plans(tmp_path: Path) -> None:
    keys = set()
    for i, more in enumerate(({}, {"seed": 1}, {"batch": 7})):
        audit = audited(tmp_path / str(i), np.arange(30) % 3, probes=["performance"], **more)
        keys.add(audit.record.provenance["key"])
    assert len(keys) == 3


@dataclass(frozen=True)
class Stub(Probe):
    title: ClassVar[str] = "Stub"

    def conclude(self, *_: Any) -> Finding:
        return Finding("done")


def stub(name: str, *reads: str) -> Any:
    kind = type(name, (Stub,), {"reads": reads, "id": classmethod(lambda cls: name)})
    return kind()


def test_probes_come_after_those_they_read_and_a_circle_is_told() -> None:
    names = [p.id() for p in in_order([stub("c", "b"), stub("a"), stub("b", "a", "gone")])]
    assert names.index("a") < names.index("b") < names.index("c")
    with pytest.raises(ConfigError, match="circle"):
        in_order([stub("a", "b"), stub("b", "a")])
