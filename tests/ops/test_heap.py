"""Held memory is not faulted in again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

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


def child(off: str) -> tuple[bool, int]:
    """(whether memory is held, page faults of ten tensors of 40 MB, one after the other) with OFF set to `off`."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", OFF: off}
    held, faults = subprocess.run(
        [sys.executable, "-c", CHILD], env=env, check=True, capture_output=True, text=True
    ).stdout.split()
    return held == "True", int(faults)


def test_the_pages_of_a_freed_tensor_serve_the_next() -> None:
    held, faults = child(off="")
    asked, given_back = child(off="1")
    assert not asked
    assert held == (platform.libc_ver()[0] == "glibc"), "another C library is left alone"
    assert not held or faults < 0.1 * given_back
