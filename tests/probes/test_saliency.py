from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.methods.grabcut import bounding_box, box_iou, grabcut, mask_iou
from auditor.methods.gradcam import gradcam
from auditor.methods.integrated_gradients import integrated_gradients
from auditor.methods.randomisation import randomise, spearman
from auditor.methods.saliency import gradient, saliency
from auditor.methods.smoothgrad import smoothgrad
from auditor.probe import Results, about
from auditor.probes.saliency import Saliency
from tests.probes.noise_world import CHOSEN, noise_world, rows_of


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 8 * 6, 4)
        )
    return layers.eval().requires_grad_(False)


@pytest.fixture
def world() -> tuple[Any, Any]:
    return noise_world(net())


def test_rows_are_the_methods_maps(world: tuple[Any, Any]) -> None:
    target, facts = world
    rows = rows_of(Saliency(images=3, steps=8, samples=4), target, facts)
    x = torch.from_numpy(facts.dataset.images[CHOSEN])
    classes = torch.from_numpy(facts.predictions.predicted[CHOSEN])
    control = saliency(randomise(target.module, fraction=0.25, seed=3), x, classes)
    plain = saliency(target.module, x, classes)
    expected = {
        "saliency": plain,
        "control": control,
        "gradient_x_input": (x * gradient(target.module, x, classes)).sum(1),
        "integrated_gradients": integrated_gradients(target.module, x, classes, steps=8).sum(1),
        "smoothgrad": smoothgrad(target.module, x, classes, samples=4, seed=3).abs().amax(1),
        "gradcam": gradcam(target.module, x, classes),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(rows[name], value.numpy(), atol=1e-6, rtol=1e-4)
        assert np.abs(rows[name]).max() > 1e-5
    cut = [grabcut(picture, found) for picture, found in zip(facts.dataset.pixels(CHOSEN), rows["saliency"], strict=True)]
    assert np.array_equal(rows["cut"], cut)
    assert 0 < rows["cut"].mean() < 1
    np.testing.assert_allclose(rows["randomisation_spearman"], spearman(plain, control), atol=1e-3)
    assert rows["layers"].tolist() == [[1, 3]] * 3


def test_values_are_the_means_of_their_columns(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Saliency(images=3, steps=8, samples=2)
    rows = rows_of(probe, target, facts)
    found = probe.conclude(target, facts, Results(rows=rows))
    assert set(found.values) == {m.name for m in Saliency.measures} - {"object_iou"}
    assert any("object_iou is not measured" in note for note in found.notes)
    for name, value in found.values.items():
        column = found.columns[f"saliency.{name}"]
        assert np.isnan(column[[1, 2]]).all()
        np.testing.assert_array_equal(column[CHOSEN], rows[name])
        assert value.value == pytest.approx(rows[name].mean())
        assert (value.statistic, value.columns) == ("mean", (f"saliency.{name}",))


def test_more_steps_close_the_gap(world: tuple[Any, Any]) -> None:
    target, facts = world
    coarse, fine = (rows_of(Saliency(images=3, steps=s, samples=1), target, facts)["completeness_gap"] for s in (1, 64))
    assert fine.max() < 1e-3 < coarse.max()


def test_randomised_layers_that_matter_change_the_map_and_those_that_do_not_are_found_out(world: tuple[Any, Any]) -> None:
    target, facts = world
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dense = nn.Sequential(nn.Flatten(), nn.Linear(360, 16), nn.Tanh(), nn.Linear(16, 4))
    target.module = dense.eval().requires_grad_(False)  # no pixel is nearer to the scores than another, whatever the weights
    probe = Saliency(images=3, steps=4, samples=1, fraction=1.0)
    rows = rows_of(probe, target, facts)
    assert np.abs(rows["randomisation_spearman"]).mean() < 0.3
    assert "they depend on what the model has learned" in probe.conclude(target, facts, Results(rows=rows)).notes[0]

    class Blind(nn.Module):
        """Its head scales all scores alike: whatever its weights are, the map is that of the fixed filter."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("fixed", torch.from_numpy(np.random.default_rng(1).normal(size=(3, 12, 10)).astype(np.float32)))
            self.head = nn.Linear(1, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head((x * self.fixed).sum((1, 2, 3))[:, None])

    target.module = Blind().eval().requires_grad_(False)
    blind = rows_of(probe, target, facts)
    np.testing.assert_allclose(blind["randomisation_spearman"], 1, atol=1e-3)
    assert "it stays high" in probe.conclude(target, facts, Results(rows=blind)).notes[0]


def test_no_gradient_is_said_and_no_figure_is_made_of_it(world: tuple[Any, Any]) -> None:
    target, facts = world
    target.module = nn.Sequential(nn.Flatten(), nn.Linear(360, 4)).eval().requires_grad_(False)
    target.module[1].weight.zero_()
    probe = Saliency(images=3, steps=2, samples=1)
    found = probe.conclude(target, facts, Results(rows=rows_of(probe, target, facts)))
    assert found.values["randomisation_spearman"].value is None
    assert found.values["completeness_gap"].value is None
    assert found.notes[0] == "On 3 of 3 images a map is constant (no gradient reaches the input)."
    assert not rows_of(probe, target, facts)["cut"].any()


def test_a_row_depends_on_its_item_alone_and_the_model_is_left_as_found(world: tuple[Any, Any]) -> None:
    target, facts = world
    before = copy.deepcopy(target.module.state_dict())
    together, apart = (rows_of(Saliency(images=3, steps=4, samples=3), target, facts, chunk) for chunk in (3, 1))
    assert all(np.array_equal(together[name], apart[name], equal_nan=True) for name in together)
    assert all(torch.equal(before[name], value) for name, value in target.module.state_dict().items())
    assert not any(m.training or m._forward_pre_hooks or m._forward_hooks for m in target.module.modules())
    assert not any(p.requires_grad for p in target.module.parameters())


def test_what_is_shown_exists(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Saliency(images=3, steps=2, samples=1)
    rows = rows_of(probe, target, facts)
    found = probe.conclude(target, facts, Results(rows=rows))
    gallery = found.figures[0].data
    files = [cell["file"] for row in gallery["rows"] for cell in row["cells"]]
    assert len(set(files)) == 24
    assert all(found.artifacts[f].shape == (12, 10, 3) and found.artifacts[f].dtype == np.uint8 for f in files)
    assert len(gallery["columns"]) == len(gallery["keys"]) == 8
    of = dict(zip(gallery["columns"], gallery["keys"], strict=True))
    assert [of[c] for c in ("saliency", "SmoothGrad", "Grad-CAM over the image")] == ["saliency", "smoothgrad", "gradcam"]
    assert of["control: saliency, top layers randomised"] is None
    assert "each map by itself" in gallery["scale"]
    bright = found.artifacts["saliency-0.png"].astype(int).sum(2)
    assert np.unravel_index(bright.argmax(), bright.shape) == np.unravel_index(rows["saliency"][0].argmax(), bright.shape)
    signed = found.artifacts["gradient_x_input-0.png"].astype(int)
    clear = np.abs(rows["gradient_x_input"][0]) > np.quantile(np.abs(rows["gradient_x_input"][0]), 0.9)
    assert (np.sign(signed[..., 0] - signed[..., 2])[clear] == np.sign(rows["gradient_x_input"][0])[clear]).all(), "red is for"
    image, cut = found.artifacts["image-0.png"], found.artifacts["cut-0.png"]
    assert np.array_equal(cut[rows["cut"][0]], image[rows["cut"][0]])
    assert np.array_equal(cut[~rows["cut"][0]], image[~rows["cut"][0]] // 4)
    np.testing.assert_array_equal(found.artifacts["saliency.npy"], rows["saliency"])


def test_the_object_of_the_data_is_measured_and_rimmed(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Saliency(images=3, steps=2, samples=1)
    before = rows_of(probe, target, facts)["cut"]
    mask = np.zeros((12, 10), bool)
    mask[2:9, 3:8] = True
    facts.dataset.masks[CHOSEN[0]] = mask
    facts.dataset.samples[CHOSEN[1]].box = (1.0, 2.0, 7.0, 9.0)
    rows = rows_of(probe, target, facts)
    box = bounding_box(before[1])
    assert box is not None
    expected = [mask_iou(before[0], mask), box_iou(box, (1.0, 2.0, 7.0, 9.0))]
    np.testing.assert_allclose(rows["object_iou"], [*expected, np.nan])
    found = probe.conclude(target, facts, Results(rows=rows))
    assert found.values["object_iou"].value == pytest.approx(np.mean(expected))
    assert found.values["object_iou"].n == 2
    cyan = (found.artifacts["cut-0.png"] == (0, 220, 230)).all(-1)
    inner = np.zeros_like(mask)
    inner[3:8, 4:7] = True
    assert np.array_equal(cyan, mask & ~inner)
    assert (found.artifacts["cut-1.png"] == (0, 220, 230)).all(-1)[2, 1:7].all()
    assert not (found.artifacts["cut-2.png"] == (0, 220, 230)).all(-1).any()
    assert "by" in found.figures[0].data["rows"][0]["note"]


def test_the_predicted_class_is_set_against_the_true_one_where_it_is_wrong_else_against_the_runner_up(
    world: tuple[Any, Any],
) -> None:
    target, facts = world
    labels, predicted = facts.predictions.labels, facts.predictions.predicted
    labels[CHOSEN[0]] = predicted[CHOSEN[0]]  # right
    labels[CHOSEN[1]] = true = (predicted[CHOSEN[1]] + 2) % 4  # wrong; the last one has no label
    probe = Saliency(images=3, steps=1, samples=1)
    rows = rows_of(probe, target, facts)
    rival = torch.from_numpy(np.where(np.array(CHOSEN) == CHOSEN[1], true, facts.predictions.second[CHOSEN]))
    x, own = torch.from_numpy(facts.dataset.images[CHOSEN]), torch.from_numpy(predicted[CHOSEN])
    np.testing.assert_allclose(rows["rival"], saliency(target.module, x, rival).numpy(), rtol=1e-4, atol=1e-7)
    speaks = (x * gradient(target.module, x, (own, rival))).sum(1)
    np.testing.assert_allclose(rows["contrast"], speaks.numpy(), rtol=1e-3, atol=1e-6)
    found = probe.conclude(target, facts, Results(rows=rows))
    figure = found.figures[1]
    assert [row["sample"] for row in figure.data["rows"]] == [CHOSEN[1], CHOSEN[0], CHOSEN[2]]
    assert [row["note"] for row in figure.data["rows"]] == ["wrong", "", ""]
    assert "wrong on 1 of 3" in figure.caption
    first, then = figure.data["rows"][:2]
    assert first["cells"][2]["note"] == f"{'abcd'[true]}, the true class"
    assert then["cells"][2]["note"] == f"{'abcd'[facts.predictions.second[CHOSEN[0]]]}, the runner-up"
    assert all(cell["file"] in found.artifacts for row in figure.data["rows"] for cell in row["cells"])
    place = np.unravel_index(rows["contrast"][1].argmax(), (12, 10))
    red = found.artifacts[first["cells"][3]["file"]].astype(int)[place]
    assert red[0] > red[2]


def test_another_class_and_a_contrast_are_explained_where_they_exist(world: tuple[Any, Any]) -> None:
    target, facts = world
    x, predictions = torch.from_numpy(facts.dataset.images[CHOSEN]), facts.predictions
    rows = rows_of(Saliency(images=3, target="c", steps=1, samples=1), target, facts)
    np.testing.assert_allclose(rows["saliency"], saliency(target.module, x, 2).numpy(), rtol=1e-4, atol=1e-7)
    probe = Saliency(images=3, contrast="runner_up", steps=1, samples=1)
    rows = rows_of(probe, target, facts)
    a, b = (torch.from_numpy(k[CHOSEN]) for k in (predictions.predicted, predictions.second))
    difference = gradient(target.module, x, a) - gradient(target.module, x, b)
    np.testing.assert_allclose(rows["saliency"], difference.abs().amax(1).numpy(), rtol=1e-4, atol=1e-7)
    found = probe.conclude(target, facts, Results(rows=rows))
    assert f"{'abcd'[int(a[0])]} against {'abcd'[int(b[0])]}" in found.figures[0].data["rows"][0]["note"]
    assert "predicted class against runner-up" in found.figures[0].caption
    true = Saliency(images=3, target="true", steps=1, samples=1)  # image 4 has no label
    rows = rows_of(true, target, facts)
    assert len(rows["saliency"]) == 2
    found = true.conclude(target, facts, Results(rows=rows))
    assert np.isfinite(found.columns["saliency.randomisation_spearman"]).tolist() == [True, False, False, True, False]
    assert any("1 images of the data have no true class" in note for note in found.notes)
    nothing = Saliency(images=3, contrast="predicted").conclude(target, facts, Results())
    assert nothing.status == "not_applicable"
    assert "choose another" in nothing.reason


def test_the_plan_states_the_cost(world: tuple[Any, Any]) -> None:
    target, facts = world
    seen: list[int] = []
    hook = target.module.register_forward_pre_hook(lambda _m, given: seen.append(len(given[0])))
    probe = Saliency(images=3, steps=5, samples=4)
    study = probe.study(target, facts, Results())
    assert study is not None
    study.work(target, facts.dataset, study.items)  # the control carries the hook along
    hook.remove()
    cost = probe.cost(target, facts.dataset)
    assert sum(seen) == cost.forwards + cost.gradients


def test_it_explains_itself() -> None:
    said = about(Saliency)
    assert all((said.asks, said.formula, said.read, said.misleads))
    assert Saliency.id() == "saliency"
