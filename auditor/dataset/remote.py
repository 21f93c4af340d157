"""Data that lie in a store: s3://, gs://, az://, https:// and all else that fsspec opens. Only what is read is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from auditor.dataset.decode import Limits, Refused, one_line
from auditor.errors import DataError

AT_ONCE = 32
"""Files that are fetched at one time: a store answers late, and many at a time."""
MOST_MANIFEST = 2**31
"""Bytes of a manifest."""


def is_remote(spec: str) -> bool:
    """Whether a spec names a store."""
    return "://" in spec


class Store:
    """A file system of fsspec, read only."""

    def __init__(self, spec: str) -> None:
        """Raises DataError where the protocol is not known, or its package is missing."""
        try:
            from fsspec.core import url_to_fs

            self.files, root = url_to_fs(spec)
        except (ImportError, ValueError) as error:
            raise DataError(
                f"--data {spec}: {one_line(error)}; install the package of its store, such as s3fs or gcsfs"
            ) from error
        self.spec = spec
        self.root = str(root).rstrip("/")

    def kind(self) -> str:
        """file or folder. Raises DataError."""
        found = self.told(lambda: "file" if self.files.isfile(self.root) else "folder" if self.files.isdir(self.root) else "")
        if not found:
            raise DataError(f"--data {self.spec} does not exist; check the path and the credentials of its store")
        return str(found)

    def names(self) -> list[str]:
        """All files below the root, relative to it, that are not hidden, sorted."""
        below = [str(path)[len(self.root) :].lstrip("/") for path in self.told(lambda: self.files.find(self.root))]
        return sorted(n for n in below if n and not any(part.startswith(".") or part == "__MACOSX" for part in n.split("/")))

    def text(self) -> str:
        """The file that the root is, as UTF-8. Raises DataError, UnicodeDecodeError."""
        data: bytes = self.told(lambda: self.files.cat_file(self.root, end=MOST_MANIFEST + 1))
        if len(data) > MOST_MANIFEST:
            raise DataError(f"--data {self.spec}: a manifest has at most {MOST_MANIFEST:,} bytes; give it in parts")
        return data.decode("utf-8-sig")

    def read(self, path: Path, limits: Limits) -> bytes:
        """The bytes of a file. Raises Refused."""
        try:
            data: bytes = self.files.cat_file(path.as_posix(), end=limits.bytes + 1)
        except FileNotFoundError:
            raise Refused("missing file") from None
        except Exception as error:  # noqa: BLE001 - every store raises its own
            raise Refused(f"cannot be read: {type(error).__name__}: {one_line(error)}") from None
        if len(data) > limits.bytes:
            raise Refused(f"more than the limit of {limits.bytes:,} bytes")
        return data

    def told(self, ask: Any) -> Any:
        """What the store answers. Raises DataError: stores have errors of their own."""
        try:
            return ask()
        except Exception as error:
            raise DataError(
                f"--data {self.spec}: {type(error).__name__}: {one_line(error)}; check the path and the credentials of its store"
            ) from error
