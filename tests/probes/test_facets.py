from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.fold import concatenate
from auditor.preprocess import Geometry, Preprocess
from auditor.probe import Results, about
from auditor.probes.facets import Facets
from auditor.target import load_target

torch.set_num_threads(1)
PREPROCESS = Preprocess(Geometry("L", (8, 8)), (0.5,), (0.25,))
EACH = 20
"""Images of each look."""


class Net(nn.Module):
    """Class 0 is a bright bar left or top, class 1 a dark picture; the features are the means of four strips."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2, bias=False)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[1.0, 1.0, 0.0, 0.0], [-1.0, -1.0, -1.0, -1.0]]))

    def forward(self, x: Tensor) -> Tensor:
        strips = (x[..., :2], x[:, :, :2], x[..., -2:], x[:, :, -2:])
        return self.fc(torch.cat([strip.mean((2, 3)) for strip in strips], 1))


class Data:
    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.look = rng.permutation(np.repeat(np.arange(3), EACH))  # left bar, top bar, dark
        self.bytes = rng.integers(100, 130, (3 * EACH, 8, 8, 1), dtype=np.uint8)
        self.bytes[self.look == 0, :, :2] += 110
        self.bytes[self.look == 1, :2] += 110
        self.bytes[self.look == 2] -= 90
        self.labels = (self.look == 2).astype(np.int64)
        self.samples = [SimpleNamespace(key=f"{i:064x}:0", name=f"{i}.png") for i in range(3 * EACH)]

    def __len__(self) -> int:
        return 3 * EACH

    def pixels(self, positions: Any) -> Any:
        return self.bytes[np.asarray(positions)]


class Facts(SimpleNamespace):
    def chosen(self, count: int) -> Any:
        return np.arange(3 * EACH)[::-1][:count]


@pytest.fixture(scope="module")
def world() -> tuple[Any, Any]:
    data, target = Data(), load_target(Net(), preprocess=PREPROCESS, device="cpu")
    look = target.look(PREPROCESS.normalise(torch.from_numpy(data.bytes).permute(0, 3, 1, 2)))
    seen = SimpleNamespace(labels=data.labels, predicted=look.scores.argmax(1).numpy())
    return target, Facts(dataset=data, seed=3, names=("bar", "dark"), predictions=seen, features=look.features.numpy())


def rows_of(probe: Facets, target: Any, given: Any) -> Any:
    study = probe.study(target, given, Results())
    assert study is not None
    work = pickle.loads(pickle.dumps(study.work))
    return concatenate([work(target, given.dataset, [item]) for item in study.items])


def test_two_planted_looks_come_back_as_facets_with_their_own_starts_and_pictures(world: tuple[Any, Any]) -> None:
    target, given = world
    probe = Facets(iterations=4)
    rows = rows_of(probe, target, given)
    finding = probe.conclude(target, given, Results(rows=rows))
    assert finding.values["facets.bar"].value == 2
    assert finding.values["purity.bar"].k == finding.values["purity.bar"].n == 2 * EACH
    assert finding.values["facets.dark"].value == 1
    looks = []
    for f in range(2):
        near = rows["near"][0, f]
        (look,) = set(given.dataset.look[near])
        looks.append(look)
        mean = given.dataset.bytes[near].astype(float).mean(0)
        assert np.abs(rows["mean"][0, f] - mean).max() <= 0.51, "the start is the mean of the nearest images"
        bar = rows["picture"][0, f].astype(float)
        strip = bar[:, :2] if look == 0 else bar[:2]
        assert strip.mean() > bar.mean() + 30, "and keeps its look"
        assert rows["taken"][0, f] == 0
    assert sorted(looks) == [0, 1]
    assert {cell["file"] for row in finding.figures[0].data["rows"] for cell in row["cells"]} == set(finding.artifacts)
    assert finding.notes[0].startswith("bar: 2 facets")
    assert "100% of 40 images" in finding.notes[0]
    assert finding.notes[1].startswith("1 of 2 classes are one facet")
    assert {row["note"].split()[0] for row in finding.figures[0].data["rows"]} == {"facet", "piece"}


def test_the_start_of_one_facet_is_the_mean(world: tuple[Any, Any]) -> None:
    target, given = world
    probe = Facets(classes=1, most=1, iterations=2)
    rows = rows_of(probe, target, given)
    assert rows["count"].tolist() == [1]
    near = rows["near"][0, 0]
    assert len(set(near)) == 15
    assert np.abs(rows["mean"][0, 0] - given.dataset.bytes[near].astype(float).mean(0)).max() <= 0.51


def test_members_come_in_the_order_of_the_chosen_images_and_a_small_class_is_left_out(world: tuple[Any, Any]) -> None:
    target, given = world
    members = Facets(sample=15).members(given)
    assert list(members) == [0, 1]
    expected = [p for p in range(3 * EACH)[::-1] if given.dataset.labels[p] == 1][:15]
    assert members[1].tolist() == expected
    few = Facts(**{**given.__dict__, "predictions": SimpleNamespace(labels=np.arange(60) % 10, predicted=np.zeros(60, int))})
    assert Facets().members(few) == {}
    assert Facets().study(target, few, Results()) is None
    assert Facets().conclude(target, few, Results()).status == "not_applicable"
    unlabelled = SimpleNamespace(labels=np.full(60, -1), predicted=given.predictions.predicted)
    assert list(Facets().members(Facts(**{**given.__dict__, "predictions": unlabelled}))) == [0, 1]


def test_the_cost_is_not_exceeded(world: tuple[Any, Any]) -> None:
    target, given = world
    probe = Facets(iterations=5)
    counted: list[int] = []
    handle = target.model.register_forward_pre_hook(lambda _m, args: counted.append(len(args[0])))
    rows = rows_of(probe, target, given)
    handle.remove()
    assert sum(counted) == rows["count"].sum() * 6, "five iterations and one look a picture"
    cost = probe.cost(target, given.dataset)
    assert sum(counted) <= cost.gradients + cost.forwards == 2 * 4 * 6


@pytest.mark.parametrize("bad", [{"classes": 0}, {"most": 9}, {"sample": 7}, {"iterations": 1}])
def test_wrong_parameters_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Facets(**bad)


def test_it_explains_itself() -> None:
    said = about(Facets)
    assert all((said.asks, said.formula, said.read, said.misleads))
    assert Facets.id() == "facets"
