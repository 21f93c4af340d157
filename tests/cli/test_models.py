"""One command each audits the models that people have: a Lightning checkpoint, a Hugging Face folder, a ResNet with another head."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from auditor.cli import main
from auditor.probes import registry

CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """15 pictures of noise in three class folders."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(15):
        path = tmp_path / "data" / CLASSES[i % 3] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (48, 40, 3), dtype=np.uint8)).save(path)
    return tmp_path / "data"


def audited(arguments: list[str], out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """audit.json of one `auditor run`."""
    monkeypatch.setattr(sys, "argv", ["auditor", "run", *arguments, "--out", str(out), "--profile", "quick"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert (out / "index.html").is_file()
    return json.loads((out / "audit.json").read_text())


def statuses(audit: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {name: (section["status"], section["reason"]) for name, section in audit["sections"].items()}


def lightning(root: Path) -> list[str]:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=3)
    saved = {f"model.{k}": v for k, v in model.state_dict().items()}
    torch.save({"state_dict": saved, "pytorch-lightning_version": "2.4", "epoch": 1}, root / "last.ckpt")
    return ["--model", "timm:resnet10t", "--weights", str(root / "last.ckpt")]


def changed_head(root: Path) -> list[str]:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    torch.save(resnet18(num_classes=3).state_dict(), root / "w.pth")
    return ["--model", "torchvision:resnet18", "--weights", str(root / "w.pth")]


def vit(root: Path) -> list[str]:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8,
        num_labels=3, id2label=dict(enumerate(CLASSES)), label2id={c: i for i, c in enumerate(CLASSES)},
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.ViTForImageClassification(config).save_pretrained(root / "vit")
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(root / "vit")
    return ["--model", f"hf:{root / 'vit'}"]


def test_a_hugging_face_folder_goes_through_every_probe(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = audited([*vit(tmp_path), "--data", str(data)], tmp_path / "out", monkeypatch)
    assert set(audit["sections"]) == set(registry())
    assert {name: s for name, s in statuses(audit).items() if s[0] == "failed"} == {}
    assert audit["dataset"]["label_rule"] == "by name"
    assert audit["provenance"]["model"]["outputs"] == 3


@pytest.mark.parametrize("make", [lightning, changed_head])
def test_a_checkpoint_is_audited_by_one_command(make: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = ["--probes", "performance,filters,patches,neighbours"]
    audit = audited([*make(tmp_path), "--data", str(data), *few], tmp_path / "out", monkeypatch)
    ran = {name: s for name, s in statuses(audit).items() if s[0] != "skipped"}
    assert {s[0] for s in ran.values()} == {"done"}, ran
    assert audit["provenance"]["model"]["outputs"] == 3
    assert any("3 classes, by the head" in note for note in audit["provenance"]["model"]["notes"])
    assert audit["dataset"]["label_rule"] == "by sorted position"


@pytest.mark.slow
@pytest.mark.parametrize("make", [lightning, changed_head])
def test_a_checkpoint_goes_through_every_probe(make: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = audited([*make(tmp_path), "--data", str(data)], tmp_path / "out", monkeypatch)
    assert {name: s for name, s in statuses(audit).items() if s[0] != "done"} == {}
