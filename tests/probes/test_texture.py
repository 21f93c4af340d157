from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from auditor.methods.gram import gram_share, phi_of
from auditor.methods.inputs import seed_of
from auditor.methods.texture import centred, noise_like
from auditor.methods.unit import as_unit
from auditor.probe import Results
from auditor.probes.texture import Texture
from tests.probes.style_world import Data, rows_of, world

__all__ = ["world"]
torch.set_num_threads(1)


def test_the_ratio_is_that_of_the_deepest_layer_of_each_picture(world: tuple[Any, Any]) -> None:
    target, facts = world
    rows = rows_of(Texture(images=2, evaluations=40), target, facts)
    layers = ("act", "act2")
    for depth, position, ratio, picture in zip(*(rows[k] for k in ("depth", "position", "ratio", "picture")), strict=True):
        source = as_unit(Data().pixels([position]), "cpu")
        noise = noise_like(source[0], (16, 16), seed_of(3, f"texture:{facts.dataset.samples[position].key}"))
        phi = phi_of(target, layers[depth : depth + 1])
        of = phi(source)[0]
        end, begin = (float(gram_share(centred(phi(i)[0], of), centred(of, of))) for i in (as_unit(picture[None], "cpu"), noise))
        assert ratio == pytest.approx(end / begin, abs=2e-3), "up to rounding to 8 bits"
        assert ratio < 0.2


def test_the_figures_are_means_and_shares_of_the_rows(world: tuple[Any, Any]) -> None:
    target, facts = world
    probe = Texture(images=3, evaluations=30)
    rows = rows_of(probe, target, facts)
    rows["after"][rows["depth"] == 1] = [*rows["before"][rows["depth"] == 1][:2], 99]
    rows["after"][:1] = 0
    found = probe.conclude(target, facts, Results(rows=rows | {"after": rows["after"].clip(0, 2)}))
    assert found.values["final_loss_ratio.act2"].value == pytest.approx(rows["ratio"][rows["depth"] == 1].mean())
    last = rows["depth"] == 1
    kept = int((rows["after"].clip(0, 2) == rows["before"])[last].sum())
    assert (found.values["class_kept"].k, found.values["class_kept"].n) == (kept, 3)
    gallery = found.figures[0].data
    assert gallery["columns"] == ["image", "up to act", "up to act2"]
    assert {cell["file"] for row in gallery["rows"] for cell in row["cells"]} == set(found.artifacts)


def test_a_texture_that_is_met_gets_the_class_of_its_image(world: tuple[Any, Any]) -> None:
    target, facts = world
    rows = rows_of(Texture(images=3, evaluations=300), target, facts)
    last = rows["depth"] == 1
    assert (rows["after"] == rows["before"])[last].all(), "this model sees means over positions alone"


def test_a_row_depends_on_its_item_alone(world: tuple[Any, Any]) -> None:
    target, facts = world
    one, other = (rows_of(Texture(images=2, evaluations=8), target, facts, chunk) for chunk in (1, 4))
    assert all(np.array_equal(one[k], other[k]) for k in one)


def test_images_can_be_named_and_pictures_larger(world: tuple[Any, Any]) -> None:
    target, facts = world
    rows = rows_of(Texture(sources=("5.png",), layers=1, evaluations=3, growth=1.5), target, facts)
    assert rows["position"].tolist() == [5]
    assert rows["picture"].shape == (1, 24, 24, 3)
    with pytest.raises(ValueError, match=r"x\.png"):
        Texture(sources=("x.png",)).study(target, facts, Results())


def test_without_scores_there_is_no_class(world: tuple[Any, Any]) -> None:
    target, facts = world
    facts.predictions, target.task = None, "features"
    probe = Texture(images=1, evaluations=3)
    found = probe.conclude(target, facts, Results(rows=rows_of(probe, target, facts)))
    assert "class_kept" not in found.values
    assert found.status == "done"


@pytest.mark.parametrize("bad", [{"images": 0}, {"evaluations": 0}, {"growth": 0.0}])
def test_wrong_parameters_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Texture(**bad)
