"""Training of the style net: it descends, its losses are those of optimisation, and a new style leaves the others alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from auditor.methods.faststyle import Wanted, equal_evaluations, one_hot, setting_of, style_lesson, stylish, training_work
from auditor.methods.faststyle.choice import unevenness
from auditor.methods.faststyle.lesson import Painter, cut_out
from auditor.methods.style import Weights, aim_of, loss_of
from auditor.methods.unit import unit_images
from tests.probes.style_world import Data, world

__all__ = ["world"]
torch.set_num_threads(1)
SMALL = Wanted(steps=40, new_steps=15, new=1, batch=3, side=16, width=4, blocks=1)


def painter(target: Any, wanted: Wanted = SMALL) -> Painter:
    setting = setting_of(target, 16, 3, Weights(1.0, 10.0, 1e-3))
    styles = [unit_images(Data(), [p], "cpu")[0] for p in (0, 2, 4)]
    torch.manual_seed(0)
    made = style_lesson(wanted, setting, styles, np.array([1, 3, 5])).start(target, Data(), 0)
    assert isinstance(made, Painter)
    return made


def taught(made: Painter, steps: range) -> list[float]:
    losses = []
    for index in steps:
        torch.manual_seed(1000 + index)
        losses.append(made.step(index))
    return losses


def test_it_descends_in_both_phases(world: tuple[Any, Any]) -> None:
    wanted = replace(SMALL, steps=120, new_steps=60, width=8)
    losses = taught(painter(world[0], wanted), range(wanted.whole))
    assert np.mean(losses[100:120]) < 0.7 * np.mean(losses[:10])
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[120:125])


def test_a_new_style_changes_its_own_gains_and_offsets_alone(world: tuple[Any, Any]) -> None:
    made = painter(world[0])
    taught(made, range(SMALL.steps))
    before = {name: value.clone() for name, value in made.net.state_dict().items()}
    taught(made, range(SMALL.steps, SMALL.whole))
    for name, value in made.net.state_dict().items():
        if name.endswith(("gamma", "beta")):
            assert torch.equal(value[:2], before[name][:2]), name
            assert not torch.equal(value[2], before[name][2]), name
        else:
            assert torch.equal(value, before[name]), name


def test_the_loss_before_a_step_is_that_of_style_transfer(world: tuple[Any, Any]) -> None:
    target, _ = world
    made = painter(target)
    torch.manual_seed(5)
    images = made.images()
    painted = made.net(images, one_hot(3, [0, 1, 0], images)).detach()
    phi, setting = made.phi, made.setting
    expected = []
    for i, style in enumerate((0, 2, 0)):
        grams = setting.grams(phi, [unit_images(Data(), [style], "cpu")[0]])
        loss = loss_of(phi, setting.layers, aim_of(phi, setting.layers, images[i], grams), setting.weights)
        expected.append(float(loss(painted[i : i + 1])))
    torch.manual_seed(5)
    assert made.step(0) == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("stop", [20, 40, 48])
def test_what_is_saved_goes_on_to_the_same_bytes(world: tuple[Any, Any], stop: int) -> None:
    whole, cut = painter(world[0]), painter(world[0])
    expected = taught(whole, range(SMALL.whole))
    begun = taught(cut, range(stop))
    again = painter(world[0])
    again.load(cut.save())
    assert begun + taught(again, range(stop, SMALL.whole)) == expected
    assert all(torch.equal(a, b) for a, b in zip(again.net.state_dict().values(), whole.net.state_dict().values(), strict=True))


def test_the_target_gets_no_gradient(world: tuple[Any, Any]) -> None:
    taught(painter(world[0]), range(2))
    assert all(p.grad is None for p in world[0].model.parameters())


def test_other_styles_images_and_settings_are_other_lessons(world: tuple[Any, Any]) -> None:
    target, _ = world
    styles = [unit_images(Data(), [p], "cpu")[0] for p in (0, 2)]
    known = [
        style_lesson(wanted, setting_of(target, side, 3, Weights(1.0, weight)), given, np.array(positions)).settings
        for wanted, side, weight, given, positions in (
            (Wanted(), 16, 10.0, styles, [1]), (Wanted(rate=1.0), 16, 10.0, styles, [1]), (Wanted(), 12, 10.0, styles, [1]),
            (Wanted(), 16, 9.0, styles, [1]), (Wanted(), 16, 10.0, styles[::-1], [1]), (Wanted(), 16, 10.0, styles, [3]),
        )
    ]  # fmt: skip
    assert all(a != b for i, a in enumerate(known) for b in known[:i])


def test_pictures_are_of_the_side_asked_for_and_layers_end_with_the_content(world: tuple[Any, Any]) -> None:
    setting = setting_of(world[0], 8, 5, Weights())
    assert setting.size == (8, 8)
    assert setting.layers.content == len(setting.names) - 1
    assert setting_of(world[0], 99, 5, Weights()).size == (16, 16), "never larger than the model's input"


def test_a_cut_out_is_a_part_at_the_size_asked_for() -> None:
    ramp = torch.linspace(0, 1, 40).expand(1, 1, 40, 40)
    torch.manual_seed(0)
    found = [cut_out(ramp, (20, 20)) for _ in range(12)]
    spans = [float(x.max() - x.min()) for x in found]
    assert all(x.shape == (1, 1, 20, 20) for x in found)
    assert all(0.6 < span <= 1 for span in spans)
    assert len({round(span, 3) for span in spans}) > 6
    assert {bool(x[0, 0, 0, 0] < x[0, 0, 0, -1]) for x in found} == {True, False}, "mirrored or not"


def test_the_work_grows_with_steps_and_batch(world: tuple[Any, Any]) -> None:
    setting = setting_of(world[0], 16, 3, Weights())
    one, two = (training_work(world[0], setting, Wanted(steps=steps, batch=batch)) for steps, batch in ((10, 2), (20, 4)))
    assert two.gradients == pytest.approx(4 * one.gradients)
    assert two.forwards == pytest.approx(4 * one.forwards)


@pytest.mark.parametrize(
    ("loss", "worth"), [(10.0, 0.0), (11.0, 0.0), (8.0, 1.0), (7.0, 1.5), (6.0, 2.0), (5.0, 3.5), (4.0, 4.0)]
)
def test_the_net_is_worth_as_many_evaluations_as_come_as_low(loss: float, worth: float) -> None:
    losses = [10.0, 8.0, 6.0, 9.0, 4.0]  # the best so far: 10, 8, 6, 6, 4
    assert equal_evaluations(losses, loss) == (pytest.approx(worth), True)


def test_what_optimisation_never_reaches_is_worth_at_least_all() -> None:
    assert equal_evaluations([3.0, 2.0], 1.0) == (1.0, False)
    with pytest.raises(ValueError, match="at least one"):
        equal_evaluations([], 1.0)


def test_styles_from_the_data_are_even_and_not_blank() -> None:
    rng = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 3, 32, 32, generator=rng)
    half = noise.clone()
    half[..., :16] = 0.5
    blank = torch.full((1, 3, 32, 32), 0.5) + 0.001 * torch.rand(1, 3, 32, 32, generator=rng)
    images = torch.cat([blank, half, noise, blank])
    found = unevenness(images)
    assert found[2] < 0.1 < found[1]
    assert stylish(images, 1) == [2]
    assert sorted(stylish(images, 4)) == [0, 1, 2, 3]
