"""Boxes and masks that come with the data, in the pixels that the model sees."""

from __future__ import annotations

import csv
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from auditor.dataset import Dataset, open_dataset
from auditor.errors import DataError
from auditor.preprocess import Geometry, Opaque, Preprocess

BOX = (24, 31, 97, 66)
"""x0, y0, x1, y1 of the white rectangle in a picture of 160 x 120."""
GEOMETRIES = [
    Geometry("RGB"),
    Geometry("RGB", 60),
    Geometry("RGB", 60, (60, 60)),
    Geometry("RGB", (50, 200)),
    Geometry("RGB", (90, 70), (40, 40)),
    Geometry("RGB", None, (100, 100)),
    Geometry("RGB", 80, (131, 97)),
    Geometry("RGB", None, (141, 177)),
]


def rectangle(size: tuple[int, int] = (160, 120), box: tuple[int, int, int, int] = BOX) -> Image.Image:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    return Image.fromarray(pixels)


def bounds(lit: Any) -> tuple[int, int, int, int]:
    y, x = np.nonzero(lit)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def manifest(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "data.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def opened(path: Path, geometry: Geometry) -> Dataset:
    prepared = Preprocess(geometry, (0.5,) * 3, (0.5,) * 3)
    return open_dataset(str(path), preprocess=prepared, outputs=2, work=path.parent / "work")


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("size", [(160, 120), (120, 160), (131, 77)])
def test_a_rectangle_lies_where_the_geometry_says(geometry: Geometry, size: tuple[int, int]) -> None:
    box = (24, 31, 97, 66) if size[0] > 120 else (31, 24, 66, 97)
    found = geometry.box(box, (size[1], size[0]))
    drawn = geometry.apply(rectangle(size, box))[..., 0]
    assert found is not None
    np.testing.assert_allclose(found, bounds(drawn > 127), atol=1.0)
    assert (found[2] - found[0]) * (found[3] - found[1]) > 300


def test_what_is_cut_off_is_clipped_and_what_is_cut_away_is_gone() -> None:
    geometry = Geometry("RGB", 120, (120, 120))  # of 160 x 120 the middle 120 columns: x from 20 to 140
    assert geometry.box((0, 0, 160, 120), (120, 160)) == (0, 0, 120, 120)
    assert geometry.box((10, 40, 30, 50), (120, 160)) == (0, 40, 10, 50)
    assert geometry.box((0, 40, 19, 50), (120, 160)) is None


def test_a_manifest_brings_boxes_and_masks_of_what_the_model_sees(tmp_path: Path) -> None:
    rectangle().save(tmp_path / "a.png")
    turned = rectangle((120, 160), (31, 24, 66, 97))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: upright it is 160 x 120
    turned.save(tmp_path / "b.jpg", exif=exif)
    upright = rectangle((160, 120), (160 - 97, 31, 160 - 24, 66))
    Image.fromarray((np.asarray(rectangle().convert("L")) > 0).astype(np.uint8)).save(tmp_path / "a-mask.png")  # 0 and 1
    upright.convert("L").save(tmp_path / "b-mask.png")
    for name in "cde":
        rectangle().save(tmp_path / f"{name}.png")
    rectangle((80, 60), (1, 1, 5, 5)).save(tmp_path / "small.png")
    path = manifest(
        tmp_path,
        [
            {"path": "a.png", "label": "0", "site": "x", "box": "24,31,97,66", "mask": "a-mask.png"},
            {"path": "b.jpg", "label": "1", "site": "y", "box": "63 31 136 66", "mask": "b-mask.png"},
            {"path": "c.png", "label": "1", "site": "x", "box": "", "mask": ""},
            {"path": "d.png", "label": "1", "site": "x", "box": "150,2,159,9", "mask": "nowhere.png"},
            {"path": "e.png", "label": "1", "site": "x", "box": "", "mask": "small.png"},
            {"path": "lost.png", "label": "1", "site": "x", "box": "1,1,2,2", "mask": "a-mask.png"},
        ],
    )
    data = opened(path, Geometry("RGB", 60, (60, 60)))
    assert [s.name for s in data.samples] == ["a.png", "b.jpg", "c.png", "d.png", "e.png"]
    for place in (0, 1):
        lit = bounds(data.pixels([place])[0, ..., 0] > 127)
        box, mask = data.samples[place].box, data.mask(place)
        assert box is not None
        assert mask is not None
        assert mask.shape == (60, 60)
        np.testing.assert_allclose(box, lit, atol=1.0)
        np.testing.assert_allclose(bounds(mask), lit, atol=1.0)
        assert mask.mean() > 0.1
    assert [s.box for s in data.samples[2:]] == [None, None, None]
    assert [data.mask(i) for i in (2, 3, 4)] == [None, None, None]
    assert set(data.slices) == {"site"}
    assert (data.ledger["boxes"], data.ledger["masks"]) == (2, 2)
    said = " ".join(data.ledger["warnings"])
    assert "1 boxes lie outside" in said
    assert "2 of 4 masks are not used; the first: missing file" in said
    again = pickle.loads(pickle.dumps(data))
    assert len(pickle.dumps(data)) < 20_000
    assert np.array_equal(again.mask(1), data.mask(1))
    assert opened(path, Geometry("RGB", 60, (60, 60))).digest == data.digest


def test_another_mask_or_box_makes_another_data_set(tmp_path: Path) -> None:
    rectangle().save(tmp_path / "a.png")
    digests = []
    for box, shift in (("24,31,97,66", 0), ("24,31,97,67", 0), ("24,31,97,66", 1)):
        rectangle(box=(24 + shift, 31, 97, 66)).save(tmp_path / "mask.png")
        path = manifest(tmp_path, [{"path": "a.png", "label": "0", "box": box, "mask": "mask.png"}])
        digests.append(opened(path, Geometry("RGB", 60, (60, 60))).digest)
    assert len(set(digests)) == 3


def test_a_mask_of_another_size_is_not_used(tmp_path: Path) -> None:
    rectangle().save(tmp_path / "a.png")
    rectangle((80, 60), (1, 1, 5, 5)).save(tmp_path / "mask.png")
    data = opened(manifest(tmp_path, [{"path": "a.png", "label": "0", "mask": "mask.png"}]), Geometry("RGB", 60, (60, 60)))
    assert data.mask(0) is None
    assert "80 x 60 px where its image has 160 x 120" in data.ledger["warnings"][-1]


def test_behind_a_function_no_place_is_known(tmp_path: Path) -> None:
    rectangle().save(tmp_path / "a.png")
    path = manifest(tmp_path, [{"path": "a.png", "label": "0", "box": "1,1,5,5"}])
    opaque = Opaque(lambda image: np.zeros((3, 4, 4), np.float32))
    data = open_dataset(str(path), preprocess=opaque, outputs=2, work=tmp_path / "work")
    assert data.samples[0].box is None
    assert "1 boxes or masks are not used: the preprocessing is a function" in data.ledger["warnings"][-1]


@pytest.mark.parametrize("box", ["1,2,3", "5,1,2,9", "a,b,c,d", "0,0,inf,4", "-1,0,3,3", "nan,0,3,3"])
def test_a_box_that_is_none_is_told_with_its_line(tmp_path: Path, box: str) -> None:
    rectangle().save(tmp_path / "a.png")
    path = manifest(tmp_path, [{"path": "a.png", "label": "0", "box": ""}, {"path": "a.png", "label": "0", "box": box}])
    with pytest.raises(DataError, match="line 3: box expects x0,y0,x1,y1"):
        opened(path, Geometry("RGB"))
