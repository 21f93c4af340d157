"""A data set end to end: ledger, order, keys, the file of decoded images, sources and their errors."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from auditor.dataset import Dataset, open_dataset
from auditor.errors import DataError, LabelError
from auditor.preprocess import Geometry, Preprocess


def plain(mode: str = "RGB", size: tuple[int, int] | None = (8, 8)) -> Preprocess:
    channels = 3 if mode == "RGB" else 1
    return Preprocess(Geometry(mode, size, None, "nearest"), (0.5,) * channels, (0.25,) * channels)  # type: ignore[arg-type]


def opened(spec: Any, tmp_path: Path, *, outputs: int = 2, preprocess: Preprocess | None = None, **options: Any) -> Dataset:
    return open_dataset(spec, preprocess=preprocess or plain(), outputs=outputs, work=tmp_path / "work", **options)


def picture(path: Path, value: int, size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 10, 20)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, value in (("cat/b.png", 1), ("cat/a.png", 2), ("dog/z.png", 3), ("dog/sub/y.png", 4)):
        picture(tmp_path / "data" / name, value)
    return tmp_path / "data"


def test_folder_order_labels_and_pixels(folder: Path, tmp_path: Path) -> None:
    data = opened(folder, tmp_path, names=("Dog", "CAT, tabby"))
    assert [s.name for s in data.samples] == ["cat/a.png", "cat/b.png", "dog/sub/y.png", "dog/z.png"]
    assert data.labels.tolist() == [1, 1, 0, 0]
    assert data.ledger["label_rule"] == "by name"
    assert data.ledger["warnings"] == []
    assert data.pixels(range(4))[:, 0, 0, 0].tolist() == [2, 1, 4, 3]
    loaded = data.load([3], "cpu")
    assert loaded.shape == (1, 3, 8, 8)
    expected = (torch.tensor([3, 10, 20]) / 255 - 0.5) / 0.25
    torch.testing.assert_close(loaded[0, :, 0, 0], expected)


def test_messy_folder_ledger_identity(folder: Path, tmp_path: Path) -> None:
    cat = folder / "cat"
    (cat / "empty.jpg").write_bytes(b"")
    (cat / "page.jpg").write_text("<!DOCTYPE html><p>404")
    (cat / "draw.svg").write_text("<svg xmlns='x'></svg>")
    Image.effect_noise((64, 64), 90).save(cat / "whole.jpg", quality=95)
    (cat / "cut.jpg").write_bytes((cat / "whole.jpg").read_bytes()[:900])
    (cat / "bomb.bmp").write_bytes(b"P6 100000 100000 255\n")
    Image.fromarray(np.array([[0.5, np.nan]], dtype=np.float32)).save(cat / "nan.tiff")
    Image.new("L", (1000, 2)).save(cat / "long.png")
    picture(tmp_path / "outside.png", 9)
    (cat / "out.png").symlink_to(tmp_path / "outside.png")
    (cat / "loop.png").symlink_to(cat / "loop.png")
    os.mkfifo(cat / "pipe.png")
    (cat / "notes.txt").write_text("ignored")
    (folder / "empty class").mkdir()
    ledger = opened(folder, tmp_path, outputs=3).ledger
    assert ledger["listed"] == ledger["ok"] + ledger["normalised"] + ledger["quarantined"] == 15
    assert (ledger["ok"], ledger["normalised"], ledger["quarantined"], ledger["ignored"]) == (4, 1, 10, 1)
    reasons = {e["name"]: e["reason"] for e in ledger["entries"]}
    for name, word in {
        "empty.jpg": "0 bytes", "page.jpg": "HTML", "draw.svg": "SVG", "cut.jpg": "truncated", "bomb.bmp": "pixel",
        "nan.tiff": "NaN", "long.png": "200 times", "out.png": "link out", "loop.png": "cannot be read", "pipe.png": "regular",
    }.items():  # fmt: skip
        assert word in reasons[f"cat/{name}"], reasons[f"cat/{name}"]
    assert ledger["empty_classes"] == ["empty class"]
    assert ledger["conversions"] == {"grey to RGB": 1}


def test_decoded_once_and_rewritten_when_damaged(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(folder, tmp_path)
    stored = next((tmp_path / "work").rglob("images.npy"))
    assert first.images.dtype == np.uint8
    assert isinstance(first.images, np.memmap)
    before = stored.stat().st_ino
    assert opened(folder, tmp_path).digest == first.digest
    assert stored.stat().st_ino == before
    data = bytearray(stored.read_bytes())
    data[-1] ^= 1
    stored.write_bytes(bytes(data))
    again = opened(folder, tmp_path)
    assert again.pixels([3])[0, -1, -1].tolist() == [3, 10, 20]
    picture(folder / "dog/z.png", 77)
    changed = opened(folder, tmp_path)
    assert changed.digest != first.digest
    assert not list((tmp_path / "work").rglob("*.tmp"))
    assert pickle.loads(pickle.dumps(changed)).pixels([3])[0, 0, 0, 0] == 77
    assert len(pickle.dumps(changed)) < 20_000


def test_keys_count_equal_images_and_two_labels_are_told(folder: Path, tmp_path: Path) -> None:
    (folder / "dog" / "same.png").write_bytes((folder / "cat" / "a.png").read_bytes())
    data = opened(folder, tmp_path)
    keys = {s.name: s.key for s in data.samples}
    assert keys["cat/a.png"].endswith(":0")
    assert keys["dog/same.png"] == keys["cat/a.png"][:-1] + "1"
    assert any("two labels" in w for w in data.ledger["warnings"])


def test_splits_above_classes(tmp_path: Path) -> None:
    picture(tmp_path / "data/train/cat/a.png", 1)
    picture(tmp_path / "data/test/cat/a.png", 1)
    with pytest.raises(DataError, match=r"splits test, train .*--data .*/data/test"):
        opened(tmp_path / "data", tmp_path)


def test_manifest_slices_relative_paths_and_missing_files(tmp_path: Path) -> None:
    picture(tmp_path / "data/img/a.png", 1)
    picture(tmp_path / "data/img/b.png", 2)
    text = "path,label,class_name,site\nimg/b.png,3,lynx,north\nimg/gone.png,0,cat,south\nimg/a.png,,,south\n"
    (tmp_path / "data/manifest.csv").write_text(text)
    data = opened(tmp_path / "data/manifest.csv", tmp_path, outputs=5)
    assert [(s.name, s.label, dict(s.slices)) for s in data.samples] == [
        ("img/a.png", -1, {"site": "south"}),
        ("img/b.png", 3, {"site": "north"}),
    ]
    assert data.classes == ("cat", "1", "2", "lynx", "4")
    assert data.slices["site"].tolist() == ["south", "north"]
    assert data.ledger["entries"] == [{"name": "img/gone.png", "reason": "missing file"}]
    assert "only one class" in data.ledger["warnings"]
    with pytest.raises(LabelError, match=r"labels \[3\] are beyond the 3 logits"):
        opened(tmp_path / "data/manifest.csv", tmp_path, outputs=3)


def test_npz_arrays_and_tensors_agree(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    labels = np.array([0, 1, 1, 0, 1])
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    ways = [tmp_path / "a.npz", (images, labels), (torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels))]
    for way in [*ways, torch.utils.data.TensorDataset(ways[2][0], ways[2][1])]:
        data = opened(way, tmp_path)
        np.testing.assert_array_equal(data.pixels(range(5)), images)
        assert data.labels.tolist() == labels.tolist()
        assert data.ledger["ok"] == 5


def test_factory_and_loose_images(tmp_path: Path) -> None:
    code = "import numpy as np\ndef make():\n    return np.full((3, 4, 4), 7, np.uint8), ['b', 'a', 'b']\n"
    (tmp_path / "own.py").write_text(code)
    data = opened(f"{tmp_path}/own.py:make", tmp_path, preprocess=plain("L", (4, 4)), names=["a", "b"])
    assert data.labels.tolist() == [1, 0, 1]
    assert data.images.shape == (3, 4, 4, 1)
    picture(tmp_path / "loose/x.png", 5)
    loose = opened(tmp_path / "loose", tmp_path)
    assert loose.labels.tolist() == [-1]
    assert loose.ledger["label_rule"] == "unlabelled"


def test_without_a_size_the_first_image_fixes_it(tmp_path: Path) -> None:
    picture(tmp_path / "d/a.png", 1, (6, 4))
    picture(tmp_path / "d/b.png", 1, (4, 4))
    data = opened(tmp_path / "d", tmp_path, preprocess=plain(size=None))
    assert data.images.shape == (1, 4, 6, 3)
    assert "--resize" in data.ledger["entries"][0]["reason"]


def bad_sources(root: Path) -> dict[str, tuple[Any, str]]:
    (root / "none").mkdir()
    (root / "no_path.csv").write_text("file,label\na,1\n")
    (root / "no_rows.csv").write_text("path,label\n")
    (root / "ragged.csv").write_text("path,label\na.png,1,2\n")
    np.savez(root / "x.npz", labels=np.zeros(2))
    (root / "fake.npz").write_bytes(b"no zip")
    np.savez(root / "object.npz", images=np.array([{}], dtype=object))
    (root / "all_bad").mkdir()
    (root / "all_bad/a.png").write_bytes(b"")
    (root / "boom.py").write_text("def make():\n    raise KeyError('x')\n")
    return {
        "missing": (root / "nowhere", "does not exist"), "empty": (root / "none", "holds no images"),
        "no path": (root / "no_path.csv", "column `path`"), "no rows": (root / "no_rows.csv", "lists no images"),
        "ragged": (root / "ragged.csv", "line 2"), "no images": (root / "x.npz", "array `images`"),
        "no zip": (root / "fake.npz", "no .npz"), "pickled": (root / "object.npz", "no .npz"),
        "all bad": (root / "all_bad", "none of the 1"), "factory": (f"{root}/boom.py:make", "KeyError"),
        "module": ("no.such.module:make", "ModuleNotFoundError"), "labels": ((np.zeros((2, 4, 4), np.uint8), [1, 0, 1]), "one a sample"),
        "type": (7, "int"), "shape": ((np.zeros((2, 4)), None), "shape"),
    }  # fmt: skip


def test_bad_sources_say_so_in_one_line(tmp_path: Path) -> None:
    for name, (spec, words) in bad_sources(tmp_path).items():
        with pytest.raises(DataError) as caught:
            opened(spec, tmp_path)
        assert words in str(caught.value), name
        assert "\n" not in str(caught.value), name
    assert not list((tmp_path / "work").rglob("images*"))


def test_data_that_moves_is_refused(tmp_path: Path) -> None:
    class Moving:
        count = 0

        def __len__(self) -> int:
            return 1

        def __getitem__(self, i: int) -> tuple[np.ndarray[Any, Any], int]:
            Moving.count += 1
            return np.full((8, 8, 3), Moving.count, np.uint8), 0

    with pytest.raises(DataError, match="not the same as when it was listed"):
        opened(Moving(), tmp_path)
