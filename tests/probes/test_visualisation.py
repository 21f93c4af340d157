from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import auditor
from auditor.fold import Batch, concatenate
from auditor.methods.ascent import Space
from auditor.preprocess import Geometry, Preprocess
from auditor.probe import Results, about
from auditor.probes.visualisation import Visualisation
from auditor.probes.visualisation.making import displayed
from auditor.probes.visualisation.watch import Strongest, chosen_units, spread
from auditor.target import load_target, open_second

torch.set_num_threads(1)
MEANS = ("none", "yosinski_1", "yosinski_3", "fourier")
"""Recipes that can move the mean colour, which MACO keeps and these networks look at."""
PREPROCESS = Preprocess(Geometry("RGB", (12, 12)), (0.5,) * 3, (0.25,) * 3)


class Net(nn.Module):
    """Maps whose channels are the colours red, green, blue and their absence; class k is the mean of colour k."""

    def __init__(self, order: tuple[int, ...] = (0, 1, 2)) -> None:
        super().__init__()
        self.low = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.pool = nn.AvgPool2d(2)
        self.fc = nn.Linear(6, 3, bias=False)
        with torch.no_grad():
            self.low.weight.zero_()
            for channel in range(6):
                self.low.weight[channel, channel % 3, 1, 1] = 1.0 if channel < 3 else -1.0
            self.fc.weight.copy_(4 * torch.eye(3, 6)[list(order)])

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.low(x)).mean((2, 3)))


class Data:
    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.bytes = rng.integers(100, 156, (6, 12, 12, 3), dtype=np.uint8)
        self.bytes[np.arange(6), :, :, np.arange(6) % 3] += 40
        self.labels = np.arange(6) % 3
        self.samples = [SimpleNamespace(key=f"{i:064x}:0", name=f"{i}.png") for i in range(6)]

    def __len__(self) -> int:
        return 6

    def pixels(self, positions: Any) -> Any:
        return self.bytes[np.asarray(positions)]


class Facts(SimpleNamespace):
    def chosen(self, count: int) -> Any:
        return np.array([5, 0, 1, 2, 3, 4])[:count]


def facts(labels: Any = (0, 1, 2, 0, 1, 2)) -> Facts:
    share = np.full((6, 3), 0.1)
    share[np.arange(6), np.arange(6) % 3] = 0.8 - 0.01 * np.arange(6)
    seen = SimpleNamespace(
        labels=np.array(labels), predicted=np.arange(6) % 3, log_probability=lambda label: np.log(share[:, label])
    )
    return Facts(dataset=Data(), seed=3, names=("red", "green", "blue"), predictions=seen)


@pytest.fixture
def target() -> Any:
    return load_target(Net(), preprocess=PREPROCESS, device="cpu")


def rows_of(probe: Visualisation, target: Any, given: Any, chunk: int | None = None) -> Any:
    study = probe.study(target, given, Results())
    assert study is not None
    size = chunk or study.chunk
    work = pickle.loads(pickle.dumps(study.work))
    return concatenate([work(target, given.dataset, study.items[i : i + size]) for i in range(0, len(study.items), size)])


def watched(probe: Visualisation, target: Any, given: Any) -> Any:
    fold = probe.look(target)
    if fold is None:
        return None
    images = PREPROCESS.normalise(torch.from_numpy(given.dataset.bytes).permute(0, 3, 1, 2))
    look = target.look(images, fold.layers)
    fold.see(Batch(np.arange(6), given.dataset.labels, images, look.scores, look.features, look.activations))
    return fold


def found(probe: Visualisation, target: Any, given: Any) -> Any:
    return probe.conclude(target, given, Results(watched(probe, target, given), rows_of(probe, target, given)))


def test_every_class_and_unit_is_reached_and_the_pictures_have_their_colour(target: Any) -> None:
    probe = Visualisation(classes=3, layers=1, units=6, iterations=120, recipes=MEANS)
    rows = rows_of(probe, target, facts())
    finding = probe.conclude(target, facts(), Results(watched(probe, target, facts()), rows))
    assert finding.values["target_reached.classes"].k == finding.values["target_reached.classes"].n == 9
    assert finding.values["target_reached.none"].n == 3
    assert finding.values["target_reached.units"].k == 6
    for i in np.flatnonzero(rows["layer"] == -1):
        colour = rows["picture"][i].reshape(-1, 3).mean(0)
        assert colour.argmax() == rows["unit"][i], probe.used()[rows["recipe"][i]]
    for i in np.flatnonzero(rows["layer"] == 0):
        picture = torch.from_numpy(rows["picture"][i]).permute(2, 0, 1)[None]
        mean = float(PREPROCESS.normalise(picture)[0, rows["unit"][i] % 3].mean()) * (1 if rows["unit"][i] < 3 else -1)
        assert rows["value"][i] == pytest.approx(mean, abs=0.02), "the activation is that of the picture, up to 8 bits"
    assert set(finding.artifacts) == {
        cell["file"]
        for figure in finding.figures
        if figure.kind == "gallery"
        for row in figure.data["rows"]
        for cell in row["cells"]
    }


def test_the_surest_image_and_the_strongest_image_stand_beside_the_pictures(target: Any) -> None:
    finding = found(Visualisation(classes=3, layers=1, units=2, iterations=4), target, facts())
    gallery, _, units = finding.figures
    assert [row["sample"] for row in gallery.data["rows"]] == [0, 1, 2]
    assert [row["label"] for row in gallery.data["rows"]] == ["red", "green", "blue"]
    pixels = Data().bytes.reshape(6, -1, 3).mean(1)
    assert [row["sample"] for row in units.data["rows"]] == [pixels[:, 0].argmax(), pixels[:, 0].argmin()]


def test_a_second_model_agrees_or_does_not(target: Any) -> None:
    probe = Visualisation(classes=3, layers=0, iterations=20, recipes=MEANS)
    target.second = open_second(Net(), target)
    agreed = found(probe, target, facts()).values["second_model_agreement"]
    assert (agreed.k, agreed.n) == (9, 9), "without a regulariser a picture does not count"
    target.second = open_second(Net((1, 2, 0)), target)
    other = found(probe, target, facts())
    assert other.values["second_model_agreement"].k == 0
    assert "0 of 9" in other.notes[-1]
    target.second = None
    assert "second_model_agreement" not in found(probe, target, facts()).values


def test_what_is_not_reached_is_said(target: Any) -> None:
    probe = Visualisation(classes=2, layers=1, units=1, iterations=6, recipes=("fourier",))
    rows = rows_of(probe, target, facts())
    rows["own_class"][0] = 1 - rows["own_class"][0]
    strongest = watched(probe, target, facts())
    strongest.values["pool"][:] = rows["value"][-1] + 0.1
    finding = probe.conclude(target, facts(), Results(strongest, rows))
    assert finding.values["target_reached.classes"].value == 0.5
    assert finding.values["target_reached.units"].value == 0
    assert "seen as" in finding.figures[0].data["rows"][0]["cells"][1]["label"]
    strongest.values["pool"][:] = rows["value"][-1]
    assert probe.conclude(target, facts(), Results(strongest, rows)).values["target_reached.units"].value == 1, "a tie is enough"


def test_a_row_depends_on_its_item_alone(target: Any) -> None:
    probe = Visualisation(classes=2, layers=1, units=2, iterations=6)
    one, other = (rows_of(probe, target, facts(), chunk) for chunk in (1, 5))
    np.testing.assert_allclose(one["value"], other["value"], rtol=1e-4)
    assert np.abs(one["picture"].astype(int) - other["picture"]).max() <= 1
    assert list(one["unit"]) == list(other["unit"])


def test_the_cost_is_what_is_done(target: Any) -> None:
    probe = Visualisation(classes=3, layers=0, iterations=7)
    counted: list[int] = []
    handle = target.model.register_forward_pre_hook(lambda _m, args: counted.append(len(args[0])))
    rows_of(probe, target, facts())
    handle.remove()
    cost = probe.cost(target, Data())  # type: ignore[arg-type]
    assert cost.gradients == 3 * 5 * 7
    assert sum(counted) == cost.gradients + cost.forwards


def test_classes_come_from_labels_or_predictions(target: Any) -> None:
    assert Visualisation(classes=2).shown(target, facts()) == (0, 2), "those of the first chosen images, in order"
    assert Visualisation(classes=9).shown(target, facts()) == (0, 1, 2)
    assert Visualisation(classes=2).shown(target, facts((-1,) * 6)) == (0, 2)
    features = load_target(Net(), preprocess=PREPROCESS, device="cpu", task="features")
    assert Visualisation().shown(features, facts()) == ()


def test_strongest_is_the_same_for_any_split_and_breaks_ties_by_position() -> None:
    rng = np.random.default_rng(0)
    maps = torch.from_numpy(rng.integers(0, 3, (9, 4, 2, 2)).astype(np.float32))
    maps[4] = float("nan")
    means = np.nan_to_num(maps.mean((2, 3)).numpy(), nan=-np.inf)[:, [1, 3]]

    def batch(at: list[int]) -> Batch:
        return Batch(np.array(at), np.zeros(len(at)), maps[at], None, maps[at], {"a": maps[at]})

    whole = Strongest({"a": (1, 3)})
    whole.see(batch(list(range(9))))
    np.testing.assert_array_equal(whole.values["a"], means.max(0))
    np.testing.assert_array_equal(whole.positions["a"], means.argmax(0))
    parts = [Strongest({"a": (1, 3)}) for _ in range(3)]
    for part, at in zip(parts, ([5, 6, 7, 8], [0, 1], [2, 3, 4]), strict=True):
        part.see(batch(at))
    parts[0].merge(parts[1])
    loaded = Strongest({"a": (1, 3)})
    loaded.load(parts[0].save())
    loaded.merge(parts[2])
    assert all(np.array_equal(loaded.save()[key], value) for key, value in whole.save().items())


def test_units_are_spread_and_transformers_give_tokens(target: Any) -> None:
    assert spread(10, 4) == (0, 2, 5, 7)
    assert spread(3, 8) == (0, 1, 2)
    assert chosen_units(target, 2, 3) == {"low": (0, 2, 4), "pool": (0, 2, 4)}
    assert chosen_units(target, 0, 3) == {}

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mix, self.norm = nn.Conv2d(3, 8, 4, stride=4), nn.Linear(8, 8), nn.LayerNorm(8)
            self.fc = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.embed(x).flatten(2).transpose(1, 2)
            return self.fc(self.norm(tokens + self.mix(tokens)).mean(1))

    tokens = load_target(Tokens(), preprocess=PREPROCESS, device="cpu")
    assert list(chosen_units(tokens, 2, 3)) == ["embed", "norm"]
    probe = Visualisation(classes=1, layers=2, units=2, iterations=8)
    assert found(probe, tokens, facts()).values["target_reached.units"].n == 4


def test_contrast_is_raised_for_pixels_alone(target: Any) -> None:
    faint = 0.5 + 0.05 * torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    shown, factor = displayed(faint, Space.of(PREPROCESS, (12, 12)), [True, False])
    assert torch.equal(shown[1], faint[1])
    assert factor[1] == 1
    assert factor[0] == pytest.approx(10, rel=0.05)
    torch.testing.assert_close(shown[0], (0.5 + (faint[0] - 0.5) * float(factor[0])).clamp(0, 1))


def test_a_whole_audit_without_scores_shows_units(tmp_path: Path) -> None:
    images = Data().bytes
    audit = auditor.run(
        Net(), (images, np.arange(6) % 3), preprocess=PREPROCESS, probes=["visualisation"], profile="quick", task="features",
        out=tmp_path / "x", device="cpu",
    )  # fmt: skip
    section = audit["visualisation"]
    assert section.status == "done", section.reason
    assert list(section.values) == ["target_reached.units"]


@pytest.mark.parametrize("bad", [{"recipes": ("magic",)}, {"recipes": ()}, {"iterations": 1}, {"strength": 0.0}, {"units": -1}])
def test_wrong_parameters_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Visualisation(**bad)


def test_it_explains_itself() -> None:
    said = about(Visualisation)
    assert all((said.asks, said.formula, said.read, said.misleads))
    assert Visualisation.id() == "visualisation"
