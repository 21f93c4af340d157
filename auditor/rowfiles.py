"""Tables with a row an image, in files of the work folder: a pass appends to them, and holds in memory only what it adds."""

from __future__ import annotations

import contextlib
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from auditor.errors import StoreError
from auditor.fold import State
from auditor.types import Array, Json

PIECE = 1 << 22
"""Bytes that are read at a time."""
ENDING = ".rows"


@dataclass
class Table:
    """One file of rows."""

    file: str
    """Its name: every process that appends has one of its own."""
    kind: str
    shape: list[int]
    """Of a row."""
    rows: int = 0
    check: int = 0
    """CRC-32 of all rows."""

    @property
    def bytes(self) -> int:
        """Of all rows."""
        return self.rows * prod(self.shape) * np.dtype(self.kind).itemsize


@dataclass
class RowFiles:
    """The tables of one fold of a pass, by name."""

    folder: Path
    stem: str
    """What their files' names begin with."""
    tables: dict[str, Table] = field(default_factory=dict)
    opened: dict[str, BinaryIO] = field(default_factory=dict)

    def append(self, state: State) -> None:
        """Rows of further images. Raises ValueError for rows of another kind, StoreError where they cannot be written."""
        for name, given in state.items():
            rows = np.ascontiguousarray(given)
            with writing(self.folder):
                if name not in self.tables:
                    self.tables[name] = Table(self.fresh(name), rows.dtype.str, list(rows.shape[1:]))
                    self.opened[name] = (self.folder / self.tables[name].file).open("w+b")
                table = self.tables[name]
                if (rows.dtype.str, list(rows.shape[1:])) != (table.kind, table.shape):
                    told = f"expected {name} of {table.kind} {table.shape} an image, as before, got {rows.dtype.str}"
                    raise ValueError(f"{told} {list(rows.shape[1:])}")
                data = rows.tobytes()
                self.opened[name].write(data)
                table.rows, table.check = table.rows + len(rows), zlib.crc32(data, table.check)

    def fresh(self, name: str) -> str:
        """A file's name that no other process has."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return f"{self.stem}-{name}.{secrets.token_hex(4)}{ENDING}"

    def facts(self) -> Json:
        """What a checkpoint holds of them, once they are on the disk."""
        with writing(self.folder):
            for file in self.opened.values():
                file.flush()
                os.fsync(file.fileno())
        return {name: asdict(table) for name, table in self.tables.items()}

    def take_up(self, facts: Mapping[str, Json], *, more: bool) -> bool:
        """Go on from what a checkpoint holds; False, and nothing is changed, where a file is missing, short or damaged.

        `more`: whether rows will be appended. They then go into a copy: whoever wrote these may be writing still.
        """
        tables = {name: Table(**known) for name, known in facts.items()}
        opened: dict[str, BinaryIO] = {}
        try:
            for name, table in tables.items():
                with (self.folder / table.file).open("rb") as source:
                    if more:
                        table.file = self.fresh(name)
                    opened[name] = (self.folder / table.file).open("w+b" if more else "rb")
                    check = 0
                    for data in pieces(source, table.bytes):
                        check = zlib.crc32(data, check)
                        if more:
                            opened[name].write(data)
                if check != table.check:
                    raise OSError("its rows are not those that were written")
        except OSError:
            for name, file in opened.items():
                file.close()
                if more:
                    (self.folder / tables[name].file).unlink(missing_ok=True)
            return False
        self.tables, self.opened = tables, opened
        return True

    def alone(self) -> None:
        """Remove files of earlier runs, once a checkpoint names these."""
        mine = {table.file for table in self.tables.values()}
        for path in self.folder.glob(f"{self.stem}-*{ENDING}"):
            if path.name not in mine:
                with contextlib.suppress(OSError):
                    path.unlink()

    def arrays(self) -> dict[str, Array]:
        """Name -> (rows,...) as it lies in the file; not to be written to."""
        found = {}
        for name, table in self.tables.items():
            self.opened[name].flush()
            shape = (table.rows, *table.shape)
            found[name] = np.asarray(np.memmap(self.opened[name], dtype=table.kind, mode="r", shape=shape))
        return found

    def forget(self) -> None:
        """Begin anew."""
        self.close()
        self.tables, self.opened = {}, {}

    def close(self) -> None:
        """The files; arrays that were taken stay."""
        for file in self.opened.values():
            file.close()


def pieces(file: BinaryIO, count: int) -> Iterator[bytes]:
    """The first `count` bytes of a file. Raises OSError where it is shorter."""
    while count:
        data = file.read(min(PIECE, count))
        if not data:
            raise OSError("the file is shorter than it was")
        count -= len(data)
        yield data


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """A block that writes. Raises StoreError that names --work."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"the work folder is full or read-only: cannot write to {folder}: {error.strerror or error}; "
            "free some space, or give another folder with --work"
        ) from error
