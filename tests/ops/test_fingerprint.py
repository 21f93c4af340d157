from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auditor.ops.fingerprint import fingerprint, without_addresses

SCALE = 2.0


def scaled(x: Any) -> Any:
    return x * SCALE


class Prepare:
    def __init__(self, k: float) -> None:
        self.k = k
        self.table = np.arange(3) * k

    def run(self, x: Any) -> Any:
        return x * self.k

    def __call__(self, x: Any) -> Any:
        return self.run(x)


def closed(k: Any) -> Any:
    def inner(x: Any) -> Any:
        return x * k

    return inner


def test_equal_state_is_equal_and_other_state_is_not() -> None:
    assert fingerprint(Prepare(1.0).run) == fingerprint(Prepare(1.0).run)
    assert fingerprint(Prepare(1.0).run) != fingerprint(Prepare(50.0).run), "a bound method carries its object"
    assert fingerprint(Prepare(1.0)) != fingerprint(Prepare(2.0))
    assert fingerprint(closed(1)) == fingerprint(closed(1))
    assert fingerprint(closed(1)) != fingerprint(closed(2)), "a closure carries its cells"
    assert fingerprint(closed(torch.ones(2))) != fingerprint(closed(torch.zeros(2)))
    assert fingerprint(functools.partial(scaled, 1)) != fingerprint(functools.partial(scaled, 2))
    assert fingerprint(lambda x: x + 1) != fingerprint(lambda x: x + 2)


def test_a_global_that_it_reads_counts(monkeypatch: Any) -> None:
    before = fingerprint(scaled)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert fingerprint(scaled) != before


def test_it_is_the_same_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("def prepare(image):\n    return image\n")
    script = "import own; from auditor.ops.fingerprint import fingerprint; print(fingerprint(own.prepare))"
    runs = [
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True) for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout


def test_what_cannot_be_read_is_never_mistaken() -> None:
    secret = (i for i in range(3))
    assert fingerprint(closed(secret)) != fingerprint(closed(i for i in range(3)))


def test_no_address_is_shown() -> None:
    assert "0x" not in without_addresses(repr(closed(1)))
