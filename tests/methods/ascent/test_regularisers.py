"""Yosinski's regularisers, alone against numpy, and together against his loop written out with scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from auditor.methods.ascent import YOSINSKI, Recipe, Task, Units, ascend, recipe
from auditor.methods.ascent.parameters import Pixels
from auditor.methods.ascent.regularisers import L2, Blur, Decay, SmallContribution, SmallNorm, Variation
from auditor.methods.ascent.rules import Constant
from auditor.ops.blur import gaussian_blur
from auditor.ops.regularisers import total_variation
from tests.methods.ascent.worlds import Curved, Linear, space

G = torch.Generator().manual_seed(0)
X = torch.randn(3, 3, 11, 9, generator=G, dtype=torch.float64)
SLOPE = torch.randn(3, 3, 11, 9, generator=G, dtype=torch.float64)
STEP = torch.arange(3)


@pytest.mark.parametrize("percent", [20, 50, 90])
@pytest.mark.parametrize("kind", [SmallNorm, SmallContribution])
def test_about_that_share_of_the_pixels_becomes_zero(kind: Any, percent: int) -> None:
    after = kind(percent)(X, SLOPE, STEP)
    gone = (after == 0).all(1)
    assert torch.allclose(gone.double().mean((1, 2)), torch.tensor(percent / 100).double(), atol=1 / 99)
    size = np.linalg.norm(X.numpy(), axis=1) if kind is SmallNorm else np.abs((X * SLOPE).sum(1).numpy())
    for i in range(3):
        np.testing.assert_array_equal(gone[i].numpy(), size[i] < np.percentile(size[i], percent))
    assert torch.equal(after[~gone[:, None].expand_as(X)], X[~gone[:, None].expand_as(X)]), "the others stay as they are"


@pytest.mark.parametrize(("sigma", "side"), [(0.5, (11, 9)), (1.0, (11, 9)), (3.0, (5, 4))])
def test_the_blur_is_scipys(sigma: float, side: tuple[int, int]) -> None:
    image = X[:1, :2, : side[0], : side[1]]
    expected = np.stack([gaussian_filter(channel, sigma) for channel in image[0].numpy()])
    np.testing.assert_allclose(gaussian_blur(image, sigma)[0].numpy(), expected, atol=1e-12)


def test_a_blur_comes_every_so_often_for_each_image_by_itself() -> None:
    after = Blur(1.0, 2)(X, SLOPE, torch.tensor([0, 1, 2]))
    assert torch.equal(after[1], X[1])
    torch.testing.assert_close(after[[0, 2]], gaussian_blur(X[[0, 2]], 1.0), rtol=0, atol=1e-15)
    assert torch.equal(Blur(1.0, 4)(X, SLOPE, torch.tensor([1, 2, 3])), X)
    with pytest.raises(ValueError, match="sigma > 0"):
        gaussian_blur(X, 0.0)


def test_decay_shrinks_and_penalties_are_their_closed_forms() -> None:
    torch.testing.assert_close(Decay(0.3)(X, SLOPE, STEP), 0.7 * X)
    torch.testing.assert_close(L2(0.5)(X), 0.5 * (X**2).sum((1, 2, 3)))
    torch.testing.assert_close(Variation(0.5)(X), 0.5 * total_variation(X))


def test_the_optimum_of_a_linear_unit_under_l2_is_w_over_two_lambda() -> None:
    model, world, weight = Linear(2, 48, 0.05), space((1, 6, 8)), 3.0
    slope = model.weight[1].detach() / 0.25
    made = ascend(Units(model), [Task(Recipe(Pixels(), Constant(0.1 * 255**2), 200, penalties=(L2(weight),)), 1)], world)[0]
    torch.testing.assert_close(made.image.flatten() - 0.5, slope / (2 * weight), rtol=0, atol=1e-10)


def written_out(name: str, x: Any, model: Any, world: Any, unit: int, iterations: int) -> tuple[Any, float]:
    """Yosinski's loop, in levels of 0 to 255 about the mean, as his program has it. x (C,H,W). Returns (picture, score)."""
    decay, sigma, every, norm, contribution, desired, rate = {
        "yosinski_1": (0, 0.5, 4, 50, 0, 2.0, 100.0), "yosinski_2": (0.3, 0, 0, 20, 0, None, 100.0),
        "yosinski_3": (1e-4, 1.0, 4, 0, 0, None, 100.0), "yosinski_4": (0, 0.5, 4, 0, 90, 2.0, 1e8),
    }[name]  # fmt: skip
    mean = 127.5
    for i in range(iterations):
        x = np.clip(x + mean, 0.0, 255.0) - mean
        leaf = torch.from_numpy(x)[None].requires_grad_(True)
        score = model(world.normalise((leaf + mean) / 255))[0, unit]
        g = torch.autograd.grad(score, leaf)[0][0].numpy()
        if i < iterations - 1:
            x = x + g * (rate if desired is None else min(rate, desired / (g**2).sum()))
            x = x * (1 - decay)
            if sigma and i % every == 0:
                x = np.stack([gaussian_filter(channel, sigma) for channel in x])
            if norm:
                size = np.sqrt((x**2).sum(0))
                x = x * (size >= np.percentile(size, norm))
            if contribution:
                size = np.abs((g * -x).sum(0))
                x = x * (size >= np.percentile(size, contribution))
    return (x + mean) / 255, score.item()


@pytest.mark.parametrize("name", list(YOSINSKI))
def test_the_four_settings_are_yosinskis_loop(name: str) -> None:
    model, world = Curved(), space((3, 12, 10))
    tasks = [Task(recipe(name, iterations=10, strength=None), unit, seed=unit) for unit in (0, 3)]
    for made, task in zip(ascend(Units(model), tasks, world), tasks, strict=True):
        noise = torch.randn(3, 12, 10, generator=torch.Generator().manual_seed(task.seed)).double().numpy() * 10
        picture, score = written_out(name, noise, model, world, task.unit, 10)
        np.testing.assert_allclose(made.image.numpy(), picture, atol=1e-12)
        assert made.value == pytest.approx(score, abs=1e-12)
        assert made.steps == 9
