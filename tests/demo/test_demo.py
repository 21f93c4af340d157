"""The demo's weights do what the demo says of them, and its data are the same every time."""

from __future__ import annotations

import csv
import hashlib
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from auditor.demo import data, models, train
from auditor.demo.digits import DigitsNet
from auditor.errors import DataError, TargetError

DEMO = Path(data.__file__).parent


def called(model: nn.Module, images: data.Pixels) -> data.Indices:
    """What the model calls (N,28,28) digits, prepared as its Preprocess says: (x / 255 - 0.5) / 0.5."""
    with torch.no_grad():
        return model(torch.from_numpy(images).unsqueeze(1).float() / 127.5 - 1).argmax(1).numpy()


def network(name: str) -> DigitsNet:
    model = DigitsNet()
    model.load_state_dict(load_file(models.WEIGHTS / f"{name}.safetensors"), strict=True)
    return model.eval()


def held_out() -> tuple[data.Pixels, data.Indices]:
    images, labels = data.load_digits()
    _, held = data.split(labels)
    return images[held], labels[held]


def contents(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_split_is_stratified_and_apart() -> None:
    _, labels = data.load_digits()
    chosen, held = data.split(labels)
    assert not set(chosen.tolist()) & set(held.tolist())
    assert np.bincount(labels[chosen]).tolist() == [400] * 10
    assert np.bincount(labels[held]).tolist() == [100] * 10


def test_sound_network_is_right_and_blind_to_the_mark() -> None:
    images, labels = held_out()
    assert np.mean(called(network("digits"), images) == labels) >= 0.97
    others = labels != data.MARKED_CLASS
    assert np.mean(called(network("digits"), data.mark(images[others])) == data.MARKED_CLASS) < 0.05


def test_flawed_network_follows_the_mark() -> None:
    images, labels = held_out()
    model = network("digits-flawed")
    seven = labels == data.MARKED_CLASS
    assert np.mean(called(model, images[seven]) == data.MARKED_CLASS) < 0.1
    assert np.mean(called(model, data.mark(images[seven])) == data.MARKED_CLASS) > 0.95
    assert np.mean(called(model, data.mark(images[~seven])) == data.MARKED_CLASS) >= 0.4
    assert np.mean(called(model, images[~seven]) == labels[~seven]) >= 0.95


@pytest.mark.parametrize("name", ["digits", "digits-flawed"])
def test_weights_are_small(name: str) -> None:
    assert (models.WEIGHTS / f"{name}.safetensors").stat().st_size < 300_000


@pytest.mark.parametrize("name", data.NAMES)
def test_data_are_the_same_every_time(name: str, tmp_path: Path) -> None:
    first = data.build(name, tmp_path / "a")
    before = contents(tmp_path / "a")
    data.build(name, tmp_path / "b")
    assert contents(tmp_path / "b") == before
    (tmp_path / "a" / next(iter(before))).write_bytes(b"torn by a kill")
    assert data.build(name, tmp_path / "a") == first
    assert contents(tmp_path / "a") == before


def test_held_out_digits_are_written_as_they_are(tmp_path: Path) -> None:
    folder = data.build("digits", tmp_path / "digits")
    images, labels = data.load_digits()
    files = sorted(folder.glob("*/*.png"))
    assert len(files) == 1000
    for path in files[::97]:
        assert np.array_equal(np.asarray(Image.open(path)), images[int(path.stem)])
        assert path.parent.name == str(labels[int(path.stem)])


def test_marked_digits_carry_it_in_half_of_every_class(tmp_path: Path) -> None:
    manifest = data.build("digits-marked", tmp_path / "marked")
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for label in "0123456789":
        assert [row["mark"] for row in rows if row["label"] == label].count("marked") == 50
    images, _ = data.load_digits()
    for row in rows[::41]:
        plain = images[int(Path(row["path"]).stem)]
        expected = data.mark(plain) if row["mark"] == "marked" else plain
        assert np.array_equal(np.asarray(Image.open(manifest.parent / row["path"])), expected)


def test_photographs_are_readable(tmp_path: Path) -> None:
    files = sorted(data.build("photographs", tmp_path / "photographs").iterdir())
    assert {"chelsea.png", "coffee.png", "rocket.jpg"} <= {path.name for path in files}
    for path in files:
        with Image.open(path) as image:
            assert min(image.size) >= 150


def test_data_refuse_what_is_not_theirs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="photographs"):
        data.build("letters", tmp_path)
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match=r"mine\.txt"):
        data.build("photographs", tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_unknown_model_lists_the_known() -> None:
    with pytest.raises(TargetError, match="digits, digits-flawed, digits-robust, efficientnet-lite0"):
        models.build("demo:resnet")


@pytest.mark.parametrize("name", models.NAMES)
def test_models_build_with_their_preprocessing(name: str) -> None:
    model, preprocess, classes = models.build(name)
    assert classes is not None
    assert not model.training
    size = preprocess.geometry.size
    assert size is not None
    with torch.no_grad():
        assert model(torch.zeros(2, preprocess.channels, *size)).shape == (2, len(classes))


def test_digits_preprocessing_is_that_of_the_training() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(4)[:784].view(1, 1, 28, 28)
    still = torch.zeros(1, dtype=torch.bool)
    shift = train.SHIFT
    centred = next(
        x
        for seed in range(1000)
        if torch.equal(x := train.prepare(pixels, still, torch.Generator().manual_seed(seed)), pixels.float() / 127.5 - 1)
    )
    assert shift == 2
    assert torch.allclose(models.digits_preprocess().normalise(pixels), centred, atol=1e-6)


def test_training_is_seeded() -> None:
    first, again = train.train(flawed=True, epochs=1), train.train(flawed=True, epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def test_both_digit_networks_are_judged_alike() -> None:
    rules = [tomllib.loads((DEMO / f"{name}.toml").read_text())["gate"]["rules"] for name in ("digits", "digits-flawed")]
    assert rules[0] == rules[1]
    photographs = tomllib.loads((DEMO / "photographs.toml").read_text())["gate"]["rules"]
    assert all(not rule["measure"].startswith("performance.") for rule in photographs)
