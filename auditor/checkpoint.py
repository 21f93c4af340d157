"""Finished prefixes of a pass or study on disk: what a run that was killed goes on from."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from auditor.errors import StoreError
from auditor.fold import State
from auditor.store import write_bytes
from auditor.types import Json

EARLIEST, LATEST = 5.0, 60.0
"""Seconds between two checkpoints: at least EARLIEST, at most LATEST, and never more than a twentieth of the time."""


@dataclass
class Pace:
    """When to write again, by what writing takes."""

    _saved: float = field(default_factory=time.monotonic)
    _took: float = 0.0

    def due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() - self._saved >= min(LATEST, max(EARLIEST, 20 * self._took))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The block that writes."""
        begin = time.monotonic()
        yield
        self._saved = time.monotonic()
        self._took = self._saved - begin


@dataclass
class Checkpoint:
    """One file: how many shards are done, and the merged state of each fold by name."""

    path: Path
    done: int = 0
    states: dict[str, State] = field(default_factory=dict)
    facts: dict[str, Json] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)

    def read(self) -> Checkpoint:
        """Take up what the file holds; a missing, torn or damaged file (each member has a CRC) counts as none."""
        try:
            with self.path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                head = json.loads(bytes(file["head"]).decode())
                states: dict[str, State] = {name: {} for name in head["folds"]}
                for key in file.files:
                    fold, slash, array = key.partition("/")
                    if slash:
                        states[fold][array] = file[key]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return self
        self.done, self.states, self.facts = head["done"], states, head["facts"]
        return self

    def write(self, done: int, states: Mapping[str, State]) -> None:
        """Replace the file by the state after `done` shards."""
        buffer = io.BytesIO()
        head = json.dumps({"done": done, "folds": sorted(states), "facts": self.facts}).encode()
        arrays: dict[str, Any] = {f"{fold}/{name}": array for fold, state in states.items() for name, array in state.items()}
        with self.pace.writing():
            np.savez(buffer, head=np.frombuffer(head, dtype=np.uint8), **arrays)
            write_work(self.path, buffer.getvalue())
        self.done = done


def write_work(path: Path, data: bytes) -> None:
    """Into the work folder. Raises StoreError that names --work."""
    try:
        write_bytes(path, data)
    except StoreError as error:
        raise StoreError(f"the work folder is full or read-only: {error}; give another one with --work") from error
