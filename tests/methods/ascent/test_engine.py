"""Continuous batching, early ends, and a model that is left as it was found."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from auditor.errors import TargetError, UsageError
from auditor.methods.ascent import Recipe, Task, Units, ascend, assumed, frozen, recipe
from auditor.methods.ascent.objectives import Energy, by_unit
from auditor.methods.ascent.parameters import Fourier, Phase, Pixels
from auditor.methods.ascent.regularisers import L2, Blur
from auditor.methods.ascent.rules import Adam, Progress
from auditor.methods.ascent.transforms import Affine, Jitter, Noise
from tests.methods.ascent.worlds import Curved, Linear, space

WORLD = space((3, 10, 8))


def tasks() -> list[Task]:
    natural = assumed(WORLD.shape, torch.zeros((), dtype=torch.float64))
    recipes = [
        recipe("yosinski_1", iterations=7),
        Recipe(Fourier(), Adam(0.05), 5, transforms=(Affine(),), penalties=(L2(0.1),)),
        Recipe(Phase(natural), Adam(0.1), 9, transforms=(Jitter(2), Noise(0.05))),
        Recipe(Pixels(), Progress(), 3, regularisers=(Blur(1.0, 2),)),
    ]
    return [Task(recipes[i % 4], unit=i % 6, seed=i) for i in range(11)]


@pytest.mark.parametrize("slots", [2, 3, 11])
def test_continuous_batching_gives_exactly_what_one_by_one_gives(slots: int) -> None:
    model = Curved()
    alone = ascend(Units(model), tasks(), WORLD, slots=1)
    together = ascend(Units(model), tasks(), WORLD, slots=slots)
    for one, other, task in zip(alone, together, tasks(), strict=True):
        torch.testing.assert_close(one.image, other.image, rtol=0, atol=1e-12)
        assert one.value == pytest.approx(other.value, abs=1e-12)
        assert one.steps == other.steps == task.recipe.iterations - 1


def test_a_slot_is_refilled_as_soon_as_it_is_free() -> None:
    sizes: list[int] = []

    def objective(images: Tensor, units: Tensor) -> Tensor:
        sizes.append(len(images))
        return images.flatten(1).sum(1)

    ascend(objective, [Task(Recipe(Pixels(), Progress(), n)) for n in (1, 5, 2, 2, 3)], WORLD, slots=2)
    assert sizes == [2, 2, 2, 2, 2, 1, 1, 1]
    assert sum(sizes) == 1 + 5 + 2 + 2 + 3, "no picture is looked at after its final forward"


def test_the_value_is_that_of_the_picture_and_a_picture_may_be_done_early() -> None:
    model, world = Linear(2, 240, 20.0), WORLD
    plain = recipe("none", iterations=20)
    start = Units(model)(world.normalise(torch.full((1, *world.shape), 0.5).double()), torch.tensor([1])).item()
    first = ascend(Units(model), [Task(recipe("none", iterations=1), 1, seed=3)], world)[0].value
    made = ascend(Units(model), [Task(plain, 1, seed=3, until=until) for until in (None, first + 9.0)], world)
    for one in made:
        assert Units(model)(world.normalise(one.image[None]), torch.tensor([1])).item() == pytest.approx(one.value, abs=1e-12)
    assert start == 0
    assert [one.steps for one in made] == [19, 5], "a step is worth 2, so the fifth is the first that is enough"


def test_a_start_is_taken_and_one_iteration_returns_it() -> None:
    start = torch.rand(3, 10, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (made,) = ascend(Units(Curved()), [Task(recipe("none", iterations=1), 0, start=start)], WORLD)
    assert torch.equal(made.image, start)
    assert made.steps == 0


def test_no_random_number_is_taken_from_the_rest_of_the_program() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    ascend(Units(Curved()), tasks()[:4], WORLD)
    assert torch.equal(torch.get_rng_state(), before)


class Deep(nn.Module):
    """Counts what is computed above its first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.drop, self.high = nn.Conv2d(3, 4, 3), nn.Dropout(0.5), nn.Conv2d(4, 2, 3)
        self.above = 0
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.low(x))
        self.above += 1
        return self.high(x).mean((2, 3))


def test_nothing_above_the_layer_is_computed_and_the_model_is_left_as_found() -> None:
    model = Deep().train()
    model.high.weight.requires_grad_(False)
    before = {name: p.clone() for name, p in model.state_dict().items()}
    with frozen(model):
        assert not any(p.requires_grad for p in model.parameters())
        made = ascend(Units(model, "low"), [Task(recipe("none", iterations=4), 2)], WORLD)
    assert model.above == 0
    assert made[0].value > 0
    assert model.training
    assert model.drop.training
    assert [p.requires_grad for p in model.parameters()] == [True, True, False, True]
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())
    assert not any(p.grad is not None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())
    with pytest.raises(RuntimeError, match="planted"), frozen(model):
        raise RuntimeError("planted")
    assert model.low.weight.requires_grad


def test_objectives_of_every_shape() -> None:
    maps = torch.arange(2 * 3 * 4 * 5, dtype=torch.float64).view(2, 3, 4, 5)
    assert torch.equal(by_unit(maps, "mean"), maps.mean((2, 3)))
    assert torch.equal(by_unit(maps, "centre"), maps[:, :, 2, 2])
    tokens = maps.flatten(2).transpose(1, 2)
    assert torch.equal(by_unit(tokens, "mean"), maps.mean((2, 3)))
    assert torch.equal(by_unit(tokens, "centre"), tokens[:, 10])
    assert torch.equal(by_unit(maps[:, :, 0, 0], "mean"), maps[:, :, 0, 0])
    with pytest.raises(UsageError, match=r"\(n,K,H,W\), got \(2, 3, 4, 5, 1\)"):
        by_unit(maps[..., None], "mean")


def test_the_gradient_of_the_energy_at_the_layer_is_its_activation() -> None:
    model = Curved()
    images = WORLD.normalise(torch.rand(1, 3, 10, 8, dtype=torch.float64))
    kept: list[Tensor] = []

    def keep(_module: Any, _args: Any, output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handle = model.second.register_forward_hook(keep)
    Energy(model, "second")(images, torch.zeros(1)).sum().backward()
    handle.remove()
    torch.testing.assert_close(kept[0].grad, kept[0].detach())


def test_what_cannot_be_done_is_refused() -> None:
    model = Linear(4, 240)
    with pytest.raises(ValueError, match="at least 1 iteration"):
        ascend(Units(model), [Task(Recipe(Pixels(), Progress(), 0))], WORLD)
    with pytest.raises(ValueError, match="with Pixels alone, got them with Fourier"):
        ascend(Units(model), [Task(Recipe(Fourier(), Adam(), 3, regularisers=(Blur(1.0),)))], WORLD)
    with pytest.raises(UsageError, match=r"units within 0\.\.3 of the model's output, got 4\.\.4"):
        ascend(Units(model), [Task(recipe("none"), 4)], WORLD)
    with pytest.raises(TargetError, match="nowhere"):
        ascend(Units(model, "nowhere"), [Task(recipe("none"))], WORLD)
    with pytest.raises(UsageError, match="none, yosinski_1"):
        recipe("magic")
    with pytest.raises(UsageError, match="statistics"):
        recipe("maco")
    assert ascend(Units(model), [], WORLD) == []


class Quiet(nn.Module):
    """Two units behind a ReLU: the first is silent where the picture is grey, the second is not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 2, 3, dtype=torch.float64), nn.ReLU()
        with torch.no_grad():
            self.conv.bias.copy_(torch.tensor([-3.0, 3.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x))


def test_a_unit_that_is_silent_at_the_start_is_woken_and_its_neighbours_do_not_feel_it() -> None:
    model, how = Quiet(), recipe("none", iterations=30)
    begin = ascend(Units(model), [Task(recipe("none", iterations=1), 0)], WORLD)[0]
    assert begin.value == 0
    both = ascend(Units(model), [Task(how, 0), Task(how, 1)], WORLD)
    assert both[0].value > 0.1
    alone = ascend(Units(model), [Task(how, 1)], WORLD)[0]
    torch.testing.assert_close(both[1].image, alone.image, rtol=0, atol=1e-12)
    dead = Linear(1, 240, 0.0)
    assert ascend(Units(dead), [Task(how, 0)], WORLD)[0].value == 0, "what has no gradient at all stays as it is"
