from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.fold import concatenate
from auditor.preprocess import Geometry, Preprocess
from auditor.probe import Results, about
from auditor.probes.inversion import Inversion
from auditor.probes.inversion.leaks import leaks
from auditor.probes.inversion.places import places
from auditor.target import load_target

torch.set_num_threads(1)
PREPROCESS = Preprocess(Geometry("RGB", (8, 8)), (0.5,) * 3, (0.25,) * 3)


class Net(nn.Module):
    """An orthogonal 1x1 mixing of the channels, a pool that forgets three quarters, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1, bias=False)
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(48, 5)
        with torch.no_grad():
            self.mix.weight.copy_(
                torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0][:, :, None, None]
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.mix(x)).flatten(1))


class Data:
    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.bytes = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
        self.samples = [SimpleNamespace(key=f"{i:064x}:0", name=f"{i}.png") for i in range(3)]

    def __len__(self) -> int:
        return 3

    def pixels(self, positions: Any) -> Any:
        return self.bytes[np.asarray(positions)]


class Facts(SimpleNamespace):
    def chosen(self, count: int) -> Any:
        return np.array([2, 0, 1])[:count]


@pytest.fixture
def world() -> tuple[Any, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net()
    target, data = load_target(model, preprocess=PREPROCESS, device="cpu"), Data()
    look = target.look(PREPROCESS.normalise(torch.from_numpy(data.bytes).permute(0, 3, 1, 2)))
    seen = SimpleNamespace(predicted=look.scores.argmax(1).numpy())
    return target, Facts(dataset=data, seed=3, features=look.features.numpy(), predictions=seen, names=tuple("abcde"))


def rows_of(probe: Inversion, target: Any, facts: Any, chunk: int | None = None) -> Any:
    study = probe.study(target, facts, Results())
    assert study is not None
    size = chunk or study.chunk
    return concatenate([study.work(target, facts.dataset, study.items[i : i + size]) for i in range(0, len(study.items), size)])


def test_places_run_from_shallow_to_what_the_head_is_given(world: tuple[Any, Any]) -> None:
    target, _ = world
    assert [p[0] for p in places(target, 6)] == ["mix", "pool", "features"]
    assert places(target, 1) == (("features", "head", "input"),)


def test_an_orthogonal_layer_gives_the_image_back_and_a_pool_does_not(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Inversion(images=2, iterations=400, l_a=0.0, l_v=0.0, tv=0.0)
    found = probe.conclude(target, facts, Results(rows=rows_of(probe, target, facts)))
    assert found.values["relative_error.mix"].value < 1e-2
    assert found.values["psnr.mix"].value > 40
    assert found.values["relative_error.pool"].value < 1e-2, "its activation is met ..."
    assert found.values["psnr.pool"].value < 20, "... by another image"
    assert found.values["psnr.johnson.mix"].value > 40, "without a penalty both objectives have the same end"
    for key in ("recognised", "identified_by_features", "identified_by_pixels"):
        value = found.values[f"{key}.mix"]
        assert (value.k, value.n) == (2, 2), "the very image is recognised and identified"
    picture = found.artifacts["image-0-depth-0.png"].astype(int)
    assert np.abs(picture - facts.dataset.bytes[2]).max() <= 3


def test_psnr_and_error_are_those_of_the_pictures(world: tuple[Any, Any]) -> None:
    target, facts = world
    rows = rows_of(Inversion(images=2, iterations=20), target, facts)
    for i in range(len(rows["depth"])):
        original = facts.dataset.bytes[rows["position"][i]] / 255.0
        mse = np.mean((rows["picture"][i] / 255.0 - original) ** 2)
        rounding = 1 / 12 / 255**2  # of numbers spread evenly over a step of 8 bits
        assert 10 ** (-rows["psnr"][i] / 10) == pytest.approx(mse, rel=0.02, abs=2 * rounding), "up to rounding to 8 bits"


def test_a_row_depends_on_its_item_alone(world: tuple[Any, Any]) -> None:
    target, facts = world
    one, other = (rows_of(Inversion(images=3, iterations=15), target, facts, chunk) for chunk in (1, 3))
    np.testing.assert_allclose(one["error"], other["error"], rtol=1e-4)
    assert np.abs(one["picture"].astype(int) - other["picture"]).max() <= 1


def test_the_figure_names_every_depth(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Inversion(images=3, iterations=5)
    found = probe.conclude(target, facts, Results(rows=rows_of(probe, target, facts)))
    gallery = found.figures[0].data
    assert gallery["columns"] == ["image", "mix", "pool", "features"]
    assert [row["sample"] for row in gallery["rows"]] == [2, 0, 1]
    assert [f.name for f in found.figures] == ["inversions", "psnr", "error", "identity", "places", "inversions-johnson"]
    galleries = (found.figures[0], found.figures[-1])
    assert {cell["file"] for f in galleries for row in f.data["rows"] for cell in row["cells"]} == set(found.artifacts)
    places = found.figures[4].data["rows"]
    assert [(row["place"], row["objective"]) for row in places[:2]] == [("mix", "Mahendran"), ("mix", "Johnson")]
    assert len(places) == 6
    chance = found.figures[3].data["series"][-1]
    assert chance["y"] == [1 / 3] * 3


def test_no_weights_mode_or_hook_changes(world: tuple[Any, Any]) -> None:
    target, facts = world
    before = {k: v.clone() for k, v in target.model.state_dict().items()}
    rows_of(Inversion(images=1, iterations=3), target, facts)
    assert all(torch.equal(v, before[k]) for k, v in target.model.state_dict().items())
    assert not any(m.training or m._forward_hooks or m._forward_pre_hooks for m in target.model.modules())
    assert not any(p.requires_grad or p.grad is not None for p in target.model.parameters())


def planted(pictures: Any, features: Any, taken: Any, position: Any) -> Any:
    return {
        "picture": np.asarray(pictures, np.uint8), "features": np.asarray(features, np.float32), "taken": np.asarray(taken),
        "position": np.asarray(position),
    }  # fmt: skip


def test_a_source_is_identified_where_no_other_image_is_nearer() -> None:
    rng = np.random.default_rng(0)
    bytes_ = rng.integers(0, 256, (4, 4, 4, 1), dtype=np.uint8)
    bytes_[2] = bytes_[1]
    data = SimpleNamespace(pixels=lambda positions: bytes_[np.asarray(positions)])
    facts = Facts(
        dataset=data, features=np.array([[0.0], [1.0], [5.0], [6.0]], np.float32),
        predictions=SimpleNamespace(predicted=np.array([0, 1, 1, 2])), chosen=lambda count: np.array([3, 1, 0, 2])[:count],
    )  # fmt: skip
    faded = 100 + bytes_[3] / 4
    rows = planted([bytes_[1], bytes_[3], bytes_[2], faded], [[0.9], [0.6], [4.9], [3.6]], [1, 1, 1, 2], [1, 0, 2, 3])
    found = leaks(rows, facts)
    assert found.by_pixels.tolist() == [True, False, True, True], "an equal copy is no nearer than the source; fading is no loss"
    assert found.by_features.tolist() == [True, False, True, False]
    assert found.recognised is not None
    assert found.recognised.tolist() == [True, False, True, True]
    assert (found.gallery, found.compared) == (4, 4)
    assert leaks(planted(0 * bytes_, np.zeros((4, 1)), np.zeros(4), [0, 1, 2, 3]), facts).by_pixels.tolist() == [False] * 4
    bare = leaks(rows, Facts(**{**facts.__dict__, "predictions": None}))
    assert bare.recognised is None


def test_large_pictures_are_compared_by_their_area_means() -> None:
    rng = np.random.default_rng(0)
    bytes_ = rng.integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    coarse = bytes_.reshape(5, 32, 2, 32, 2, 3).mean((2, 4)).repeat(2, 1).repeat(2, 2).round()
    facts = Facts(
        dataset=SimpleNamespace(pixels=lambda positions: bytes_[np.asarray(positions)]), features=np.zeros((5, 1), np.float32),
        predictions=None, chosen=lambda count: np.arange(5)[:count],
    )  # fmt: skip
    found = leaks(planted(coarse, np.zeros((5, 1)), np.full(5, -1), np.arange(5)), facts)
    assert found.by_pixels.all()
    assert found.compared == 32


def test_objectives_have_starts_and_ends_of_their_own(world: tuple[Any, Any]) -> None:
    target, facts = world
    alone = rows_of(Inversion(images=2, iterations=10, objectives=("mahendran",)), target, facts)
    both = rows_of(Inversion(images=2, iterations=10), target, facts)
    first = both["objective"] == 0
    np.testing.assert_array_equal(alone["picture"], both["picture"][first])
    assert not np.array_equal(both["picture"][first], both["picture"][~first])


def test_the_cost_is_not_exceeded(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe, counted = Inversion(images=2, iterations=5), list[int]()
    handle = target.model.register_forward_pre_hook(lambda _m, args: counted.append(len(args[0])))
    rows = rows_of(probe, target, facts)
    handle.remove()
    cost = probe.cost(target, facts.dataset)
    assert len(rows["depth"]) == 12
    assert sum(counted) == 12 * (5 + 3), "five steps, the wanted activation, the one found, and a look"
    assert cost.gradients == pytest.approx(0.6 * 5 * 12), "places lie at 60 % of the depth"
    assert cost.forwards == 24


@pytest.mark.parametrize(
    "bad", [{"images": 0}, {"rate": 0.0}, {"l_v": -1.0}, {"tv": -1.0}, {"objectives": ()}, {"objectives": ("gatys",)}]
)
def test_wrong_parameters_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Inversion(**bad)


def test_it_explains_itself() -> None:
    said = about(Inversion)
    assert all((said.asks, said.formula, said.read, said.misleads))
    assert Inversion.id() == "inversion"
