from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.fold import concatenate
from auditor.probe import Results, about
from auditor.probes.occlusion import Occlusion, notes

torch.set_num_threads(1)


class Corners(nn.Module):
    """Class k answers to the brightness of one quarter of the image alone, k = 0 top left, 1 bottom right."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(6.0), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[2] // 2
        return self.gain * torch.stack([x[:, :, :half, :half].mean((1, 2, 3)), x[:, :, half:, half:].mean((1, 2, 3))], 1)


class Data:
    """Six noisy images of 16 x 16, one quarter bright."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.images = rng.normal(0, 0.1, (6, 1, 16, 16)).astype(np.float32)
        self.images[:3, :, :8, :8] += 1
        self.images[3:, :, 8:, 8:] += 1
        self.samples = [SimpleNamespace(key=f"{i}:0", name=f"quarter/{i}.png") for i in range(6)]

    def __len__(self) -> int:
        return 6

    def load(self, positions: Any, device: torch.device) -> Tensor:
        return torch.from_numpy(self.images[np.asarray(positions)]).to(device)

    def pixels(self, positions: Any) -> Any:
        return (np.clip(self.images[np.asarray(positions)], 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)


class Facts(SimpleNamespace):
    def chosen(self, count: int) -> Any:
        return np.array([4, 0, 2, 5])[:count]


@pytest.fixture
def world() -> tuple[Any, Any]:
    model, data = Corners().eval(), Data()
    predicted = np.array([0, 0, 0, 1, 1, 1])
    target = SimpleNamespace(module=model, device=torch.device("cpu"), input_shape=(1, 16, 16))
    return target, Facts(dataset=data, seed=3, names=("first", "second"), predictions=SimpleNamespace(predicted=predicted))


def rows_of(probe: Occlusion, target: Any, facts: Any, chunk: int = 2) -> dict[str, Any]:
    study = probe.study(target, facts, Results())
    assert study is not None
    work = pickle.loads(pickle.dumps(study.work))
    return concatenate([work(target, facts.dataset, study.items[i : i + chunk]) for i in range(0, len(study.items), chunk)])


def test_the_map_finds_the_quarter_and_beats_a_random_order(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Occlusion(images=4)
    rows = rows_of(probe, target, facts)
    found = probe.conclude(target, facts, Results(rows=rows))
    assert found.status == "done"
    drops = rows["drops"]
    assert drops[0, 9:, 9:].min() > 0.05  # image 4: bottom right
    assert np.abs(drops[0, :7, :7]).max() < 1e-6
    assert drops[1, :6, :6].min() > 0.05  # image 0: top left
    own, control = found.values["deletion_auc"].value, found.values["deletion_auc_random"].value
    assert own is not None
    assert control is not None
    assert own < control - 0.1
    assert "better one on 4 of 4" in found.notes[0]
    assert "n = 4" in found.notes[1], "four images cannot show it at 5 %"
    more = {name: np.concatenate([value] * 3) for name, value in rows.items()}
    assert len(notes(more)) == 1, "twelve can"
    assert "4 of 4" in found.notes[0]


def test_the_columns_are_the_areas_of_the_curves_and_the_values_their_mean(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Occlusion(images=4, steps=8)
    rows = rows_of(probe, target, facts)
    found = probe.conclude(target, facts, Results(rows=rows))
    column = found.columns["occlusion.deletion_auc"]
    assert np.isnan(column[[1, 3]]).all()
    expected = [np.trapezoid(curve, np.linspace(0, 1, 9)) for curve in rows["curve"].astype(float)]
    np.testing.assert_allclose(column[[4, 0, 2, 5]], expected, rtol=1e-6)
    value = found.values["deletion_auc"]
    assert value.value == pytest.approx(np.mean(expected), rel=1e-6)
    assert (value.kind, value.statistic, value.columns) == ("statistic", "mean", ("occlusion.deletion_auc",))
    everything = torch.full((1, 1, 16, 16), float(facts.dataset.images[[4, 0, 2, 5]].mean()))
    hidden = torch.softmax(target.module(everything), 1)[0].numpy()
    np.testing.assert_allclose(rows["curve"][:, -1], hidden[[1, 0, 0, 1]], atol=1e-5)
    np.testing.assert_allclose(rows["curve"][:, 0], rows["probability"], atol=1e-6)
    np.testing.assert_allclose(rows["random_curve"][:, [0, -1]], rows["curve"][:, [0, -1]], atol=1e-6)


def test_a_map_that_misleads_is_called_so(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Occlusion(images=4)
    rows = rows_of(probe, target, facts)
    rows["curve"], rows["random_curve"] = rows["random_curve"], rows["curve"]
    said = probe.conclude(target, facts, Results(rows=rows)).notes
    assert "0 of 4" in said[0]
    assert "do not read" in said[1]


def test_the_class_that_was_asked_for_is_explained(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Occlusion(images=4, target="first", contrast="second")
    rows = rows_of(probe, target, facts)
    x = torch.from_numpy(facts.dataset.images[[4, 0, 2, 5]])
    scores = target.module(x)
    np.testing.assert_allclose(rows["score"], (scores[:, 0] - scores[:, 1]).numpy(), rtol=1e-5)
    np.testing.assert_allclose(rows["curve"][:, 0], torch.softmax(scores, 1)[:, 0].numpy(), rtol=1e-5)
    found = probe.conclude(target, facts, Results(rows=rows))
    assert found.figures[0].data["rows"][0]["note"].startswith("first against second")
    assert found.figures[0].data["keys"] == [None, "occlusion", "occlusion", "occlusion"]


def test_a_row_depends_on_its_item_alone(world: tuple[Any, Any]) -> None:
    target, facts = world
    together, apart = (rows_of(Occlusion(images=4), target, facts, chunk) for chunk in (4, 1))
    assert all(np.array_equal(together[name], apart[name]) for name in together)


def test_the_model_is_left_as_found(world: tuple[Any, Any]) -> None:
    target, facts = world
    before = copy.deepcopy(target.module.state_dict())
    rows_of(Occlusion(images=2), target, facts)
    assert all(torch.equal(before[name], value) for name, value in target.module.state_dict().items())
    assert not target.module.training
    assert not target.module.gain.requires_grad


def test_what_is_shown_exists_and_shares_one_scale(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Occlusion(images=4)
    found = probe.conclude(target, facts, Results(rows=rows_of(probe, target, facts)))
    gallery, lines = found.figures
    files = {cell["file"] for row in gallery.data["rows"] for cell in row["cells"]}
    assert len(files) == 16
    assert all(found.artifacts[f].dtype == np.uint8 and found.artifacts[f].shape == (16, 16, 3) for f in files)
    assert [row["sample"] for row in gallery.data["rows"]] == [4, 0, 2, 5]
    assert "one scale" in gallery.data["scale"]
    red = found.artifacts["drop-0.png"].astype(int)
    assert (red[12, 12, 0] - red[12, 12, 2]) > 50  # image 4: bottom right is red
    assert tuple(red[2, 2]) == (247, 247, 247)
    assert found.artifacts["score_drops.npy"].shape == (4, 15, 15)
    assert [len(s["x"]) for s in lines.data["series"]] == [21, 21]
    assert "n = 4" in lines.data["series"][0]["name"]


@pytest.mark.parametrize(
    ("shape", "pixels"), [((3, 224, 224), ((28, 28), (14, 14))), ((1, 12, 40), ((2, 5), (1, 2))), ((1, 1, 2), ((1, 2), (1, 1)))]
)
def test_windows_in_pixels(shape: tuple[int, ...], pixels: tuple[tuple[int, int], ...]) -> None:
    assert Occlusion().pixels(shape) == pixels


def test_the_plan_states_the_cost(world: tuple[Any, Any]) -> None:
    target, facts = world
    calls = []
    hook = target.module.register_forward_pre_hook(lambda _m, given: calls.append(len(given[0])))
    study = Occlusion(images=1).study(target, facts, Results())
    assert study is not None
    study.work(target, facts.dataset, study.items)
    hook.remove()
    assert sum(calls) == Occlusion(images=1).cost(target, facts.dataset).forwards


def test_it_explains_itself() -> None:
    said = about(Occlusion)
    assert all((said.asks, said.formula, said.read, said.misleads))
    assert Occlusion.id() == "occlusion"
    assert Occlusion.profiles["quick"]["images"] == 8
