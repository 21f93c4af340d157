"""A run that is killed or interrupted goes on with the same command, and ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

NETS = """
import os, time
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        time.sleep(float(os.environ.get("SLOW", "0")) * (len(x) > 200))
        return self.fc(self.conv(x).relu().mean((2, 3)))

def net():
    import torch
    torch.manual_seed(0)
    return Net()
"""


def command(root: Path, out: str) -> list[str]:
    return [
        sys.executable, "-m", "auditor", "run", "--model", str(root / "nets.py:net"), "--data", str(root / "data.npz"), "--out", str(root / out),
        "--work", str(root / f"work-{Path(out).parent}"), "--probes", "performance,neighbours,saliency", "--profile", "quick",
        "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5",
    ]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "nets.py").write_text(NETS)
    np.savez(
        tmp_path / "data.npz", images=rng.integers(0, 256, (4 * 256, 6, 6, 3), dtype=np.uint8), labels=rng.integers(0, 3, 4 * 256)
    )
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    """Everything but what may differ between equal runs: run.json, and the page, which shows it."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name not in ("run.json", "index.html"))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_the_same_command_goes_on_to_the_same_bytes(root: Path, sent: signal.Signals, code: int) -> None:
    whole = subprocess.run(command(root, "whole/x"), capture_output=True, text=True, check=False)
    assert whole.returncode == 0, whole.stderr
    environment = {**os.environ, "SLOW": "4"}
    running = subprocess.Popen(
        command(root, "cut/x"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    begin = time.monotonic()
    while not list((root / "work-cut").rglob("pass.npz")):
        assert running.poll() is None, running.stderr and running.stderr.read()
        assert time.monotonic() - begin < 120, "no checkpoint was written"
        time.sleep(0.1)
    running.send_signal(sent)
    _, told = running.communicate(timeout=60)
    assert running.returncode == code, told
    if sent is signal.SIGINT:
        assert "goes on from the last checkpoint" in told
    assert not (root / "cut/x").exists()
    again = subprocess.run(command(root, "cut/x"), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert "pass: 768 of 1024" not in again.stderr, "the finished shards are not read again"
    assert contents(root / "cut/x") == contents(root / "whole/x")
    assert "audit.json" in contents(root / "cut/x")
