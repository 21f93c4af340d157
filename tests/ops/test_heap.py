"""Held memory is not faulted in again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from auditor.ops.heap import OFF

CHILD = """
import resource, torch
from auditor.ops.heap import hold_memory
print(hold_memory())
for _ in range(20):
    torch.zeros(10 << 20)  # 40 MB; the heap grows for the first few
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.zeros(10 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def child(**more: str) -> tuple[bool, int]:
    """(whether memory is held, page faults of ten tensors of 10,240 pages, one after the other)."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    held, faults = subprocess.run(
        [sys.executable, "-c", CHILD], env=env, check=True, capture_output=True, text=True
    ).stdout.split()
    return held == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's allocator")
def test_the_pages_of_a_freed_tensor_serve_the_next() -> None:
    held, faults = child()
    assert held
    assert faults < 10_240
    held, given_back = child(**{OFF: "1"})
    assert not held
    assert given_back > 100_000
