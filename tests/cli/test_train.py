"""`--train`: leaks from the training set, from files to the report; with its own ledger, in the key, resumed."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from auditor import api
from auditor.cli import main
from auditor.preprocess import Geometry, Preprocess
from tests.report.audits import photograph

SIDE = 64
PREPROCESS = Preprocess(Geometry("RGB", (SIDE, SIDE)), (0.5,) * 3, (0.25,) * 3)
CLASSES = ("ant", "bee")
NETS = f"""
import torch
from torch import nn

LIMIT = [-1]  # forwards that are left; -1: no limit

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 24, 7, stride=4)
            self.fc = nn.Linear(24, {len(CLASSES)})
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if LIMIT[0] == 0:
            raise KeyboardInterrupt
        LIMIT[0] -= 1
        return self.fc(self.conv(x).relu().mean((2, 3)))

def net():
    return Net()
"""


def jpeg(picture: Image.Image, quality: int = 92) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """20 test and 40 training pictures, all different; then four copies of training pictures in the test set."""
    (tmp_path / "nets.py").write_text(NETS)

    def put(part: str, name: str, label: int, data: bytes) -> None:
        path = tmp_path / part / CLASSES[label] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    pictures = [Image.fromarray(photograph(i, SIDE)) for i in range(60)]
    for i, picture in enumerate(pictures):
        put("train" if i < 40 else "test", f"{i:02d}.jpg", i % 2, jpeg(picture))
    put("test", "exact.jpg", 1, jpeg(pictures[3]))
    put("test", "other-label.jpg", 0, jpeg(pictures[5]))
    put("test", "encoded.jpg", 0, jpeg(pictures[8], quality=70))
    put("test", "cropped.jpg", 0, jpeg(pictures[10].crop((16, 16, 64, 64)).resize((SIDE, SIDE))))
    put("test", "brightened.jpg", 0, jpeg(ImageEnhance.Brightness(pictures[12]).enhance(1.5)))
    put("train", "broken.jpg", 0, jpeg(pictures[14])[:400])
    return tmp_path


@pytest.fixture
def call(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """call(verb, *options) -> (exit code, what was said)."""
    monkeypatch.chdir(root)

    def run(verb: str, *options: str) -> tuple[int, str]:
        given = [
            "--model",
            "nets.py:net",
            "--mean",
            ".5,.5,.5",
            "--std",
            ".25,.25,.25",
            "--resize",
            f"{SIDE}x{SIDE}",
            "--device",
            "cpu",
        ]
        monkeypatch.setattr(sys, "argv", ["auditor", verb, *given, *options])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out + said.err

    return run


def audit_of(root: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((root / "reports" / name / "audit.json").read_text()))


def test_planted_leaks_come_out_and_distinct_pictures_do_not(root: Path, call: Callable[..., tuple[int, str]]) -> None:
    options = ("--data", "test", "--probes", "neighbours", "--profile", "quick", "--out", "reports/x")
    code, said = call("run", *options, "--train", "train")
    assert code == 0, said
    assert "train   41 listed = 40 ok + 0 normalised + 1 quarantined; features for neighbours: about" in said
    audit = audit_of(root, "x")
    section = audit["sections"]["neighbours"]
    value = section["values"]["leaked_images"]
    leaked = sorted(row["cells"][0]["note"] for f in section["figures"] if f["name"] == "leaks" for row in f["data"]["rows"])
    assert leaked == ["ant/encoded.jpg", "ant/other-label.jpg", "bee/exact.jpg"]
    assert (value["k"], value["n"]) == (3, 25)
    assert value["flags"] == ["1 of 41 listed training images could not be read and were not compared"]
    assert any("(2 as the very same file, 1 with another label there)" in note for note in section["notes"])
    ledger = audit["dataset"]["train"]
    assert (ledger["listed"], ledger["ok"], ledger["quarantined"]) == (41, 40, 1)
    assert audit["dataset"]["listed"] == 25
    assert len(audit["provenance"]["train_digest"]) == 64
    page = (root / "reports" / "x" / "index.html").read_text()
    assert "Every training image that could not be used" in page
    assert "Training data: 1 of 41 listed images are quarantined." in page


def test_the_gate_judges_leaks_and_names_the_images(root: Path, call: Callable[..., tuple[int, str]]) -> None:
    (root / "audit.toml").write_text(
        '[data]\npath = "test"\ntrain = "train"\n[[gate.rules]]\nmeasure = "neighbours.leaked_images"\nat_most = 0.01\n'
    )
    code, said = call("run", "--probes", "neighbours", "--profile", "quick", "--out", "reports/x")
    assert code == 1, said
    outcome = json.loads((root / "reports" / "x" / "gate.json").read_text())["outcomes"][0]
    assert len(outcome["samples"]) == 3


def test_the_training_set_is_in_the_key_and_the_same_run_gives_the_same_bytes(
    root: Path, call: Callable[..., tuple[int, str]]
) -> None:
    options = ("--data", "test", "--probes", "neighbours", "--profile", "quick", "--out", "reports/x")
    keys = []
    for more in ((), ("--train", "train"), ("--train", "test")):
        code, said = call("run", *options, *more, "--force")
        assert code == 0, said
        keys.append(audit_of(root, "x")["provenance"]["key"])
    assert len(set(keys)) == 3
    assert audit_of(root, "x")["sections"]["neighbours"]["values"]["leaked_images"]["value"] == 1, "all of it is in itself"
    before = (root / "reports" / "x" / "audit.json").read_bytes()
    assert call("run", *options, "--train", "test")[0] == 0
    assert (root / "reports" / "x" / "audit.json").read_bytes() == before
    code, said = call("run", *options, "--train", "train")
    assert code == 2
    assert "--force" in said


def test_no_pass_is_made_for_a_training_set_that_no_probe_reads(root: Path, call: Callable[..., tuple[int, str]]) -> None:
    code, said = call("run", "--data", "test", "--train", "train", "--probes", "performance", "--out", "reports/x")
    assert code == 0, said
    assert "no probe that is asked for reads it" in said
    assert audit_of(root, "x")["dataset"]["train"]["ok"] == 40
    assert not list(root.rglob("train.npz"))


def test_plan_tells_of_the_training_set_and_a_wrong_one_is_told_in_one_line(
    root: Path, call: Callable[..., tuple[int, str]]
) -> None:
    code, said = call("plan", "--data", "test", "--train", "train")
    assert code == 0
    assert "1 of 41 listed images are quarantined" in said
    code, said = call("run", "--data", "test", "--train", "nowhere", "--out", "reports/y")
    assert code == 2
    assert "the training data: --train expects a folder" in said
    assert not (root / "reports" / "y").exists()


def test_from_python_a_stopped_training_pass_goes_on_where_it_was(root: Path, tmp_path: Path) -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("nets", root / "nets.py")
    assert spec is not None
    assert spec.loader is not None
    nets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(nets)
    rng = np.random.default_rng(0)
    test, train = (rng.integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8) for n in (20, 600))
    train[555] = test[4]

    def audit(out: str, work: str, limit: int = -1) -> tuple[api.Audit, int]:
        model = nets.net()
        nets.LIMIT[0] = limit
        options = {"probes": "neighbours", "profile": "quick", "device": "cpu", "batch": 64, "work": tmp_path / work}
        found = api.run(
            model, (test, np.arange(20) % 2), train=(train, None), preprocess=PREPROCESS, out=tmp_path / out, **options
        )
        return found, model.calls

    whole, calls = audit("a", "whole")
    assert calls == 4 + 1 + 10, (
        "four when it is loaded, one batch of the data, three shards of 3, 4 and 3 batches of the training data"
    )
    with pytest.raises(KeyboardInterrupt):
        audit("b", "cut", limit=4 + 1 + 9)
    assert not (tmp_path / "b").exists()
    again, calls = audit("b", "cut")
    assert calls == 4 + 3, "two shards were finished: one is left, and nothing of the data"
    assert (again.path / "audit.json").read_bytes().replace(b'"name": "b"', b'"name": "a"') == (
        whole.path / "audit.json"
    ).read_bytes()
    assert again["neighbours"]["leaked_images"].k == 1
    assert "as the very same file" in " ".join(again["neighbours"].notes)
