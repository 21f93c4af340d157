from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.fold import concatenate
from auditor.methods.ascent import Space
from auditor.methods.deepdream import deepdream
from auditor.methods.inputs import seed_of
from auditor.preprocess import Geometry, Preprocess
from auditor.probe import Results, about
from auditor.probes.deepdream import NOISE, Deepdream, begin, said
from auditor.target import load_target

torch.set_num_threads(1)
PREPROCESS = Preprocess(Geometry("RGB", (12, 16)), (0.5,) * 3, (0.25,) * 3)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.low, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()
        self.high = nn.Conv2d(4, 6, 3, stride=2)
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.high(self.act(self.low(x))).mean((2, 3)))


class Data:
    def __init__(self) -> None:
        self.bytes = np.random.default_rng(0).integers(60, 196, (4, 12, 16, 3), dtype=np.uint8)
        self.samples = [SimpleNamespace(key=f"{i:064x}:0", name=f"{i}.png") for i in range(4)]

    def __len__(self) -> int:
        return 4

    def pixels(self, positions: Any) -> Any:
        return self.bytes[np.asarray(positions)]


class Facts(SimpleNamespace):
    def chosen(self, count: int) -> Any:
        return np.array([2, 0, 1, 3])[:count]


@pytest.fixture
def world() -> tuple[Any, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net()
    return load_target(model, preprocess=PREPROCESS, device="cpu"), Facts(dataset=Data(), seed=3, names=tuple("abcde"))


def rows_of(probe: Deepdream, target: Any, facts: Any, chunk: int | None = None) -> Any:
    study = probe.study(target, facts, Results())
    assert study is not None
    size = chunk or study.chunk
    work = pickle.loads(pickle.dumps(study.work))
    return concatenate([work(target, facts.dataset, study.items[i : i + size]) for i in range(0, len(study.items), size)])


def test_the_dreams_are_those_of_the_method_and_the_drift_is_of_the_probabilities(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Deepdream(images=2, layers=2)
    rows = rows_of(probe, target, facts)
    assert rows["start"].tolist() == [2, 0, NOISE] * 2
    space = Space.of(PREPROCESS, (12, 16))
    image = torch.from_numpy(facts.dataset.bytes[[2]]).permute(0, 3, 1, 2).float() / 255
    layer = target.choose("spatial", 2)[1]
    seeds = [seed_of(3, f"deepdream:{layer}:{facts.dataset.samples[2].key}")]
    alone = deepdream(target.model, layer, image, space, seeds=seeds)
    assert np.abs(rows["picture"][3].astype(float) / 255 - alone[0].permute(1, 2, 0).numpy()).max() <= 1 / 255
    with torch.no_grad():
        before, after = (target.module(PREPROCESS.normalise(x)).softmax(1)[0].numpy() for x in (image, alone))
    assert rows["drift"][3] == pytest.approx(np.abs(before - after).sum() / 2, abs=1e-4)
    np.testing.assert_array_equal(rows["after"][3], np.argsort(-after)[:3])
    np.testing.assert_allclose(rows["before_share"][3], np.sort(before)[::-1][:3], atol=1e-6)


def test_the_finding_averages_over_images_and_leaves_noise_out(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Deepdream(images=3, layers=2)
    rows = rows_of(probe, target, facts)
    found = probe.conclude(target, facts, Results(rows=rows))
    for number, layer in enumerate(target.choose("spatial", 2)):
        mine = (rows["layer"] == number) & (rows["start"] != NOISE)
        assert found.values[f"drift.{layer}"].value == pytest.approx(rows["drift"][mine].mean())
        assert found.values[f"drift.{layer}"].n == 3
        column = found.columns[f"deepdream.drift.{layer}"]
        assert np.isnan(column).tolist() == [False, False, False, True]
    gallery, table = found.figures
    assert {cell["file"] for row in gallery.data["rows"] for cell in row["cells"]} == set(found.artifacts)
    assert [row["label"] for row in gallery.data["rows"]] == ["2.png", "0.png", "1.png", "noise"]
    assert len(table.data["rows"]) == 8
    assert "of the probability" in found.notes[0]


def test_zero_iterations_show_the_image_and_no_drift(world: tuple[Any, Any]) -> None:
    target, facts = world
    rows = rows_of(Deepdream(images=2, layers=1, iterations=0), target, facts)
    np.testing.assert_array_equal(rows["picture"], rows["begin"])
    np.testing.assert_array_equal(rows["begin"][0], facts.dataset.bytes[2])
    np.testing.assert_allclose(rows["drift"], 0, atol=1e-6)


def test_a_row_depends_on_its_item_alone(world: tuple[Any, Any]) -> None:
    target, facts = world
    one, other = (rows_of(Deepdream(images=3, layers=2), target, facts, chunk) for chunk in (1, 8))
    assert np.abs(one["picture"].astype(int) - other["picture"]).max() <= 1
    np.testing.assert_allclose(one["drift"], other["drift"], atol=1e-4)


def test_noise_is_the_same_for_a_seed_and_about_the_mean(world: tuple[Any, Any]) -> None:
    _, facts = world
    space = Space.of(PREPROCESS, (64, 64))
    one, same, other = (begin(facts.dataset, NOISE, space, seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.mean().item() == pytest.approx(0.5, abs=0.01)
    assert one.std().item() == pytest.approx(0.1, rel=0.1)


def test_without_scores_there_are_pictures_alone(world: tuple[Any, Any]) -> None:
    _, facts = world
    target = load_target(Net(), preprocess=PREPROCESS, device="cpu", task="features")
    probe = Deepdream(images=1, layers=1, noise=False)
    found = probe.conclude(target, facts, Results(rows=rows_of(probe, target, facts)))
    assert found.status == "done"
    assert found.values == {}
    assert [figure.kind for figure in found.figures] == ["gallery"]


@pytest.mark.parametrize(
    "bad", [{"images": -1}, {"layers": 0}, {"octaves": 0}, {"images": 0, "noise": False}, {"iterations": -1}]
)
def test_wrong_parameters_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Deepdream(**bad)


def test_it_explains_itself() -> None:
    words = about(Deepdream)
    assert all((words.asks, words.formula, words.read, words.misleads))
    assert Deepdream.id() == "deepdream"


@pytest.mark.parametrize(
    ("drift", "words"), [((0.0001, 0.0002), "No dream of an image moves more than 0.02%"), ((0.1, 0.4), "at b ")]
)
def test_a_layer_is_named_only_where_something_moves(drift: tuple[float, float], words: str) -> None:
    rows = {
        "start": np.array([3, 3]), "layer": np.array([0, 1]), "drift": np.array(drift), "before": np.array([[1], [1]]), "after": np.array([[1], [2]]),
    }  # fmt: skip
    assert words in said(rows, ("a", "b"))[0]
