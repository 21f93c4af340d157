"""Step size policies against their closed forms, in float64."""

from __future__ import annotations

import pytest
import torch

from auditor.methods.ascent import Recipe, Task, Units, ascend
from auditor.methods.ascent.parameters import Pixels
from auditor.methods.ascent.rules import Adam, Constant, MeanStep, Progress, Relative
from tests.methods.ascent.worlds import Curved, Linear, space

WORLD = space()
SIZE = 3 * 6 * 8
NOW = torch.zeros(2, dtype=torch.int64)


def values(rule: object, model: torch.nn.Module, count: int = 6, unit: int = 1) -> list[float]:
    """The objective at the final forward after 0, 1, ... steps."""
    tasks = [Task(Recipe(Pixels(), rule, i + 1), unit, seed=4) for i in range(count)]  # type: ignore[arg-type]
    return [made.value for made in ascend(Units(model), tasks, WORLD)]


def test_progress_raises_a_linear_unit_by_exactly_two_a_step() -> None:
    found = torch.tensor(values(Progress(2.0, 100.0), Linear(3, SIZE, 20.0)), dtype=torch.float64)
    torch.testing.assert_close(found.diff(), torch.full((5,), 2.0, dtype=torch.float64), rtol=0, atol=1e-10)


def test_progress_is_held_by_its_largest_rate() -> None:
    model = Linear(3, SIZE, 0.1)
    slope = model.weight[1].detach() / 0.25  # by pixels in [0,1], behind the normalisation
    assert 2.0 / slope.square().sum() > 100 / 255**2, "the largest rate binds"
    found = torch.tensor(values(Progress(2.0, 100.0), model), dtype=torch.float64)
    torch.testing.assert_close(found.diff(), (100 / 255**2 * slope.square().sum()).expand(5), rtol=1e-10, atol=0)


def test_a_constant_rate_is_of_pixels_of_0_to_255() -> None:
    slope = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    change, _ = Constant(100.0).move(slope, (), NOW)
    pixels = 100.0 * slope / 255  # a step of 100 g, g by levels of 0 to 255, in levels
    torch.testing.assert_close(change * 255, pixels, rtol=1e-12, atol=0)


def test_the_mean_step_is_exactly_the_step() -> None:
    slope = torch.randn(2, 3, 9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1e-7
    change, _ = MeanStep(1.5 / 255).move(slope, (), NOW)
    torch.testing.assert_close(
        change.abs().flatten(1).mean(1), torch.full((2,), 1.5 / 255, dtype=torch.float64), rtol=1e-12, atol=0
    )
    assert torch.equal(change.sign(), slope.sign())


@pytest.mark.parametrize("rule", [Constant(), Progress(), MeanStep(), Relative(Progress()), Adam()])
def test_without_a_gradient_nothing_moves(rule: Constant) -> None:
    theta = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    moments = tuple(torch.stack([m, m]) for m in rule.begin(theta[0]))
    change, _ = rule.move(torch.zeros_like(theta), moments, NOW)
    assert torch.equal(change, torch.zeros_like(theta))


def test_adam_is_torchs() -> None:
    model, world = Curved(), space()
    start = torch.rand(3, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 0.2 + 0.4
    (made,) = ascend(Units(model), [Task(Recipe(Pixels(), Adam(0.003), 9), 2, start=start)], world)
    leaf = start.clone()[None].requires_grad_(True)
    theirs = torch.optim.Adam([leaf], lr=0.003, maximize=True)
    for _ in range(8):
        theirs.zero_grad()
        model(world.normalise(leaf))[0, 2].backward()
        theirs.step()
    torch.testing.assert_close(made.image, leaf[0].detach(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("rule", [Constant(100.0), Progress(2.0, 100.0)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_a_relative_rule_begins_with_a_progress_of_two_whatever_the_models_scale(rule: Constant, scale: float) -> None:
    slope = scale * torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    relative = Relative(rule, strength=3.0)
    zero = torch.zeros(2, dtype=torch.float64)
    change, kept = relative.move(slope, (zero,), NOW)
    torch.testing.assert_close((change * slope).flatten(1).sum(1), torch.full((2,), 6.0, dtype=torch.float64))
    later, kept = relative.move(slope / 10, kept, NOW + 1)
    torch.testing.assert_close(later, change / 10), "the rate of the first step is held"
    torch.testing.assert_close(kept[0], slope.flatten(1).square().sum(1))


def test_a_relative_progress_is_not_exceeded_where_the_gradient_grows() -> None:
    slope = torch.randn(1, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    _, kept = Relative(Progress()).move(slope, (torch.zeros(1, dtype=torch.float64),), NOW[:1])
    change, _ = Relative(Progress()).move(7 * slope, kept, NOW[:1] + 1)
    assert (change * 7 * slope).sum().item() == pytest.approx(2.0)
