"""DeepDream against its loop written out, and where nothing is to be dreamt."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom
from torch import Tensor, nn

from auditor.errors import TargetError
from auditor.methods.ascent import Recipe, Task, ascend
from auditor.methods.ascent.objectives import Energy
from auditor.methods.ascent.parameters import Pixels
from auditor.methods.ascent.rules import MeanStep
from auditor.methods.ascent.transforms import drawn
from auditor.methods.deepdream import JITTER, STEP, deepdream, possible, resized, sides
from auditor.methods.inputs import seed_of
from tests.methods.ascent.worlds import Curved, space

WORLD = space((3, 22, 26))
IMAGES = 0.3 + 0.4 * torch.rand(2, 3, 22, 26, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_zero_iterations_return_the_image() -> None:
    assert torch.equal(deepdream(Curved(), "second", IMAGES, WORLD, seeds=[1, 2], iterations=0), IMAGES)


@pytest.mark.parametrize("layer", ["first", "second", "head"])
def test_the_mean_change_of_a_step_is_exactly_one_and_a_half_levels(layer: str) -> None:
    tasks = [Task(Recipe(Pixels(), MeanStep(STEP), 2), start=image) for image in IMAGES]
    for made, image in zip(ascend(Energy(Curved(), layer), tasks, WORLD), IMAGES, strict=True):
        assert made.image.min() > 0, "nothing was clipped"
        assert made.image.max() < 1
        assert (made.image - image).abs().mean().item() * 255 == pytest.approx(1.5, abs=1e-10)


def test_octaves_end_at_the_image_itself() -> None:
    assert sides((224, 224), 4, 1.4) == [(81, 81), (114, 114), (160, 160), (224, 224)]
    assert sides((3, 20), 5, 4.0) == [(1, 1), (1, 1), (1, 1), (1, 5), (3, 20)]
    assert sides((30, 20), 1, 1.4) == [(30, 20)]


@pytest.mark.parametrize("side", [(11, 9), (44, 31)])
def test_octaves_are_scaled_as_scipy_zooms(side: tuple[int, int]) -> None:
    factors = (1, 1, side[0] / 22, side[1] / 26)
    np.testing.assert_allclose(resized(IMAGES, side).numpy(), zoom(IMAGES.numpy(), factors, order=1), atol=1e-12)


def written_out(model: nn.Module, layer: str, image: Any, seed: int, *, iterations: int, octaves: int) -> Any:
    """The published program's loop, image (C,H,W) in [0,1]."""
    kept: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    bases = [torch.from_numpy(image)[None]]
    for _ in range(octaves - 1):
        high, wide = (max(1, round(s / 1.4)) for s in bases[-1].shape[-2:])
        bases.append(resized(bases[-1], (high, wide)))
    detail = torch.zeros_like(bases[-1])
    for number, base in enumerate(bases[::-1]):
        generator = torch.Generator().manual_seed(seed_of(seed, f"octave {number}"))
        x = base + resized(detail, tuple(base.shape[-2:]))
        for _ in range(iterations):
            shift = drawn(32, generator)
            leaf = torch.roll(x, shift, (-2, -1)).detach().requires_grad_(True)
            model(WORLD.normalise(leaf))
            activation = kept.pop()
            g = torch.autograd.grad(activation, leaf, grad_outputs=activation.detach())[0]
            moved = leaf.detach() + 1.5 / 255 / g.abs().mean() * g
            x = torch.roll(moved, (-shift[0], -shift[1]), (-2, -1)).clamp(0, 1)
        detail = x - base
    handle.remove()
    return x[0].numpy()


def test_it_is_the_published_loop() -> None:
    model = Curved()
    dreamt = deepdream(model, "second", IMAGES, WORLD, seeds=[5, 6], iterations=4, octaves=3)
    for image, found, seed in zip(IMAGES, dreamt, (5, 6), strict=True):
        expected = written_out(model, "second", image.numpy(), seed, iterations=4, octaves=3)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)
    assert JITTER == 32
    assert pytest.approx(1.5) == STEP * 255


def test_the_layers_energy_rises_and_an_image_is_dreamt_alike_in_any_company() -> None:
    model = Curved()
    dreamt = deepdream(model, "second", IMAGES, WORLD, seeds=[1, 2])
    assert dreamt.min() >= 0
    assert dreamt.max() <= 1
    before, after = (Energy(model, "second")(WORLD.normalise(x), torch.zeros(2)) for x in (IMAGES, dreamt))
    assert (after > 2 * before).all()
    alone = deepdream(model, "second", IMAGES[1:], WORLD, seeds=[2])
    torch.testing.assert_close(dreamt[1:], alone, rtol=0, atol=1e-12)


class OneSize(nn.Module):
    """Takes 22 x 26 alone, as many transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(3 * 22 * 26, 5, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x.flatten(1))


def test_octaves_that_a_model_cannot_be_given_are_left_out() -> None:
    model = OneSize()
    assert possible(model, "mix", WORLD, sides((22, 26), 4, 1.4)) == [(22, 26)]
    assert possible(Curved(), "second", WORLD, sides((22, 26), 4, 1.4)) == sides((22, 26), 4, 1.4)
    dreamt = deepdream(model, "mix", IMAGES, WORLD, seeds=[1, 2], iterations=2)
    assert (dreamt - IMAGES).abs().mean().item() <= 2 * 1.5 / 255 + 1e-12
    assert not math.isclose((dreamt - IMAGES).abs().max().item(), 0)
    with pytest.raises(TargetError, match="nowhere"):
        deepdream(model, "nowhere", IMAGES, WORLD, seeds=[1, 2])
    with pytest.raises(ValueError, match="octaves >= 1"):
        deepdream(model, "mix", IMAGES, WORLD, seeds=[1, 2], octaves=0)
