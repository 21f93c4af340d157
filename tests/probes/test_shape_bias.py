from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import auditor
from auditor.errors import DataError
from auditor.methods.gram import phi_of
from auditor.methods.style import style_layers, transfer
from auditor.methods.unit import as_pixels, unit_images
from auditor.preprocess import Geometry, Preprocess
from auditor.probe import Results
from auditor.probes.shape_bias import ShapeBias
from auditor.probes.shape_bias.conflicts import WEIGHTS, conflicts_of
from auditor.probes.shape_bias.look import squared
from auditor.probes.shape_bias.told import OWN
from tests.probes.style_world import Data, rows_of, world

__all__ = ["world"]
torch.set_num_threads(1)
COLOURS = {"across": (250, 0, 0), "down": (0, 250, 0), "noise": (0, 0, 250)}


class Ground(nn.Module):
    """Scores the mean of each channel: it goes by colour, which stands for texture here."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.conv.weight.copy_(3 * torch.eye(3)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3))


def cue_folder(folder: Path, *, agree: int = 1) -> Path:
    """Each pair of categories once, and pictures whose cues agree; the colour is the texture's, but for one, of no cue's."""
    for shape in COLOURS:
        (folder / shape).mkdir(parents=True)
        for texture, colour in COLOURS.items():
            if shape != texture or agree:
                shown = COLOURS["noise"] if (shape, texture) == ("across", "down") else colour
                Image.new("RGB", (30, 20), shown).save(folder / shape / f"{shape}1-{texture}1.png")
    return folder


def audit(folder: Path, cues: str, **options: Any) -> Any:
    model = Ground()
    model.classes = list(COLOURS)
    data = Data()
    return auditor.run(
        model, (data.images, data.labels), preprocess=Preprocess(Geometry("RGB", (16, 16)), (0.5,) * 3, (0.25,) * 3),
        probes=[ShapeBias(cues=cues, **options)], out=folder / "out", work=folder / "work", device="cpu",
    )  # fmt: skip


def test_a_model_that_goes_by_texture_is_told_so(tmp_path: Path) -> None:
    section = audit(tmp_path, str(cue_folder(tmp_path / "cues")))["shape_bias"]
    assert section.status == "done", section.reason
    values = section.values
    assert (values["bias"].k, values["bias"].n) == (0, 5)
    assert (values["texture_decisions"].k, values["texture_decisions"].n) == (5, 6), "one was decided by neither"
    assert (values["shape_decisions"].k, values["shape_decisions"].n) == (0, 6)
    assert (values["agreeing_accuracy"].k, values["agreeing_accuracy"].n) == (3, 3)
    assert (values["bias.across"].k, values["bias.across"].n) == (0, 1)
    assert values["bias"].high == pytest.approx(1 - 0.05 ** (1 / 5))


def test_a_map_says_which_classes_a_category_has(tmp_path: Path) -> None:
    cues = cue_folder(tmp_path / "cues")
    (cues / "categories.json").write_text('{"across": [1], "down": ["across"], "noise": [2]}')
    values = audit(tmp_path, str(cues))["shape_bias"].values
    # red says `down` and green `across`: down1-across1 is decided by shape, the two in blue by texture
    assert (values["shape_decisions"].k, values["texture_decisions"].k) == (1, 2)
    other = tmp_path / "map.json"
    other.write_text('{"across": [0], "down": [1], "noise": [2]}')
    again = audit(tmp_path / "again", str(cues), categories=str(other))["shape_bias"].values
    assert again["texture_decisions"].k == 5


def test_without_a_folder_it_does_not_apply_and_says_what_to_give(tmp_path: Path) -> None:
    section = audit(tmp_path, "")["shape_bias"]
    assert section.status == "not_applicable"
    assert 'cues = "FOLDER"' in section.reason


def test_a_folder_that_cannot_be_read_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder"):
        audit(tmp_path, str(tmp_path / "missing"))
    cues = cue_folder(tmp_path / "cues")
    (cues / "down" / "down1-across1.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="down1-across1"):
        audit(tmp_path / "other", str(cues))


def test_the_work_is_named_by_content_and_not_by_place(tmp_path: Path) -> None:
    one, two = cue_folder(tmp_path / "a" / "cues"), cue_folder(tmp_path / "b" / "cues")
    given = ShapeBias(cues=str(one)).parameters()
    assert given == ShapeBias(cues=str(two)).parameters()
    assert str(tmp_path) not in repr(given)
    Image.new("RGB", (30, 20)).save(two / "down" / "down1-down1.png")
    assert given != ShapeBias(cues=str(two)).parameters()


def test_a_row_depends_on_its_item_alone(world: tuple[Any, Any], tmp_path: Path) -> None:
    target, facts = world
    probe = ShapeBias(cues=str(cue_folder(tmp_path / "cues")))
    one, other = (rows_of(probe, target, facts, chunk) for chunk in (1, 9))
    assert np.array_equal(one["picture"], other["picture"])
    assert np.array_equal(one["category"], other["category"])
    np.testing.assert_allclose(one["score"], other["score"], rtol=1e-5)
    assert one["picture"].shape == (9, 160, 160, 3)


def test_pictures_without_a_conflict_say_nothing(world: tuple[Any, Any], tmp_path: Path) -> None:
    target, facts = world
    (tmp_path / "cues" / "down").mkdir(parents=True)
    Image.new("RGB", (30, 20)).save(tmp_path / "cues" / "down" / "down1-down1.png")
    probe = ShapeBias(cues=str(tmp_path / "cues"))
    found = probe.conclude(target, facts, Results(rows=rows_of(probe, target, facts)))
    assert found.status == "not_applicable"


def with_answers(facts: Any, predicted: list[int]) -> Any:
    labels = Data().labels
    facts.predictions = SimpleNamespace(predicted=np.array(predicted), correct=np.array(predicted) == labels)
    return facts


def test_conflicts_are_of_two_classes_that_the_model_gets_right(world: tuple[Any, Any]) -> None:
    facts = with_answers(world[1], [0, 0, 2, 1, 2, 2])  # image 2 is wrong
    found = conflicts_of(facts, 5)
    assert found is not None
    labels = Data().labels
    assert len(found.pairs) == 5
    assert len(set(found.pairs)) == 5
    for (content, texture), cue in zip(found.pairs, found.cues.items, strict=True):
        assert 2 not in (content, texture)
        assert labels[content] != labels[texture]
        assert (found.classes[cue.shape], found.classes[cue.texture]) == (labels[content], labels[texture])
    few = conflicts_of(facts, 2)
    assert few is not None
    assert len(few.pairs) == 2


def test_without_two_classes_right_there_is_no_conflict(world: tuple[Any, Any]) -> None:
    assert conflicts_of(with_answers(world[1], [0, 0, 0, 0, 0, 0]), 5) is None
    assert conflicts_of(with_answers(world[1], [0, 0, 1, 1, 2, 2]), 0) is None
    facts = with_answers(world[1], [0] * 6)
    found = ShapeBias(conflicts=3).conclude(world[0], facts, Results())
    assert found.status == "not_applicable"
    assert "two classes" in found.reason


def test_a_made_conflict_is_the_content_in_the_style_of_the_texture(world: tuple[Any, Any]) -> None:
    target, facts = world[0], with_answers(world[1], [0, 0, 1, 1, 2, 2])
    probe = ShapeBias(conflicts=3, evaluations=25)
    rows, conflicts = rows_of(probe, target, facts), conflicts_of(facts, 3)
    assert conflicts is not None
    names, layers = style_layers(target)
    content, texture = unit_images(Data(), conflicts.pairs[1], "cpu")
    alone = transfer(phi_of(target, names), content, [texture], layers=layers, weights=WEIGHTS, evaluations=25)
    np.testing.assert_array_equal(rows["picture"][1], squared(as_pixels(alone.picture[None])[0]))
    assert rows["style"][1] == pytest.approx(alone.style)
    scores = target.look(target.preprocess.normalise((alone.picture[None] * 255).round() / 255)).scores
    assert conflicts.classes[int(rows["category"][1])] == int(scores[0, list(conflicts.classes)].argmax()), (
        "all classes are asked"
    )
    again = rows_of(probe, target, facts, chunk=2)
    assert all(np.array_equal(rows[k], again[k]) for k in rows)


def test_made_conflicts_say_that_they_do_not_compare(world: tuple[Any, Any]) -> None:
    target, facts = world[0], with_answers(world[1], [0, 0, 1, 1, 2, 2])
    probe = ShapeBias(conflicts=4, evaluations=3)
    rows = rows_of(probe, target, facts)
    found = probe.conclude(target, facts, Results(rows=rows))
    assert found.status == "done"
    assert all(value.flags == (OWN,) for value in found.values.values())
    assert "do not compare one to one" in found.notes[1]
    assert "not comparable one to one" in found.figures[0].caption
    assert found.values["shape_decisions"].n == 4
    cost = probe.cost(target, facts.dataset)
    assert cost.forwards == 4
    assert 0 < cost.gradients <= 12
    assert ShapeBias().cost(target, facts.dataset).gradients == 0


@pytest.mark.parametrize("bad", [{"conflicts": -1}, {"evaluations": 0}])
def test_wrong_parameters_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        ShapeBias(**bad)
