from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from auditor.dataset import Dataset, open_dataset
from auditor.dataset.training import open_training
from auditor.errors import DataError
from auditor.preprocess import Geometry, Preprocess

FREE = Preprocess(Geometry("RGB"), (0.5,) * 3, (0.5,) * 3)


def folder(root: Path, classes: tuple[str, ...], size: int = 8) -> Path:
    rng = np.random.default_rng(len(str(root)))
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(root / name / f"{i}.png")
    return root


def both(tmp_path: Path, train: Any, data: Path, **meeting: Any) -> tuple[Dataset, Dataset]:
    common = {"preprocess": FREE, "work": tmp_path / "work"}
    audited = open_dataset(data, **common, **meeting)
    meeting = meeting | {"names": audited.classes or None}
    return audited, open_training(partial(open_dataset, train, **common), audited, **meeting)


def test_labels_that_met_by_position_meet_by_name_in_the_training_set(tmp_path: Path) -> None:
    data, train = folder(tmp_path / "a", ("ant", "bee", "cat")), folder(tmp_path / "b", ("bee", "cat"))
    audited, found = both(tmp_path, train, data, outputs=3)
    assert audited.ledger["label_rule"] == "by sorted position"
    assert found.labels.tolist() == [1, 1, 2, 2], "by position alone bee would be 0"
    assert found.ledger["warnings"] == []


def test_labels_that_meet_no_class_are_left_out_and_said(tmp_path: Path) -> None:
    data, train = folder(tmp_path / "a", ("ant", "bee")), folder(tmp_path / "b", ("bee", "wasp"))
    _, found = both(tmp_path, train, data, outputs=2)
    assert found.labels.tolist() == [-1] * 4
    assert [s.label for s in found.samples] == [-1] * 4
    assert found.classes == ()
    assert "labels of the training set are not used" in found.ledger["warnings"][0]
    assert "wasp" in found.ledger["warnings"][0]
    assert found.ledger["listed"] == found.ledger["ok"] == 4


def test_images_of_another_size_are_refused_with_both_sizes(tmp_path: Path) -> None:
    data, train = folder(tmp_path / "a", ("ant", "bee")), folder(tmp_path / "b", ("ant", "bee"), size=9)
    with pytest.raises(DataError, match=r"--train: its images are 9 x 9 x 3 .* those of --data 8 x 8 x 3; give --resize"):
        both(tmp_path, train, data, outputs=2)


def test_what_cannot_be_read_is_said_of_the_training_data(tmp_path: Path) -> None:
    data = folder(tmp_path / "a", ("ant", "bee"))
    with pytest.raises(DataError, match=r"^the training data: --train expects a folder") as caught:
        both(tmp_path, str(tmp_path / "none"), data, outputs=2)
    assert "--data" not in str(caught.value)
