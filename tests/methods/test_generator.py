"""Ascent in a generator's code, against closed forms; the net; its training."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.methods.ascent import Recipe, Space, Task, ascend
from auditor.methods.ascent.parameters import Pixels
from auditor.methods.ascent.rules import LEVELS, Constant, MeanStep
from auditor.methods.generator import Code, Range, UpConv, Wanted, code_recipe, inverse_lesson, measured_range, output_size
from auditor.methods.generator.inverse import Inverse, matched_layers, seen
from auditor.methods.generator.network import multiplications, pyramid
from auditor.methods.generator.work import BESIDE, training_work, width_of
from auditor.ops.resize import resized
from auditor.target import load_target
from tests.small import PREPROCESS, net

torch.set_num_threads(1)
SHAPE = (1, 4, 5)
SPACE = Space(SHAPE, lambda x: x, (0.0,), dtype=torch.float64)
RNG = torch.Generator().manual_seed(0)
WEIGHT = torch.randn(20, generator=RNG, dtype=torch.float64)


def linear(images: Tensor, _units: Tensor) -> Tensor:
    return images.flatten(1) @ WEIGHT


def curved(images: Tensor, _units: Tensor) -> Tensor:
    return (images.flatten(1) @ WEIGHT).tanh() + images.flatten(1).square().sum(1)


def as_image(codes: Tensor) -> Tensor:
    return codes.view(-1, *SHAPE)


class Listening:
    """A generator that remembers what it was given."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.codes = inner, list[Tensor]()

    def __call__(self, codes: Tensor) -> Tensor:
        self.codes.append(codes.detach().clone())
        return self.inner(codes)


def test_through_the_identity_it_is_plain_ascent() -> None:
    start = 0.3 + 0.4 * torch.rand(SHAPE, generator=RNG, dtype=torch.float64)
    rule = MeanStep(0.01, over=12)
    code = ascend(curved, [Task(Recipe(Code(as_image, begins=start.flatten()), rule, 13))], SPACE)[0]
    plain = ascend(curved, [Task(Recipe(Pixels(), rule, 13), start=start)], SPACE)[0]
    assert plain.image.min() > 0
    assert plain.image.max() < 1, "never clipped, so that both take the same course"
    assert not torch.allclose(plain.image, start, atol=0.02)
    torch.testing.assert_close(code.image, plain.image, rtol=0, atol=1e-14)
    assert code.value == pytest.approx(plain.value, abs=1e-13)


def test_through_a_linear_generator_the_gradient_is_g_transposed_w() -> None:
    matrix = torch.randn(20, 7, generator=RNG, dtype=torch.float64)
    start = torch.randn(7, generator=RNG, dtype=torch.float64)
    listening = Listening(lambda codes: as_image(codes @ matrix.T))
    ascend(linear, [Task(Recipe(Code(listening, begins=start), Constant(LEVELS**2), 2))], SPACE)
    torch.testing.assert_close(listening.codes[0][0], start)
    torch.testing.assert_close(listening.codes[1][0] - start, matrix.T @ WEIGHT, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_code_stays_in_its_range_and_reaches_its_ends(sign: float) -> None:
    low, high = torch.tensor([0.0, -3.0, 0.0]), torch.tensor([2.0, 1.0, 7.0])
    where = Range(low, high, torch.tensor([0.0, -1.0, 0.0]), torch.tensor([1.0, -1.0, 3.0]))
    listening = Listening(lambda codes: codes.view(-1, 1, 1, 3))
    space = Space((1, 1, 3), lambda x: x, (0.0,))

    def push(images: Tensor, _units: Tensor) -> Tensor:
        return sign * images.flatten(1) @ torch.tensor([1.0, 2.0, 0.5])

    ascend(push, [Task(code_recipe(listening, where), seed=seed) for seed in range(3)], space)
    codes = torch.cat(listening.codes)
    assert (codes >= low - 1e-6).all()
    assert (codes <= high + 1e-6).all()
    torch.testing.assert_close(codes.amax(0) if sign > 0 else codes.amin(0), high if sign > 0 else low)


def test_steps_fall_to_zero_and_the_code_decays_to_its_rest() -> None:
    listening = Listening(as_image)
    ascend(linear, [Task(Recipe(Code(listening, begins=torch.zeros(20)), MeanStep(8.0, over=4), 6))], SPACE)
    moved = torch.cat(listening.codes[:6]).diff(dim=0).abs().mean(1)
    torch.testing.assert_close(moved, torch.tensor([8.0, 6.0, 4.0, 2.0, 0.0], dtype=torch.float64))
    still, rest = Listening(as_image), torch.arange(20.0)
    where = Range(rest - 100, rest + 100, rest, rest)
    ascend(lambda x, _u: 0 * x.flatten(1).sum(1), [Task(Recipe(Code(still, where), MeanStep(1.0), 4, kept=0.5))], SPACE)
    away = torch.cat([codes - rest for codes in still.codes[:4]])
    assert away[0].abs().min() > 0
    torch.testing.assert_close(away[1:], away[:-1] / 2)


def test_the_range_is_the_published_one_and_has_a_floor_where_features_can_be_negative() -> None:
    rng = np.random.default_rng(0)
    data = np.stack([rng.exponential(1.0, 500), rng.normal(2.0, 1.0, 500), np.maximum(rng.normal(0, 1, 500), -0.2)], 1)
    found = measured_range(data)
    mean, deviation = data.mean(0), data.std(0)
    np.testing.assert_allclose(found.high.numpy(), mean + 3 * deviation, rtol=1e-5)
    np.testing.assert_allclose(found.low.numpy(), [0.0, max(mean[1] - 3 * deviation[1], data[:, 1].min()), -0.2], rtol=1e-5)
    np.testing.assert_allclose(found.rest.numpy(), [0.0, mean[1], mean[2]], rtol=1e-5)
    recipe = code_recipe(as_image, found)
    assert recipe.iterations == 201
    assert recipe.kept == 0.99
    assert isinstance(recipe.rule, MeanStep)
    assert recipe.rule.step == pytest.approx(8 / 12 * float((found.high - found.low).mean()))


def test_a_code_starts_at_the_mean_and_another_seed_elsewhere() -> None:
    where = measured_range(np.random.default_rng(0).exponential(1.0, (200, 50)))
    space = Space((1, 5, 10), lambda x: x, (0.0,))
    begun = [Code(as_image, where).begin(space, None, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(begun[0], begun[1])
    assert not torch.equal(begun[0], begun[2])
    away = begun[0] - where.start
    assert float(away.std()) == pytest.approx(where.size / 12, rel=0.3)
    with pytest.raises(ValueError, match="no image"):
        Code(as_image, where).begin(space, torch.zeros(1, 5, 10), torch.Generator())
    with pytest.raises(ValueError, match="neither"):
        Code(as_image).begin(space, None, torch.Generator())


@pytest.mark.parametrize(
    ("shape", "most", "size"), [((3, 224, 224), 96, (96, 96)), ((1, 28, 28), 96, (28, 28)), ((3, 50, 200), 96, (24, 96))]
)
def test_the_net_gives_images_of_the_size_that_is_stated(shape: Any, most: int, size: tuple[int, int]) -> None:
    assert output_size(shape, most) == size
    sides = pyramid(size)
    assert max(sides[0]) <= 7
    assert all(fine[k] in (2 * coarse[k], 2 * coarse[k] - 1) for coarse, fine in pairwise(sides) for k in (0, 1))
    made = UpConv(5, shape[0], size, 4)(torch.randn(2, 5))
    assert made.shape == (2, shape[0], *size)
    assert 0 <= made.min() <= made.max() <= 1
    assert resized(made, shape[1:]).shape == (2, *shape)


def test_multiplications_are_those_of_the_net() -> None:
    size = (13, 9)
    counted = [0]

    def count(module: Any, _given: Any, out: Tensor) -> None:
        counted[0] += module.weight.numel() * out[0].numel() // out.shape[1]

    upconv = UpConv(5, 3, size, 4).eval()
    for module in upconv.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    upconv(torch.zeros(1, 5))
    assert counted[0] == multiplications(5, 3, size, 4)
    target = load_target(net(), preprocess=PREPROCESS, device="cpu")
    assert width_of(target) == 6
    cost = training_work(target, 6, Wanted(steps=10, batch=4, width=4))
    assert cost.gradients == cost.forwards == 40
    assert cost.multiplications == pytest.approx(BESIDE * 3 * 40 * multiplications(6, 3, (16, 16), 4))
    assert training_work(target, 6, Wanted(steps=10, batch=4, matching=0.0)).gradients == 0, "the target is not asked"


class Data:
    """Pictures of one bright and one dark colour, cut at some row: features of a random net give the colours away."""

    def __init__(self, n: int = 40) -> None:
        rng = np.random.default_rng(0)
        colours = rng.integers(0, 256, (n, 1, 1, 3))
        self.bytes = np.broadcast_to(colours, (n, 16, 16, 3)).astype(np.uint8)
        self.samples = [SimpleNamespace(key=f"{i:064x}:0", name=f"{i}.png") for i in range(n)]

    def __len__(self) -> int:
        return len(self.bytes)

    def pixels(self, positions: Any) -> Any:
        return self.bytes[np.asarray(positions)]


@pytest.fixture(scope="module")
def world() -> tuple[Any, Any, Any]:
    target, data = load_target(net(), preprocess=PREPROCESS, device="cpu"), Data()
    images = torch.from_numpy(data.bytes).permute(0, 3, 1, 2)
    return target, data, target.look(PREPROCESS.normalise(images)).features.numpy()


def begun(world: Any, steps: int, **settings: Any) -> Any:
    target, data, features = world
    lesson = inverse_lesson(Wanted(steps=steps, batch=8, width=4, **settings), features, np.arange(8, 40), 8)
    torch.manual_seed(3)
    return lesson.start(target, data, 0)


def trained(learner: Any, steps: range) -> list[float]:
    losses = []
    for index in steps:
        torch.manual_seed(index)
        losses.append(learner.step(index))
    return losses


def test_it_learns_to_invert_features_that_give_the_image_away() -> None:
    data = Data()
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    target = load_target(model, preprocess=PREPROCESS, device="cpu")
    features = target.look(PREPROCESS.normalise(torch.from_numpy(data.bytes).permute(0, 3, 1, 2))).features.numpy()
    learner = begun((target, data, features), 120, rate=5e-3)
    losses = trained(learner, range(120))
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    images = torch.from_numpy(data.bytes[:8]).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        made = learner.module.eval()(torch.from_numpy(features[:8]))
    mean = learner.module.average
    torch.testing.assert_close(mean, (torch.from_numpy(data.bytes[8:]).permute(0, 3, 1, 2) / 255).mean(0), rtol=0, atol=1e-5)
    assert (made - images).square().mean() < 0.5 * (mean - images).square().mean(), "of images it has not seen"


def test_the_loss_is_what_it_says(world: tuple[Any, Any, Any]) -> None:
    target, data, features = world
    learner = begun(world, 10, matching=0.5)
    torch.manual_seed(0)
    drawn = np.arange(8, 40)[torch.randint(32, (8,)).numpy()]
    images = torch.from_numpy(data.bytes[drawn]).permute(0, 3, 1, 2) / 255
    made = learner.module(torch.from_numpy(features[drawn])).detach()  # in training mode, as the step does it
    every = torch.from_numpy(data.bytes[8:]).permute(0, 3, 1, 2) / 255
    expected = float((made - images).square().mean() / (every - every.mean(0)).square().mean())
    for found, wanted in zip(seen(target, made, learner.layers), seen(target, images, learner.layers), strict=True):
        expected += 0.5 * float((found - wanted).square().sum() / wanted.square().sum())
    torch.manual_seed(0)
    assert learner.step(0) == pytest.approx(expected, rel=1e-4)


def test_what_is_matched_ends_with_the_features_of_the_pass(world: tuple[Any, Any, Any]) -> None:
    target, data, features = world
    images = torch.from_numpy(data.bytes[:5]).permute(0, 3, 1, 2) / 255
    found = seen(target, images, matched_layers(target))
    torch.testing.assert_close(found[-1], torch.from_numpy(features[:5]), rtol=1e-4, atol=1e-5)
    headless = load_target(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), preprocess=PREPROCESS, device="cpu", task="features")
    given = headless.look(PREPROCESS.normalise(images)).features
    torch.testing.assert_close(seen(headless, images, matched_layers(headless))[-1], given, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_goes_on_to_the_same_losses(world: tuple[Any, Any, Any]) -> None:
    whole = begun(world, 8)
    losses = trained(whole, range(8))
    first = begun(world, 8)
    trained(first, range(5))
    state = first.save()
    again: Inverse = begun(world, 8)
    again.load(state)
    assert trained(again, range(5, 8)) == losses[5:]
    assert torch.equal(whole.module.state_dict()["last.weight"], again.module.state_dict()["last.weight"])
