"""Room for tables with a row an image: in memory where they are small, else in files, which the system holds as it has room."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from auditor.errors import StoreError
from auditor.types import Array

SMALL = 1 << 20
"""Bytes up to which a table stays in memory."""
Room: TypeAlias = Callable[[tuple[int, ...], Any], Array]
"""(shape, type of number) -> a table of zeros."""


def in_memory(shape: tuple[int, ...], kind: Any) -> Array:
    """A table of zeros in memory."""
    return np.zeros(shape, dtype=kind)


def in_folder(folder: Path) -> Room:
    """Room in files of `folder` that have no name: they are gone when the table is, however the process ends."""

    def room(shape: tuple[int, ...], kind: Any) -> Array:
        count = prod(shape) * np.dtype(kind).itemsize
        if count <= SMALL:
            return in_memory(shape, kind)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                reserve(file.fileno(), count)
                return np.asarray(np.memmap(file, dtype=kind, mode="r+", shape=shape))
        except OSError as error:
            told = f"cannot keep {count:,} bytes in {folder}: {error.strerror or error}"
            raise StoreError(f"{told}; free some space, or give another folder with --work") from error

    return room


def reserve(file: int, count: int) -> None:
    """Make an empty file `count` zeros long, with blocks of its own: where the disk is full it is told here, not by a signal."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, count)
        return
    zeros = bytes(min(count, SMALL))
    for begin in range(0, count, len(zeros)):
        os.write(file, zeros[: count - begin])
