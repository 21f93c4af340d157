"""Data in a store are what they are on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from auditor.dataset import Dataset
from auditor.dataset.decode import Limits
from auditor.dataset.remote import Store
from auditor.errors import DataError
from tests.dataset.test_dataset import opened, picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, value in (("cat/b.png", 1), ("cat/a b.png", 2), ("dog/z.png", 3), ("dog/sub/y.png", 4), (".hidden/h.png", 5)):
        picture(tmp_path / "data" / name, value)
    (tmp_path / "data/cat/broken.jpg").write_text("<html>")
    (tmp_path / "data/notes.txt").write_text("none")
    picture(tmp_path / "data/masks/z.png", 255)
    (tmp_path / "data/val.csv").write_text(
        "path,label,source,mask\ndog/z.png,1,x,masks/z.png\ncat/b.png,0,y,\ncat/gone.png,0,y,\n"
    )
    return tmp_path / "data"


@pytest.fixture
def store(folder: Path) -> Iterator[str]:
    files = fsspec.filesystem("memory")
    files.put(str(folder), "/bucket", recursive=True)
    yield "memory://bucket"
    files.rm("/bucket", recursive=True)


def same(one: Dataset, other: Dataset) -> None:
    assert one.digest == other.digest
    assert one.samples == other.samples
    assert one.ledger == other.ledger
    np.testing.assert_array_equal(one.pixels(range(len(one))), other.pixels(range(len(other))))


def test_a_folder_of_a_store_is_as_here(folder: Path, store: str, tmp_path: Path) -> None:
    here = opened(folder, tmp_path / "a", outputs=3)
    there = opened(store, tmp_path / "b", outputs=3)
    assert [s.name for s in there.samples] == ["cat/a b.png", "cat/b.png", "dog/sub/y.png", "dog/z.png", "masks/z.png"]
    assert there.ledger["quarantined"] == 1
    same(here, there)


def test_a_manifest_of_a_store_is_as_here(folder: Path, store: str, tmp_path: Path) -> None:
    here, there = opened(folder / "val.csv", tmp_path / "a"), opened(f"{store}/val.csv", tmp_path / "b")
    assert [(s.name, s.label) for s in there.samples] == [("cat/b.png", 0), ("dog/z.png", 1)]
    assert there.ledger["entries"] == [{"name": "cat/gone.png", "reason": "missing file"}]
    mask = there.mask(1)
    assert mask is not None
    assert mask.all()
    same(here, there)


def test_a_store_that_fails_quarantines_that_image(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(fsspec.filesystem("memory"))
    plain = kind.cat_file

    def failing(self: Any, path: str, **more: Any) -> Any:
        if path.endswith("a b.png"):
            raise PermissionError("403: no")
        return plain(self, path, **more)

    monkeypatch.setattr(kind, "cat_file", failing)
    found = opened(store, tmp_path, outputs=3)
    assert {e["name"]: e["reason"] for e in found.ledger["entries"]}["cat/a b.png"] == "cannot be read: PermissionError: 403: no"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("memory://nowhere/at-all", "does not exist; check the path and the credentials"),
        ("nonsense://bucket/x", "install the package of its store"),
        ("memory://bucket/notes.txt", "expected a folder or a manifest.csv in a store"),
        ("memory://bucket/.hidden", None),
    ],
)
def test_what_is_not_there_is_told(spec: str, told: str | None, store: str, tmp_path: Path) -> None:
    if told is None:
        assert opened(spec, tmp_path, outputs=0).ledger["ok"] == 1, "a folder that is named is read, whatever its name"
        return
    with pytest.raises(DataError, match=told):
        opened(spec, tmp_path)


def test_splits_are_told_in_a_store(folder: Path, tmp_path: Path) -> None:
    files = fsspec.filesystem("memory")
    shutil.copytree(folder / "dog", tmp_path / "splits/train/dog")
    shutil.copytree(folder / "dog", tmp_path / "splits/test/dog")
    files.put(str(tmp_path / "splits"), "/splits", recursive=True)
    with pytest.raises(DataError, match="audit one: --data memory://splits/test"):
        opened("memory://splits", tmp_path)
    files.rm("/splits", recursive=True)


def test_an_image_above_the_limit_is_refused_after_the_limit(store: str) -> None:
    found = Store(f"{store}/cat")
    size = len(found.read(Path("/bucket/cat/b.png"), Limits()))
    assert len(found.read(Path("/bucket/cat/b.png"), Limits(bytes=size))) == size
    with pytest.raises(Exception, match=f"more than the limit of {size - 1} bytes"):
        found.read(Path("/bucket/cat/b.png"), Limits(bytes=size - 1))
