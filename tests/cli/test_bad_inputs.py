"""What a user gets wrong: one clear line that says what to do, the right exit code, and no half-written report."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from auditor.cli import main

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, how="plain", num_classes=2):
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        z = self.fc(self.conv(x).relu().mean((2, 3)))
        if self.how == "softmax":
            return z.softmax(1)
        if self.how == "sigmoid":
            return z.sigmoid()
        if self.how == "detector":
            return [{"boxes": x, "scores": z} for _ in x]
        if self.how == "map":
            return {"out": x}
        if self.how == "nan":
            return z * float("nan")
        if self.how == "three":
            return z[:, :, None]
        return z

def broken():
    raise RuntimeError("no licence")

def named():
    net = Net()
    net.classes = ["lynx", "otter"]
    return net
"""

NORMAL = ["--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--resize", "8x8"]


class World:
    """A folder with a sound model, sound data, and room for mistakes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "nets.py").write_text(NETS)
        rng = np.random.default_rng(0)
        for name in ("ant", "bee"):
            for i in range(4):
                self.picture(root / "data" / name / f"{i}.png", rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        self.write("good.toml", '[[gate.rules]]\nmeasure = "performance.top1"\nat_least = 0.0\n')

    def picture(self, path: Path, pixels: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    def write(self, name: str, text: str | bytes) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(tmp_path)
    return World(tmp_path)


def called(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of `auditor ...` in this process."""
    monkeypatch.setattr(sys, "argv", ["auditor", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    return int(caught.value.code or 0), out, err


def run(*more: str, model: str = "nets.py:Net", data: str = "data", normal: bool = True) -> list[str]:
    return [
        "run",
        "--model",
        model,
        "--data",
        data,
        "--out",
        "out/x",
        "--probes",
        "performance",
        *(NORMAL if normal else []),
        *more,
    ]


def weights(world: World, content: object) -> str:
    torch.save(content, world.root / "w.pt")
    return "w.pt"


class Code:
    def __reduce__(self) -> object:
        return print, ("this must not run",)


def state(classes: int = 2) -> dict[str, torch.Tensor]:
    shapes = {"conv.weight": (4, 3, 3, 3), "conv.bias": (4,), "fc.weight": (classes, 4), "fc.bias": (classes,)}
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def splits(world: World) -> list[str]:
    for split in ("train", "val"):
        world.picture(world.root / "both" / split / "ant" / "a.png", np.zeros((8, 8, 3), np.uint8))
    return run(data="both")


def manifest(world: World, text: str) -> list[str]:
    world.write("data/m.csv", text)
    return run(data="data/m.csv")


def corrupt(world: World) -> list[str]:
    world.write("bad/ant/a.jpg", b"\xff\xd8\xff\xe0 no picture")
    world.write("bad/bee/b.png", b"")
    return run(data="bad")


def toml(world: World, text: str) -> list[str]:
    return run("--config", world.write("audit.toml", text))


def occupied(world: World) -> list[str]:
    world.write("out/x/thesis.txt", "mine")
    return run()


def npz(world: World, **arrays: np.ndarray) -> list[str]:
    np.savez(world.root / "a.npz", **arrays)
    return run(data="a.npz")


Make = Callable[[World], list[str]]
RULE = '[[gate.rules]]\nmeasure = "{}"\nat_least = 0.5\n'
CASES: dict[str, tuple[Make, str]] = {
    "no model": (lambda w: ["run", "--data", "data"], "--model is missing"),
    "no data": (lambda w: ["run", "--model", "nets.py:Net", *NORMAL], "--data is missing"),
    "data not there": (lambda w: run(data="nowhere"), "nowhere does not exist"),
    "empty folder": (lambda w: (w.root / "none").mkdir() or run(data="none"), "holds no images"),
    "no images": (lambda w: w.write("text/a/a.txt", "x") and run(data="text"), "holds no images"),
    "splits": (splits, "--data both/val"),
    "labels beyond the logits": (lambda w: manifest(w, "path,label\nant/0.png,0\nbee/0.png,7\n"), "[7] are beyond the 2 logits"),
    "manifest without path": (lambda w: manifest(w, "file,label\nant/0.png,0\n"), "a column `path`"),
    "names that do not meet": (lambda w: run(model="nets.py:named"), "[lynx, otter]"),
    "counts that do not meet": (lambda w: run("--model-arg", "num_classes=5"), "cannot meet 5 logits"),
    "class list of another length": (lambda w: run("--classes", w.write("c.txt", "a\nb\nc\n")), "names 3 classes"),
    "label map with a gap": (lambda w: run("--label-map", w.write("m.json", '{"ant": 0}')), "[bee] are not in --label-map"),
    "all images corrupt": (corrupt, "none of the 2 listed images can be used"),
    "npz without images": (lambda w: npz(w, labels=np.zeros(2)), "array `images`"),
    "npz with two labels an image": (
        lambda w: npz(w, images=np.zeros((2, 8, 8, 3), np.uint8), labels=np.zeros((2, 2), np.int64)), "one image has one class",
    ),
    "weights not there": (lambda w: run("--weights", "gone.pt"), "gone.pt does not exist"),
    "weights of another kind": (lambda w: run("--weights", w.write("w.h5", "x")), "expects .safetensors"),
    "weights with wrong keys": (lambda w: run("--weights", weights(w, {"head": torch.zeros(2)})), "missing in the file: conv.weight"),
    "weights of another shape": (
        lambda w: run("--weights", weights(w, state() | {"conv.weight": torch.zeros(4, 1, 3, 3)})), "where the model has (4, 3, 3, 3)",
    ),
    "pickle with code": (lambda w: run("--weights", weights(w, {"x": Code()})), "could run code"),
    "torn weights": (lambda w: run("--weights", w.write("w.safetensors", b"\x10\0\0\0")), "no whole safetensors"),
    "no preprocessing": (lambda w: run(normal=False), "none is assumed"),
    "mean without std": (lambda w: run("--mean", "0.5,0.5,0.5", normal=False), "--mean and --std go together"),
    "size that is none": (lambda w: run("--resize", "big"), "--resize"),
    "resize alone": (lambda w: run("--resize", "8", normal=False), "need --mean and --std"),
    "interpolation": (lambda w: run("--interpolation", "magic"), "interpolation: expected one of"),
    "depth16": (lambda w: run("--depth16", "some"), "depth16 expects"),
    "detector": (lambda w: run("--model-arg", "how=detector"), "a detector"),
    "segmentation": (lambda w: run("--model-arg", "how=map"), "a segmentation model"),
    "softmax outputs": (lambda w: run("--model-arg", "how=softmax"), "sum to 1"),
    "multi-label": (lambda w: run("--model-arg", "how=sigmoid"), "multi-label"),
    "NaN outputs": (lambda w: run("--model-arg", "how=nan"), "NaN or infinite"),
    "scores with an axis too many": (lambda w: run("--model-arg", "how=three"), "expected logits"),
    "wrong channels": (lambda w: run("--mean", "0.5", "--std", "0.5", "--resize", "8x8", normal=False), "number of channels"),
    "factory that raises": (lambda w: run(model="nets.py:broken"), "no licence"),
    "factory not there": (lambda w: run(model="nets.py:gone"), "no factory"),
    "model of no kind": (lambda w: run(model="resnet50"), "expected torchvision:NAME"),
    "unknown architecture": (lambda w: run(model="torchvision:resnet19@none"), "resnet18"),
    "model arg without a value": (lambda w: run("--model-arg", "width"), "expected name=value"),
    "device": (lambda w: run("--device", "tpu"), "auto, cpu, cuda or mps"),
    "task": (lambda w: run("--task", "detection"), "classification or features"),
    "unknown probe": (lambda w: [*run(), "--probes", "perfomance"], "there is no probe 'perfomance'"),
    "unknown profile": (lambda w: run("--profile", "fast"), "there is no profile 'fast'"),
    "audit.toml not there": (lambda w: run("--config", "gone.toml"), "gone.toml"),
    "audit.toml with an unknown key": (lambda w: toml(w, "[gate]\nconfidense = 0.9\n"), "confidense"),
    "audit.toml that is no TOML": (lambda w: toml(w, "[gate\n"), "line 1"),
    "parameter that is not there": (lambda w: toml(w, "[probes.performance]\nbinns = 3\n"), "binns"),
    "rule that matches nothing": (lambda w: toml(w, RULE.format("performance.top2")), "performance.top2"),
    "rule without a bound": (lambda w: toml(w, '[[gate.rules]]\nmeasure = "performance.top1"\n'), "at_least"),
    "output below a file": (lambda w: w.write("file", "x") and [*run(), "--out", "file/below"], "cannot write to"),
    "output that is no audit": (occupied, "is no audit"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_one_line_exit_2_and_no_report(
    name: str, world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = CASES[name]
    code, _, err = called(make(world), monkeypatch, capsys)
    lines = [line for line in err.splitlines() if line.startswith("auditor:")]
    assert code == 2, err
    assert len(lines) == 1, err
    assert "Traceback" not in err
    assert words in lines[0]
    assert not list(world.root.rglob("index.html"))
    assert not list(world.root.rglob("audit.json"))
    assert not list(world.root.rglob(".*.partial"))


def test_nothing_of_a_users_folder_is_touched(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(occupied(world), monkeypatch, capsys)[0] == 2
    assert [p.name for p in (world.root / "out/x").iterdir()] == ["thesis.txt"]


def test_the_sound_world_runs(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = called(run("--config", "good.toml"), monkeypatch, capsys)
    assert code == 0, err
    assert "pass" in out.lower()
    assert (world.root / "out/x/index.html").is_file()
    assert (world.root / "out/index.html").is_file()


def test_one_class_runs_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    world.write("data/m.csv", "path,label\nant/0.png,0\nant/1.png,0\n")
    code, out, _ = called(run(data="data/m.csv"), monkeypatch, capsys)
    assert code == 0
    assert "only one class" in out
    assert "only one class" in (world.root / "out/x/index.html").read_text()


def test_a_corrupt_image_is_quarantined_by_name_and_the_audit_is_incomplete(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write("data/ant/torn.jpg", b"\xff\xd8\xff\xe0 no picture")
    code, out, _ = called(run("--config", "good.toml"), monkeypatch, capsys)
    assert code == 3
    assert "9 listed = 8 ok + 0 normalised + 1 quarantined" in out
    page = (world.root / "out/x/index.html").read_text()
    assert "ant/torn.jpg" in page
