from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor import api
from auditor.methods.attribute import METHODS, attribute, pixelwise
from auditor.methods.deletion import area, cell_order, deletion, hidden_counts
from auditor.methods.edges import edges
from auditor.methods.insertion import blurred, insertion
from auditor.methods.randomisation import randomise, spearman
from auditor.preprocess import Geometry, Preprocess
from auditor.probe import Results, about
from auditor.probes.sanity import Sanity
from auditor.probes.sanity.measured import measured
from auditor.probes.sanity.told import BLIND, EARNS, UNSHOWN, UNSURE, Tried, interval, notes
from auditor.probes.sanity.work import BLUR, SHOWN_SIDE, shaded
from auditor.probes.sanity.work import METHODS as TRIED
from auditor.types import METHOD_TITLES, Value
from tests.probes.noise_world import CHOSEN, noise_world, rows_of

SMALL: dict[str, Any] = {
    "images": 3, "fractions": (0.0, 1.0), "top": 0.5, "steps": 3, "samples": 2, "windows": 2, "cells": 5, "points": 4, "orders": 2,
}  # fmt: skip


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(8 * 8 * 6, 4),
        )  # fmt: skip
    return layers.eval().requires_grad_(False)


@pytest.fixture
def world() -> tuple[Any, Any]:
    return noise_world(net())


@pytest.fixture
def rows(world: tuple[Any, Any]) -> dict[str, Any]:
    return rows_of(Sanity(**SMALL), *world)


def maps_of(model: nn.Module, image: Tensor, label: int, method: str, fill: Tensor) -> Tensor:
    params: dict[str, Any] = {
        "occlusion": {"window": (6, 5), "stride": (6, 5), "fill": fill},
        "integrated_gradients": {"steps": 3},
        "smoothgrad": {"samples": 2, "seed": 3},
    }
    return pixelwise(method, attribute(model, image, label, method, **params.get(method, {})))


def test_every_attribution_method_is_tried_and_rows_are_what_the_methods_give(
    world: tuple[Any, Any], rows: dict[str, Any]
) -> None:
    target, facts = world
    assert set(TRIED) == set(METHODS) == set(METHOD_TITLES)
    x, labels = torch.from_numpy(facts.dataset.images[CHOSEN]), facts.predictions.predicted[CHOSEN]
    fill = x.mean((0, 2, 3))
    layers = ["0", "2", "4", "7"]
    assert rows["levels"].tolist() == [[1, 2, 4, 4]] * 3
    fresh = [randomise(target.module, fraction=f, layers=layers, seed=3) for f in (0.25, 0.5, 1.0)]
    for m, method in enumerate(TRIED):
        for i in (0, 2):
            image, label = x[i : i + 1], int(labels[i])
            own = maps_of(target.module, image, label, method, fill)
            kept = [spearman(own.abs(), maps_of(other, image, label, method, fill).abs())[0] for other in fresh]
            np.testing.assert_allclose(rows["spearman"][i, :, m], kept, atol=2e-3, err_msg=method)
            order = cell_order(own, (2, 2))
            curve = deletion(target.module, image, label, order, cell=(2, 2), steps=4, fill=fill)
            np.testing.assert_allclose(rows["deletion"][i, m], curve[0], atol=1e-5)
            curve = insertion(target.module, image, label, order, cell=(2, 2), steps=4, start=blurred(image, BLUR))
            np.testing.assert_allclose(rows["insertion"][i, m], curve[0], atol=1e-5)
            between = [spearman(own.abs(), maps_of(target.module, image, label, o, fill).abs())[0] for o in TRIED]
            np.testing.assert_allclose(rows["agreement"][i, m], [*between, spearman(own.abs(), edges(image))[0]], atol=2e-3)
    assert np.ptp(rows["spearman"]) > 0.5


def test_both_curves_begin_and_end_alike_in_any_order(world: tuple[Any, Any], rows: dict[str, Any]) -> None:
    target, facts = world
    x, labels = torch.from_numpy(facts.dataset.images[CHOSEN]), facts.predictions.predicted[CHOSEN]
    flat = torch.softmax(target.module(x.mean((0, 2, 3))[None, :, None, None].expand_as(x)), 1).numpy()[range(3), labels]
    whole, faint = (torch.softmax(target.module(v), 1).numpy()[range(3), labels] for v in (x, blurred(x, BLUR)))
    for kind, start, end in (("deletion", whole, flat), ("insertion", faint, whole)):
        for name in (kind, f"random_{kind}"):
            assert rows[name].shape == (3, 8 if name == kind else 2, 5)
            np.testing.assert_allclose(rows[name][:, :, 0], start[:, None].repeat(rows[name].shape[1], 1), atol=1e-5)
            np.testing.assert_allclose(rows[name][:, :, -1], end[:, None].repeat(rows[name].shape[1], 1), atol=1e-5)
    assert np.abs(rows["random_deletion"][:, 0] - rows["random_deletion"][:, 1]).max() > 1e-4, "two orders, not one"


def test_a_row_depends_on_its_item_alone_and_the_model_is_left_as_found(world: tuple[Any, Any], rows: dict[str, Any]) -> None:
    target, facts = world
    before = copy.deepcopy(target.module.state_dict())
    apart = rows_of(Sanity(**SMALL), target, facts, chunk=1)
    assert all(np.array_equal(rows[name], apart[name], equal_nan=True) for name in rows)
    assert all(torch.equal(before[name], value) for name, value in target.module.state_dict().items())
    assert not any(m.training or m._forward_pre_hooks or m._forward_hooks for m in target.module.modules())


def test_the_figures_are_the_areas_between_and_the_means_of_their_columns(world: tuple[Any, Any], rows: dict[str, Any]) -> None:
    target, facts = world
    found = Sanity(**SMALL).conclude(target, facts, Results(rows=rows))
    assert {name.partition(".")[0] for name in found.values} == {m.name for m in Sanity.measures}
    assert len(found.values) == 5 * 8
    count = hidden_counts(30, 4)
    assert rows["hidden"][0].tolist() == count.tolist()
    for m, method in enumerate(TRIED):
        chance = np.mean([area(rows["random_deletion"][:, r], count) for r in range(2)], axis=0)
        column = found.columns[f"sanity.deletion_gain.{method}"]
        np.testing.assert_allclose(column[CHOSEN], chance - area(rows["deletion"][:, m], count), atol=1e-9)
        assert np.isnan(column[[1, 2]]).all()
        chance = np.mean([area(rows["random_insertion"][:, r], count) for r in range(2)], axis=0)
        column = found.columns[f"sanity.insertion_gain.{method}"]
        np.testing.assert_allclose(column[CHOSEN], area(rows["insertion"][:, m], count) - chance, atol=1e-9)
        assert found.values[f"insertion_gain.{method}"].value == pytest.approx(column[CHOSEN].mean())
        np.testing.assert_allclose(found.columns[f"sanity.randomisation_spearman.{method}"][CHOSEN], rows["spearman"][:, 1, m])
        others = [k for k in range(8) if k != m]
        expected = np.nanmean(rows["agreement"][:, m, others], axis=1)
        np.testing.assert_allclose(found.columns[f"sanity.agreement.{method}"][CHOSEN], expected, rtol=1e-5)


BOARD = 1.0 - 2 * ((torch.arange(6)[:, None] + torch.arange(5)) % 2)


class Quarters(nn.Module):
    """Class k answers to a checkerboard in one quarter of the image, of which no blur leaves anything: what matters is known."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 12 * 10, 4)
        weight = torch.zeros(4, 3, 12, 10)
        for k, (y, x) in enumerate(((0, 0), (0, 5), (6, 0), (6, 5))):
            weight[k, :, y : y + 6, x : x + 5] = 0.15 * BOARD
        self.head.weight = nn.Parameter(weight.flatten(1) + 1e-4 * torch.arange(360), requires_grad=False)
        self.head.bias.data.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


def board_world(model: nn.Module) -> tuple[Any, Any]:
    """Images of noise, each with a checkerboard in one quarter."""
    target, facts = noise_world(net())
    for i, image in enumerate(facts.dataset.images):
        image *= 0.5
        image[:, 6 * (i % 4 // 2) :, 5 * (i % 2) :][:, :6, :5] += BOARD.numpy()
    predicted = model(torch.from_numpy(facts.dataset.images)).argmax(1).numpy()
    assert predicted.tolist() == [0, 1, 2, 3, 0]
    target.module = model.eval().requires_grad_(False)
    facts.predictions = type(facts.predictions)(model(torch.from_numpy(facts.dataset.images)).numpy(), predicted)
    return target, facts


def test_maps_that_find_what_matters_earn_their_place_and_their_reverse_does_not() -> None:
    target, facts = board_world(Quarters())
    probe = Sanity(**SMALL | {"windows": 4})
    rows = rows_of(probe, target, facts)
    found = probe.conclude(target, facts, Results(rows=rows))
    assert [r["method"] for r in found.figures[0].data["rows"]] == [
        "saliency", "gradient x input", "integrated gradients", "SmoothGrad", "occlusion",
    ]  # fmt: skip
    assert any("Guided backprop and deconvnet are left out" in note for note in found.notes)
    assert any("Grad-CAM is left out" in note for note in found.notes)
    assert {r["verdict"] for r in found.figures[0].data["rows"]} == {EARNS}
    assert found.stamps == ()
    for name, least in (("deletion_gain", 0.3), ("insertion_gain", 0.01)):
        low = found.values[f"{name}.saliency"].low
        assert low is not None
        assert low > least
    assert found.notes[0] == "Saliency, gradient x input, integrated gradients, SmoothGrad and occlusion earn their place."
    assert len(found.figures[0].data["columns"]) == 7
    own, chance = rows["deletion"].copy(), rows["random_deletion"]
    rows["deletion"] = 2 * chance.mean(1, keepdims=True) - own  # as much worse than chance as it was better
    worse = probe.conclude(target, facts, Results(rows=rows))
    assert {r["verdict"] for r in worse.figures[0].data["rows"]} == {UNSHOWN}
    assert {s.about for s in worse.stamps} == {
        f"method.{m}" for m in TRIED if m not in ("guided_backprop", "deconvnet", "gradcam")
    }
    assert "deletion -0." in worse.stamps[0].why
    assert "which is worse" in worse.stamps[0].why
    assert "insertion" not in worse.stamps[0].why
    assert measured(rows, 0)["deletion_gain"].max() < 0


class Blind(nn.Module):
    """Its head scales all scores alike, and upwards: whatever its weights are, the maps are those of the fixed filter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fixed", torch.from_numpy(np.random.default_rng(1).normal(size=(3, 12, 10)).astype(np.float32)))
        self.head = nn.Linear(1, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu((x * self.fixed).sum((1, 2, 3)) + 99)[:, None]).abs()


def test_a_map_that_no_weight_changes_is_found_out_and_stamped() -> None:
    target, facts = noise_world(Blind().eval().requires_grad_(False))
    probe = Sanity(**SMALL | {"images": 4})
    found = probe.conclude(target, facts, Results(rows=rows_of(probe, target, facts)))
    for method in ("saliency", "gradient_x_input", "smoothgrad", "guided_backprop", "deconvnet"):
        assert found.values[f"randomisation_spearman.{method}"].value == pytest.approx(1, abs=1e-3)
    stamps = {s.about: s for s in found.stamps}
    assert stamps["method.saliency"].verdict == BLIND
    assert (
        "the head (1 of 1 layers) randomised its map of the score keeps a rank correlation of 1.00"
        in stamps["method.saliency"].why
    )
    assert any("do not depend on the weights" in note for note in found.notes)


def test_a_score_without_a_gradient_is_said_and_nothing_is_made_of_it(world: tuple[Any, Any]) -> None:
    target, facts = world
    target.module[7].weight.zero_()
    found = Sanity(**SMALL).conclude(target, facts, Results(rows=rows_of(Sanity(**SMALL), target, facts)))
    assert found.status == "done"
    value = found.values["randomisation_spearman.saliency"]
    assert (value.value, value.low) == (None, None)
    verdict = next(r for r in found.figures[0].data["rows"] if r["method"] == "saliency")
    assert (verdict["verdict"], verdict["likeness"]) == (UNSURE, "–")
    assert any("its map is constant" in s.why for s in found.stamps)


def value(at: float | None, low: float | None = None, high: float | None = None) -> Value:
    return Value(at, "statistic", "correlation", n=16, low=low, high=high)


@pytest.mark.parametrize(
    ("likeness", "deletion", "insertion", "verdict", "says"),
    [
        (value(0.3, 0.2, 0.4), value(0.1, 0.01, 0.2), value(0.1, 0.01, 0.2), EARNS, "beats a random one in both tests"),
        (value(0.3, 0.2, 0.4), value(0.1, 0.0, 0.2), value(0.1, 0.01, 0.2), UNSHOWN, "deletion 0.10 (0.00 to 0.20), n = 16"),
        (value(0.3, 0.2, 0.4), value(0.1, 0.01, 0.2), value(-0.3, -0.4, -0.2), UNSHOWN, "insertion -0.30 (-0.40 to -0.20), which is worse"),
        (value(0.3, 0.2, 0.4), value(0.1), value(0.1, 0.01, 0.2), UNSHOWN, "deletion 0.10, n"),
        (value(0.6, 0.5, 0.7), value(0.1, 0.01, 0.2), value(0.1, 0.01, 0.2), UNSURE, "16 images cannot tell"),
        (value(0.6), value(0.1, 0.01, 0.2), value(0.1, 0.01, 0.2), UNSURE, "16 images cannot tell"),
        (value(0.7, 0.5, 0.8), value(0.1, 0.01, 0.2), value(0.1, 0.01, 0.2), BLIND, "0.70 (0.50 to 0.80)"),
        (value(0.95, 0.9, 0.99), value(-0.1, -0.2, -0.05), value(0.1, 0.01, 0.2), BLIND, "the line is 0.7"),
    ],
)  # fmt: skip
def test_the_verdicts(likeness: Value, deletion: Value, insertion: Value, verdict: str, says: str) -> None:
    tried = Tried("gradcam", likeness, deletion, insertion, 0.7, "the top 3 of 9 layers")
    assert tried.verdict == verdict
    assert says in tried.why.replace("\u00a0", " ")
    assert (tried.stamp is None) == (verdict == EARNS)
    if tried.stamp:
        assert (tried.stamp.about, tried.stamp.verdict) == ("method.gradcam", verdict)
    said = notes([tried], [], 16)[0]
    assert said.startswith("Grad-CAM ")
    tests = {name for name in ("deletion", "insertion") if name in says}
    assert {name for name in ("deletion", "insertion") if f"({name}" in said} == (tests if verdict == UNSHOWN else set())
    assert (f"({likeness.value:.2f})" in said) == (verdict in (BLIND, UNSURE))
    assert len(notes([tried], [], 6)) == 2
    assert interval(value(None)) == "–"


PREPROCESS = Preprocess(Geometry("RGB", (12, 10)), (0.5,) * 3, (0.25,) * 3)


def test_a_stamp_lands_wherever_the_maps_of_its_method_stand_and_nowhere_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (8, 12, 10, 3), dtype=np.uint8), np.arange(8) % 4
    wanted = [Sanity(**SMALL | {"images": 8}), "saliency", "guided_backprop", "occlusion", "neighbours"]
    audit = api.run(
        Blind().eval(),
        data,
        preprocess=PREPROCESS,
        probes=wanted,
        out=tmp_path / "x",
        profile="quick",
        device="cpu",
        work=tmp_path,
    )
    stamps = {s.about: s.verdict for s in audit["sanity"].stamps}
    assert stamps["method.smoothgrad"] == stamps["method.occlusion"] == stamps["method.deconvnet"] == BLIND
    page = audit.index.read_text()
    chapter = '<section class="chapter"'
    sections = {name: page.partition(f'{chapter} id="{name}"')[2].partition(chapter)[0] for name in audit.record.sections}
    shown = {
        name: {t for t in METHOD_TITLES.values() if f"<strong>{t[0].upper()}{t[1:]}: {BLIND}.</strong>" in text}
        for name, text in sections.items()
    }
    assert shown["occlusion"] == {"occlusion"}
    assert shown["guided_backprop"] == {"saliency", "guided backprop", "deconvnet"}
    assert shown["saliency"] == {"saliency", "gradient x input", "integrated gradients", "SmoothGrad"}
    assert shown["neighbours"] == shown["sanity"] == set()
    badge = 'class="stamped">'
    assert sections["occlusion"].count(badge) == 3, "at the head of each of the three columns"
    assert sections["saliency"].count(badge) == 8 * 5 + 4 * 3, (
        "at four maps and the cut-out, not at the control; and at the pairs"
    )
    assert "SmoothGrad (does not depend on the weights)" in sections["saliency"], "in words for who does not see it"


def test_the_plan_states_the_cost(world: tuple[Any, Any]) -> None:
    target, facts = world
    seen: list[int] = []
    hook = target.module.register_forward_pre_hook(lambda _m, given: seen.append(len(given[0])))
    probe = Sanity(**SMALL)
    study = probe.study(target, facts, Results())
    assert study is not None
    study.work(target, facts.dataset, study.items)  # the random copies carry the hook along
    hook.remove()
    cost = probe.cost(target, facts.dataset)
    assert sum(seen) == cost.forwards + cost.gradients


def test_what_is_shown_exists(world: tuple[Any, Any], rows: dict[str, Any]) -> None:
    target, facts = world
    found = Sanity(**SMALL).conclude(target, facts, Results(rows=rows))
    names = [f.name for f in found.figures]
    assert names == ["verdicts", "randomisation", "cascade-0", "cascade-1", "deletion", "insertion", "agreement"]
    gallery = found.figures[2].data
    assert gallery["columns"] == ["trained model", "head random", "top 2 of 4 random", "all random"]
    files = [cell["file"] for row in gallery["rows"] for cell in row["cells"]]
    assert len(set(files)) == 1 + 8 * 4
    assert all(found.artifacts[f].dtype == np.uint8 for f in files)
    assert gallery["rows"][1]["cells"][2]["label"] == f"{rows['spearman'][0, 1, 0]:.2f}"
    lines = found.figures[1].data
    assert lines["x_names"] == ["none", "head", "top 2 of 4", "all"]
    assert lines["series"][0]["y"] == pytest.approx([1, *rows["spearman"][:, :, 0].mean(0)])
    matrix = np.array(found.figures[-1].data["values"])
    assert matrix.shape == (9, 9)
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-4)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-4)


def test_without_occlusion_and_without_an_image(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Sanity(**SMALL | {"windows": 0})
    found = probe.conclude(target, facts, Results(rows=rows_of(probe, target, facts)))
    assert "agreement.occlusion" not in found.values
    assert any("Occlusion is left out" in note for note in found.notes)
    nothing = Sanity(**SMALL | {"contrast": "predicted"})
    assert nothing.study(target, facts, Results()) is None
    assert nothing.conclude(target, facts, Results()).status == "not_applicable"


def test_another_class_is_tried_where_it_is_asked_for(world: tuple[Any, Any], rows: dict[str, Any]) -> None:
    target, facts = world
    other = rows_of(Sanity(**SMALL | {"target": "b", "contrast": "d"}), target, facts)
    x = torch.from_numpy(facts.dataset.images[CHOSEN])
    p = torch.softmax(target.module(x), 1)
    np.testing.assert_allclose(other["deletion"][:, 0, 0], (p[:, 1] / (p[:, 1] + p[:, 3])).numpy(), rtol=1e-4)


@pytest.mark.parametrize("wrong", [{"fractions": ()}, {"fractions": (0.1, 1.2)}, {"top": -1.0}, {"points": 0}, {"windows": -1}])
def test_what_cannot_be_done_is_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Sanity(**wrong)


def test_shading_keeps_the_place_of_what_is_large() -> None:
    values = torch.zeros(1, 300, 200)
    values[0, 200:230, 20:40] = -5
    small = shaded(values)
    assert small.shape == (SHOWN_SIDE, round(200 * SHOWN_SIDE / 300))
    y, x = np.nonzero(small > 200)
    assert (y.min() / SHOWN_SIDE, x.min() / small.shape[1]) == pytest.approx((200 / 300, 20 / 200), abs=0.02)
    assert not shaded(torch.zeros(1, 5, 4)).any()
    assert shaded(torch.arange(20.0).reshape(1, 5, 4)).shape == (5, 4)


def test_it_explains_itself() -> None:
    said = about(Sanity)
    assert all((said.asks, said.formula, said.read, said.misleads))
    assert Sanity.id() == "sanity"
