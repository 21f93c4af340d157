from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from auditor.probe import about
from auditor.probes.patches import Patches
from tests.probes.patches_world import COUNT, activations, found, network, results, world

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return network()


def test_a_unit_that_a_planted_mark_fires_is_told(model: nn.Module) -> None:
    finding = found(model, marked=True)
    assert finding.values["marked_units.first"].value == 1
    note = finding.notes[0]
    assert note.startswith("Unit 0 of first fires at the same place (rows 1-3, columns 1-3) in 9 of 9 images")
    assert "top left corner" in note
    assert "differ by 0.0 grey levels" in note
    gallery = next(f for f in finding.figures if f.name == "layer-0")
    row = gallery.data["rows"][0]
    assert row["label"] == "unit 0: same mark, saturated, same place"
    assert row["note"].splitlines()[-1] == "same place in 9 of 9"
    strip = finding.artifacts[row["cells"][0]["file"]]
    assert strip.shape == (84, 9 * 84 + 8 * 4, 3)
    assert (strip[:, :84] == 255).all()
    table = finding.artifacts["layer-0-units.npy"]
    assert table[0, 5] == 9
    assert table[0, 1] == pytest.approx(COUNT // 3 / COUNT)


def test_without_a_mark_nothing_is_told(model: nn.Module) -> None:
    finding = found(model)
    assert finding.values["marked_units.first"].value == 0
    assert not any("same place" in note for note in finding.notes)


def test_dead_units_of_a_rectified_layer_only(model: nn.Module) -> None:
    finding = found(model, marked=True)
    assert finding.values["dead_units.first"].value == 0.25
    assert finding.values["dead_units.first"].n == 4
    signed = copy.deepcopy(model)
    with torch.no_grad():
        signed.second.bias -= 9
    assert "dead_units.second" not in found(signed).values
    assert "1 of 4 units of first fire in none of 60 images." in finding.notes
    plain = found(model)
    assert plain.values["dead_units.first"].value == 0.5  # without the mark nothing fires unit 0 either
    labels = [row["label"] for row in next(f for f in plain.figures if f.name == "layer-0").data["rows"]]
    assert sorted(label.partition(":")[0] for label in labels) == ["unit 2", "unit 3"]
    marked = next(f for f in finding.figures if f.name == "odd").data["rows"]
    assert [(row["unit"], row["why"]) for row in marked if row["layer"] == "first"][:2] == [
        (0, "same mark, saturated, same place"),
        (1, "never fires"),
    ]


def test_class_entropy_by_hand(model: nn.Module) -> None:
    target, facts = world(model)
    probe = Patches(top=4)
    maps = activations(model, facts.dataset)["second"].numpy().max(axis=(2, 3))
    entropies = []
    for channel in range(6):
        _, counts = np.unique(facts.dataset.labels[np.argsort(-maps[:, channel], kind="stable")[:4]], return_counts=True)
        entropies.append(-(counts / 4 * np.log2(counts / 4)).sum() / 2)  # 4 images: 2 bits at most
    finding = probe.conclude(target, facts, results(probe, target, facts))
    value = finding.values["class_entropy.second"]
    assert (value.value, value.n, value.kind) == (pytest.approx(np.mean(entropies)), 6, "exact")
    np.testing.assert_allclose(finding.artifacts["layer-1-units.npy"][:, 2], entropies, rtol=1e-6)


def test_a_unit_of_one_class_is_told_and_shown_first(model: nn.Module) -> None:
    target, facts = world(model)
    facts.dataset.images[30:40, 10:13, 10:13] = 255
    probe = Patches(top=9, units=2)
    finding = probe.conclude(target, facts, results(probe, target, facts))
    assert any("1 of 3 units of first are fired most by images of one class only" in note for note in finding.notes)
    rows = next(f for f in finding.figures if f.name == "layer-0").data["rows"]
    assert rows[0]["label"].startswith("unit 0: one class in an early layer")
    assert rows[0]["note"].splitlines()[:2] == ["kind 3 ×9", "entropy 0.00; value 3 at 1 to 1 of 576 places"]


def test_without_labels_predicted_classes_serve_and_without_both_nothing_is_said_of_classes(model: nn.Module) -> None:
    finding = found(model, labels=False)
    assert "predicted" in next(f for f in finding.figures if f.name == "layer-1").caption
    assert finding.values["class_entropy.second"].value is not None
    target, facts = world(model, labels=False)
    facts.predictions = None
    probe = Patches()
    finding = probe.conclude(target, facts, results(probe, target, facts))
    assert finding.status == "done"
    assert not any(name.startswith("class_entropy") for name in finding.values)
    assert [f.name for f in finding.figures] == ["layers", "odd", "layer-0", "layer-1"]
    assert not any("entropy" in column["label"] for column in finding.figures[0].data["columns"])


def test_one_image_a_class_says_nothing_of_classes(model: nn.Module) -> None:
    target, facts = world(model)
    facts.dataset.labels, facts.names = np.arange(COUNT), tuple(f"kind {k}" for k in range(COUNT))
    probe = Patches()
    finding = probe.conclude(target, facts, results(probe, target, facts))
    assert finding.values["class_entropy.second"].value is None
    assert "No class has two images, so nothing can be said of the classes of units." in finding.notes


def test_the_page_says_the_field_and_everything_shown_exists(model: nn.Module) -> None:
    finding = found(model)
    for number, name, size in ((0, "first", 3), (1, "second", 5)):
        figure = next(f for f in finding.figures if f.name == f"layer-{number}")
        assert figure.title == f"What fires {name}"
        assert f"Receptive field {size} x {size} px, EXACT" in figure.caption
        for row in figure.data["rows"]:
            above, below = (finding.artifacts[cell["file"]] for cell in row["cells"])
            assert above.dtype == below.dtype == np.uint8
            assert above.shape == below.shape
            assert above.shape[0] == 84
    tables = [finding.artifacts[f"layer-1-{name}.npy"] for name in ("values", "positions", "places")]
    assert [t.shape for t in tables] == [(6, 9), (6, 9), (6, 9, 2)]
    assert finding.figures[0].data["rows"][1]["field"].split() == ["5", "x", "5", "px"]
    named = {m.name for m in Patches.measures}
    assert {name.partition(".")[0] for name in finding.values} == named - {"source_entropy", "one_source_units"}


def test_the_model_is_left_as_found(model: nn.Module) -> None:
    before = copy.deepcopy(model.state_dict())
    found(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(m.training or m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any(p.requires_grad for p in model.parameters())


def test_parameters_are_checked_and_it_explains_itself() -> None:
    for wrong in ({"layers": 0}, {"top": 17}, {"units": 0}):
        with pytest.raises(ValueError, match="are the defaults"):
            Patches(**wrong)
    said = about(Patches)
    assert all((said.asks, said.formula, said.read, said.misleads))
    assert Patches.id() == "patches"
    assert Patches.profiles["quick"] == {"layers": 2, "units": 8}
