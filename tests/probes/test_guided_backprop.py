from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from auditor.methods.guided import deconvnet, guided_backprop
from auditor.methods.randomisation import randomise, spearman
from auditor.methods.saliency import gradient
from auditor.probe import Results, about
from auditor.probes.guided_backprop import GuidedBackprop
from tests.probes.noise_world import CHOSEN, noise_world, rows_of


def world(activation: nn.Module) -> tuple[Any, Any]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), activation, nn.Conv2d(8, 8, 3), activation, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)
        )  # fmt: skip
    return noise_world(model.eval().requires_grad_(False))


def test_rows_are_the_methods_maps_and_counts() -> None:
    target, facts = world(nn.ReLU())
    rows = rows_of(GuidedBackprop(images=3), target, facts)
    x, classes = torch.from_numpy(facts.dataset.images[CHOSEN]), torch.from_numpy(facts.predictions.predicted[CHOSEN])
    other = randomise(target.module, fraction=0.25, layers=["0", "2", "6"], seed=3)
    expected = {
        "gradient": gradient(target.module, x, classes), "guided": guided_backprop(target.module, x, classes),
        "deconvnet": deconvnet(target.module, x, classes), "control": guided_backprop(other, x, classes),
    }  # fmt: skip
    for name, value in expected.items():
        np.testing.assert_allclose(rows[name], value.numpy(), atol=1e-6, rtol=1e-4)
    likeness = spearman(expected["guided"].abs().amax(1), expected["control"].abs().amax(1))
    np.testing.assert_allclose(rows["likeness"], likeness, atol=1e-3)
    assert rows["counts"].tolist() == [[2, 2]] * 3


def test_figures_and_what_the_page_says() -> None:
    target, facts = world(nn.ReLU())
    probe = GuidedBackprop(images=3)
    rows = rows_of(probe, target, facts)
    found = probe.conclude(target, facts, Results(rows=rows))
    assert (found.values["rectifiers_total"].value, found.values["rectifiers_intercepted"].value) == (2, 2)
    assert found.values["randomisation_spearman"].value == pytest.approx(rows["likeness"].mean())
    assert "2 of 2 rectifiers" in found.notes[0]
    rows["likeness"][:] = 0.9
    assert "edges" in probe.conclude(target, facts, Results(rows=rows)).notes[1]
    rows["likeness"][:] = 0.1
    assert "depend on what the model has learned" in probe.conclude(target, facts, Results(rows=rows)).notes[1]
    grey = found.artifacts["guided-0.png"].astype(int)
    signs = np.sign(rows["guided"][0].transpose(1, 2, 0))
    assert (np.sign(grey - 127.5)[np.abs(grey - 127.5) > 1] == signs[np.abs(grey - 127.5) > 1]).all()


def test_the_class_that_was_asked_for_is_explained() -> None:
    target, facts = world(nn.ReLU())
    probe = GuidedBackprop(images=3, target="b", contrast="d")
    rows = rows_of(probe, target, facts)
    x = torch.from_numpy(facts.dataset.images[CHOSEN])
    expected = guided_backprop(target.module, x, (1, 3))
    assert expected.abs().max() > 1e-4
    np.testing.assert_allclose(rows["guided"], expected.numpy(), atol=1e-6, rtol=1e-4)
    figure = probe.conclude(target, facts, Results(rows=rows)).figures[0]
    assert "class b against class d" in figure.caption
    assert figure.data["keys"][1:4] == ["saliency", "guided_backprop", "deconvnet"]


def test_it_does_not_apply_without_a_rectifier() -> None:
    target, facts = world(nn.Tanh())
    probe = GuidedBackprop(images=2)
    found = probe.conclude(target, facts, Results(rows=rows_of(probe, target, facts)))
    assert found.status == "not_applicable"
    assert "no rectifying operation" in found.reason


def test_it_explains_itself() -> None:
    said = about(GuidedBackprop)
    assert all((said.asks, said.formula, said.read, said.misleads))
    assert GuidedBackprop.id() == "guided_backprop"
