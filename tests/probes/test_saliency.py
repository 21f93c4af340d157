from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.methods.integrated_gradients import integrated_gradients
from auditor.methods.randomisation import randomise, spearman
from auditor.methods.saliency import saliency
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
        "gradient": plain,
        "control": control,
        "integrated": integrated_gradients(target.module, x, classes, steps=8).abs().sum(1),
        "smooth": smoothgrad(target.module, x, classes, samples=4, seed=3).abs().amax(1),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(rows[name], value.numpy(), atol=1e-6, rtol=1e-4)
    np.testing.assert_allclose(rows["randomisation_spearman"], spearman(plain, control), atol=1e-3)
    assert rows["layers"].tolist() == [[1, 3]] * 3


def test_values_are_the_means_of_their_columns(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Saliency(images=3, steps=8, samples=2)
    rows = rows_of(probe, target, facts)
    found = probe.conclude(target, facts, Results(rows=rows))
    assert set(found.values) == {m.name for m in Saliency.measures}
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
    assert found.notes == ("On 3 of 3 images a map is constant (no gradient reaches the input).",)


def test_a_row_depends_on_its_item_alone_and_the_model_is_left_as_found(world: tuple[Any, Any]) -> None:
    target, facts = world
    before = copy.deepcopy(target.module.state_dict())
    together, apart = (rows_of(Saliency(images=3, steps=4, samples=3), target, facts, chunk) for chunk in (3, 1))
    assert all(np.array_equal(together[name], apart[name]) for name in together)
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
    assert len(set(files)) == 15
    assert all(found.artifacts[f].shape == (12, 10, 3) and found.artifacts[f].dtype == np.uint8 for f in files)
    assert len(gallery["columns"]) == 5
    assert "each map by itself" in gallery["scale"]
    bright = found.artifacts["gradient-0.png"].astype(int).sum(2)
    assert np.unravel_index(bright.argmax(), bright.shape) == np.unravel_index(rows["gradient"][0].argmax(), bright.shape)
    np.testing.assert_array_equal(found.artifacts["saliency.npy"], rows["gradient"])


def test_it_explains_itself() -> None:
    said = about(Saliency)
    assert all((said.asks, said.formula, said.read, said.misleads))
    assert Saliency.id() == "saliency"
