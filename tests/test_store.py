from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from auditor import store
from auditor.errors import StoreError
from auditor.types import About, AuditRecord, Figure, Measure, Outcome, Section, Stamp, Value, Verdict


def record() -> AuditRecord:
    section = Section(
        id="performance",
        title="Performance",
        status="done",
        values={"top1": Value(0.5, "proportion", "share", n=4, k=2, low=0.1, high=0.9, columns=("correct",))},
        figures=(Figure("curve", "lines", "A curve", data={"series": [{"x": [1, 2], "y": [float("nan"), 2.0]}]}),),
        notes=("cat is weak",),
        stamps=(Stamp("saliency", "fails", "it does not move"),),
        about=About("a", "b", "c", "d"),
        cites=("Someone 2014",),
    )
    measure = Measure("top1", "Top-1", "share", "higher", "Right answers.")
    return AuditRecord(1, "x", {"key": "k"}, {"listed": 4}, {"batch": 2}, {"performance": (measure,)}, {"performance": section})


def test_an_audit_comes_back_as_it_was_written(tmp_path: Path) -> None:
    store.write_audit(tmp_path, record())
    back = store.read_audit(tmp_path)
    assert back["performance"]["top1"] == record()["performance"]["top1"]
    assert back["performance"].stamps == record()["performance"].stamps
    assert back.catalogue == record().catalogue
    store.write_audit(tmp_path / "again", back)
    assert (tmp_path / "again" / "audit.json").read_bytes() == (tmp_path / "audit.json").read_bytes()


def test_what_is_not_finite_becomes_null(tmp_path: Path) -> None:
    store.write_json(tmp_path / "a.json", {"x": [math.nan, math.inf, np.float32(1.5)], "bad": "\udcff"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [None, None, 1.5], "bad": "\\udcff"}


def test_a_long_array_is_refused_in_audit_json(tmp_path: Path) -> None:
    long = Section("p", "P", "done", figures=(Figure("f", "lines", "F", data={"y": list(range(1001))}),))
    with pytest.raises(ValueError, match="1001 entries"):
        store.write_audit(tmp_path, AuditRecord(1, "x", {}, {}, {}, {}, {"p": long}))
    assert not (tmp_path / "audit.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "cannot read"),
        (b"[]", "no schema_version"),
        (b'{"schema_version": 99}', "reads up to 1; install a newer"),
        (b'{"schema_version": 1}', "is damaged"),
    ],
)
def test_a_damaged_or_newer_audit_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "audit.json").write_bytes(content)
    with pytest.raises(StoreError, match=message):
        store.read_audit(tmp_path)


def test_a_folder_without_an_audit_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"expected an audit folder with audit\.json"):
        store.read_audit(tmp_path)


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png"])
def test_an_artifact_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="expected a name within"):
        store.artifact(tmp_path, "p", name)


def test_artifacts_keep_their_numbers(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    numbers = np.arange(6.0).reshape(2, 3)
    files = store.write_artifacts(tmp_path, "p", {"a.png": picture, "b.npy": numbers, "c.png": picture[..., :1]})
    from PIL import Image

    with Image.open(tmp_path / "artifacts/p/a.png") as image:
        assert image.mode == "P", "few colours are kept with a palette"
        assert np.array_equal(np.asarray(image.convert("RGB")), picture)
    with Image.open(tmp_path / "artifacts/p/c.png") as image:
        assert np.array_equal(np.asarray(image), picture[..., 0])
    assert np.array_equal(np.load(tmp_path / "artifacts/p/b.npy"), numbers)
    many = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    store.write_artifacts(tmp_path, "q", {"many.png": many})
    with Image.open(tmp_path / "artifacts/q/many.png") as image:
        assert np.array_equal(np.asarray(image), many)
    assert set(files) == {"artifacts/p/a.png", "artifacts/p/b.npy", "artifacts/p/c.png"}


def test_columns_come_back(tmp_path: Path) -> None:
    columns = {"index": np.arange(3), "name": np.array(["a", "b", "c"], dtype=object), "x": np.array([1.0, np.nan, 2.0])}
    store.write_columns(tmp_path, columns)
    back = store.read_columns(tmp_path)
    assert list(back["name"]) == ["a", "b", "c"]
    np.testing.assert_array_equal(back["x"], columns["x"])
    assert store.read_columns(tmp_path / "none") == {}


def test_a_verdict_comes_back(tmp_path: Path) -> None:
    verdict = Verdict("fail", 1, "why", (Outcome("performance.top1", "fail", "s", {"at_least": 1}, samples=(3, 1)),))
    store.write_verdict(tmp_path, verdict)
    assert store.read_verdict(tmp_path) == verdict
    assert store.read_verdict(tmp_path / "none") is None


def test_an_unwritable_folder_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot write to"):
        store.require_writable(tmp_path / "file" / "below")


@pytest.mark.parametrize("count", [1, 7, 8])
def test_features_come_back_from_parquet_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    import hashlib

    import pyarrow.parquet as pq

    monkeypatch.setattr(store, "ROWS_AT_ONCE", 4)
    features = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    features[0, 0] = np.nan
    keys = np.array([f"{i:x}:0" for i in range(count)], dtype=object)
    files = store.write_features(tmp_path, keys, features)
    assert files == {"features.parquet": hashlib.sha256((tmp_path / "features.parquet").read_bytes()).hexdigest()}
    table = pq.ParquetFile(tmp_path / "features.parquet").read()
    assert table.column("key").to_pylist() == keys.tolist()
    np.testing.assert_array_equal(np.array(table.column("features").to_pylist(), dtype=np.float32), features)
