from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from auditor.errors import DataError
from auditor.fold import concatenate
from auditor.lesson import Trained
from auditor.methods.faststyle import equal_evaluations, one_hot
from auditor.methods.style import aim_of, loss_of, transfer
from auditor.methods.unit import as_pixels, as_unit, unit_images
from auditor.probe import Results, about
from auditor.probes.style import Style
from auditor.probes.style.made import BLENDED, PAIR, STEPS, STYLISED, VARIANTS
from tests.probes.style_world import Data, world

__all__ = ["world"]
torch.set_num_threads(1)
PROBE = Style(images=2, evaluations=12, stylised=6, steps=6, new_steps=3, side=12, count=3)


def trained(probe: Style, target: Any, facts: Any) -> dict[str, Trained]:
    (lesson,) = probe.lessons(target, facts, Results())
    torch.manual_seed(0)
    learner = lesson.start(target, facts.dataset, 3)
    losses = []
    for index in range(lesson.steps):
        torch.manual_seed(index)
        losses.append(learner.step(index))
    return {lesson.name: Trained(learner.module.eval().requires_grad_(False), np.array(losses), 2.0)}


@pytest.fixture
def facts(world: tuple[Any, Any]) -> Any:
    found = world[1]
    found.predictions = SimpleNamespace(predicted=np.array([0, 1, 1, 1, 2, 0]))
    return found


@pytest.fixture
def target(world: tuple[Any, Any]) -> Any:
    return world[0]


def results_of(probe: Style, target: Any, facts: Any, chunk: int = 1) -> Results:
    held = trained(probe, target, facts)
    study = probe.study(target, facts, Results(trained=held))
    assert study is not None
    work = pickle.loads(pickle.dumps(study.work))
    rows = concatenate([work(target, facts.dataset, study.items[i : i + chunk]) for i in range(0, len(study.items), chunk)])
    return Results(rows=rows, trained=held)


def test_a_pair_is_optimisation_and_net_under_one_loss(target: Any, facts: Any) -> None:
    results = results_of(PROBE, target, facts)
    rows, given = results.rows, PROBE.given(target, facts)
    setting, net = PROBE.setting(target), results.trained["style"].module
    row = int(np.flatnonzero((rows["kind"] == PAIR) & (rows["which"] == 1))[0])
    image = torch.nn.functional.interpolate(
        unit_images(Data(), [int(rows["position"][row])], "cpu"), size=(12, 12), mode="bilinear", antialias=True
    )
    style, phi = as_unit(given.styles[1][None], "cpu")[0], setting.phi(target)
    made = transfer(phi, image[0], [style], layers=setting.layers, weights=setting.weights, evaluations=12)
    fast = net(image, one_hot(3, [1], image))
    np.testing.assert_allclose(rows["losses"][row][: len(made.losses)], made.losses, rtol=1e-5)
    np.testing.assert_array_equal(rows["picture"][row], as_pixels(made.picture[None])[0])
    np.testing.assert_array_equal(rows["fast"][row], as_pixels(fast)[0])
    loss = loss_of(phi, setting.layers, aim_of(phi, setting.layers, image[0], setting.grams(phi, [style])), setting.weights)
    assert rows["loss"][row] == pytest.approx(float(loss(fast)), rel=1e-5)
    for which, loss_there in ((0, min(made.losses)), (1, float(loss(fast)))):
        content, *layers = rows["terms"][row, which]
        smooth = loss_there - content - 10 * np.mean(layers)
        assert 0 <= smooth < 0.2, "what is left is the total variation"


def test_images_that_are_painted_or_give_a_style_are_not_trained_on(target: Any, facts: Any) -> None:
    given = PROBE.given(target, facts)
    assert len(set(given.places)) == 3
    assert not set(given.places) & set(given.images)
    assert set(given.others(6)) == set(range(6)) - set(given.places) - set(given.images)
    assert given.names == tuple(f"{p}.png" for p in given.places)


def test_the_figures_follow_from_the_rows(target: Any, facts: Any) -> None:
    results = results_of(PROBE, target, facts)
    rows, found = results.rows, PROBE.conclude(target, facts, results)
    pairs = rows["kind"] == PAIR
    for name, held in (("equal_evaluations", "noise"), ("equal_evaluations_from_image", "losses")):
        curves = [line[np.isfinite(line)] for line in rows[held][pairs]]
        worth = [equal_evaluations(line, x)[0] for line, x in zip(curves, rows["loss"][pairs], strict=True)]
        assert found.values[name].value == pytest.approx(np.mean(worth))
    ratio = rows["loss"][pairs] / np.nanmin(rows["losses"][pairs], axis=1)
    assert found.values["loss_ratio"].value == pytest.approx(ratio.mean())
    names = PROBE.setting(target).names
    terms = rows["terms"][pairs].mean(0)
    for place, name in enumerate(("content", *names)):
        assert found.values[f"loss_ratio.{name}"].value == pytest.approx(terms[1, place] / terms[0, place])
    asked = rows["kind"] == STYLISED
    right = rows["told"][asked] == Data().labels[rows["position"][asked]][:, None]
    assert found.values["stylised_accuracy"].value == pytest.approx(right.mean())
    assert (found.values["clean_accuracy"].k, found.values["clean_accuracy"].n) == (4, 6)
    assert found.values["stylised_drop"].value == pytest.approx(4 / 6 - right.mean())
    for i, name in enumerate(PROBE.given(target, facts).names):
        value = found.values[f"stylised_accuracy.{name}"]
        assert (value.k, value.n) == (int(right[:, i].sum()), 6)


def test_the_class_under_style_is_that_of_the_painted_image(target: Any, facts: Any) -> None:
    results = results_of(PROBE, target, facts)
    rows, net = results.rows, results.trained["style"].module
    (row,) = np.flatnonzero((rows["kind"] == STYLISED) & (rows["position"] == 4))
    image = unit_images(Data(), [4], "cpu")
    for style in range(3):
        scores = target.module(target.preprocess.normalise(net(image, one_hot(3, [style], image))))
        assert rows["told"][row, style] == int(scores.argmax())


def test_the_clock_is_in_the_timings_and_nowhere_else(target: Any, facts: Any) -> None:
    results = results_of(PROBE, target, facts)
    found = PROBE.conclude(target, facts, results)
    slow, fast = (np.median(results.rows["seconds"][results.rows["kind"] == PAIR][:, i]) for i in (0, 1))
    assert found.timings["times faster than 300 evaluations"] == pytest.approx(300 * slow / fast, rel=0.01, abs=0.1)
    assert found.timings["seconds of training the net"] == 2.0
    slower = Results(rows={**results.rows, "seconds": results.rows["seconds"] * 3}, trained=results.trained)
    other = PROBE.conclude(target, facts, slower)
    assert other.timings != found.timings
    assert repr(replace(other, timings={}, artifacts={}, columns={})) == repr(
        replace(found, timings={}, artifacts={}, columns={})
    )


def test_every_picture_is_shown_and_every_shown_picture_is_there(target: Any, facts: Any) -> None:
    found = PROBE.conclude(target, facts, results_of(PROBE, target, facts))
    galleries = [figure for figure in found.figures if figure.kind == "gallery"]
    assert [figure.name for figure in galleries] == ["pictures", "between", "settings"]
    shown = {cell["file"] for g in galleries for row in g.data["rows"] for cell in row["cells"] if cell}
    assert shown == set(found.artifacts)
    assert len(galleries[1].data["rows"][0]["cells"]) == STEPS
    assert all(len(row["cells"]) == len(g.data["columns"]) for g in galleries for row in g.data["rows"])


def test_the_way_between_begins_and_ends_at_single_styles(target: Any, facts: Any) -> None:
    rows = results_of(PROBE, target, facts).rows
    first = int(PROBE.given(target, facts).images[0])
    for step, style in ((0, 0), (STEPS - 1, 2)):
        (way,) = np.flatnonzero((rows["kind"] == BLENDED) & (rows["which"] == step))
        (end,) = np.flatnonzero((rows["kind"] == PAIR) & (rows["position"] == first) & (rows["which"] == style))
        np.testing.assert_array_equal(rows["fast"][way], rows["fast"][end])


def test_the_settings_differ_from_each_other(target: Any, facts: Any) -> None:
    rows = results_of(PROBE, target, facts).rows
    made = rows["picture"][rows["kind"] == VARIANTS].astype(int)
    assert len(made) == 6
    assert all(np.abs(a - b).max() > 2 for i, a in enumerate(made) for b in made[:i])


def test_a_row_depends_on_its_item_alone(target: Any, facts: Any) -> None:
    one, other = (results_of(PROBE, target, facts, chunk).rows for chunk in (1, 5))
    assert all(np.array_equal(one[k], other[k], equal_nan=True) for k in one if k != "seconds")


def test_styles_can_be_given_and_a_plan_holds_what_they_were(target: Any, facts: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{name}.png" for name in ("one", "two")]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    probe = replace(PROBE, styles=tuple(map(str, paths)))
    given = probe.given(target, facts)
    assert given.names == ("one", "two")
    assert given.styles[0].shape == (20, 30, 3)
    planned = Style(**probe.parameters())
    assert planned.given(target, facts).names == ("one", "two")
    assert planned.parameters() == probe.parameters()
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(paths[0])
    with pytest.raises(DataError, match="not those that were planned"):
        planned.given(target, facts)
    paths[0].write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"one\.png cannot be read"):
        probe.given(target, facts)


def test_without_scores_there_is_no_accuracy(target: Any, facts: Any) -> None:
    facts.predictions, target.task = None, "features"
    results = results_of(PROBE, target, facts)
    assert not (results.rows["kind"] == STYLISED).any()
    found = PROBE.conclude(target, facts, results)
    assert "stylised_accuracy" not in found.values
    assert found.status == "done"


def test_the_plan_counts_the_lesson_and_the_study(target: Any, facts: Any) -> None:
    small, more = PROBE.cost(target, facts.dataset), replace(PROBE, steps=600).cost(target, facts.dataset)
    assert more.gradients > small.gradients
    assert replace(PROBE, evaluations=1200).cost(target, facts.dataset).gradients > small.gradients
    assert replace(PROBE, stylised=0).cost(target, facts.dataset).forwards < small.forwards


@pytest.mark.parametrize(
    "bad",
    [{"images": 0}, {"evaluations": 0}, {"new": 3}, {"styles": ("a",), "new": 1}, {"variation": -1.0}, {"style_scale": 0.0}],
)
def test_wrong_parameters_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Style(**bad)


def test_it_explains_itself() -> None:
    words = about(Style)
    assert all((words.asks, words.formula, words.read, words.misleads))
    assert Style.id() == "style"
