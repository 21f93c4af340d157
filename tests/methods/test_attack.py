"""FGSM, PGD, fooling and the sweep on linear models, whose robustness has a closed form, and on small nets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from auditor.methods.attacks.ball import stored
from auditor.methods.attacks.fooling import drawn, fooling
from auditor.methods.attacks.gradient_sign import fgsm, pgd
from auditor.methods.attacks.victim import gradient, margins
from auditor.methods.masking import WEAK, flags, weaker
from auditor.methods.robustness import Fallen, sweep

SHAPE = (2, 3, 4)
SIZE = 24


class Linear(nn.Module):
    """Scores (0, w x + b) of the image itself: class 1 is y = +1."""

    def __init__(self, seed: int = 0, b: float = 0.1) -> None:
        super().__init__()
        self.w = torch.randn(SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.b = b - 0.5 * self.w.sum()

    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(1) @ self.w + self.b
        return torch.stack([torch.zeros_like(z), z], 1)


class Masked(nn.Module):
    """A staircase: right as the linear model is, with no slope anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Linear()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x * 255).round() / 255)


def masking(found: Fallen) -> tuple[str, ...]:
    return weaker(found.fgsm.numpy(), found.pgd.numpy()) + flags({"silent": found.silent.numpy()})


def net() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(96, 5)).double().eval()


def uniform(n: int, low: float = 0.0, high: float = 1.0, seed: int = 1) -> Tensor:
    u = torch.rand((n, *SHAPE), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * u


def same(x: Tensor) -> Tensor:
    return x


def halved(x: Tensor) -> Tensor:
    return (x - 0.5) / 0.25


def signed(model: Linear, images: Tensor, labels: Tensor) -> Tensor:
    return (2 * labels - 1) * model(images)[:, 1]


@pytest.mark.parametrize("epsilon", [0.01, 0.03, 0.08])
def test_linear_margin_falls_by_epsilon_times_the_one_norm(epsilon: float) -> None:
    model, images = Linear(), uniform(60, 0.1, 0.9)
    labels = torch.randint(0, 2, (60,), generator=torch.Generator().manual_seed(2))
    before = signed(model, images, labels)
    fell = before - epsilon * model.w.abs().sum() < 0
    assert 0 < int(fell.sum()) < 60
    once = fgsm(model, images, labels, epsilon, normalise=same)
    assert torch.allclose(before - signed(model, once.images, labels), epsilon * model.w.abs().sum().expand(60))
    many = pgd(model, images, labels, epsilon, normalise=same)
    assert torch.equal(once.fallen, fell)
    assert torch.equal(many.fallen, fell)


@pytest.mark.parametrize("epsilon", [0.05, 0.15])
def test_linear_robust_accuracy_with_clipping(epsilon: float) -> None:
    model, images = Linear(), uniform(80).round() * 0.9 + uniform(80, 0.0, 0.1, seed=5)
    labels = (model(images)[:, 1] > 0).long()
    up = ((2 * labels[:, None] - 1) * model.w) < 0
    room = torch.where(up, 1 - images.flatten(1), images.flatten(1)).clamp_max(epsilon)
    robust = signed(model, images, labels) > (model.w.abs() * room).sum(1)
    assert 0 < int(robust.sum()) < 80
    assert (robust & (signed(model, images, labels) <= epsilon * model.w.abs().sum())).any(), "the border of the range saves some"
    for attack in (fgsm, pgd):
        assert torch.equal(~attack(model, images, labels, epsilon, normalise=same).fallen, robust)


@pytest.mark.parametrize("seeds", [None, range(40)])
def test_changes_are_bounded_and_valid_in_image_space(seeds) -> None:
    model, images, epsilon = net(), uniform(40), 6 / 255
    labels = model(halved(images)).argmax(1)
    for found in (
        fgsm(model, images, labels, epsilon, normalise=halved),
        pgd(model, images, labels, epsilon, normalise=halved, seeds=seeds),
    ):
        assert (found.images - images).abs().max() <= epsilon + 1e-12
        assert found.images.min() >= 0
        assert found.images.max() <= 1
        assert torch.equal(found.fallen, model(halved(found.images)).argmax(1) != labels)
        assert int(found.fallen.sum()) > 0


def test_an_image_does_not_depend_on_its_batch() -> None:
    model, images = net(), uniform(6)
    labels = model(halved(images)).argmax(1)
    whole = pgd(model, images, labels, 0.02, normalise=halved, seeds=range(6))
    for i in range(6):
        alone = pgd(model, images[i : i + 1], labels[i : i + 1], 0.02, normalise=halved, seeds=[i])
        assert torch.allclose(alone.images[0], whole.images[i], atol=1e-12)
        assert bool(alone.fallen) == bool(whole.fallen[i])


def test_stored_keeps_to_whole_levels_within_the_ball() -> None:
    origin = torch.tensor([0, 10, 128, 255.0]).view(1, 1, 1, 4) / 255
    for epsilon, levels in ((0.5 / 255, 0), (1 / 255, 1), (2 / 255, 2), (2.9 / 255, 2)):
        kept = stored((origin + epsilon).clamp(0, 1), origin, epsilon) * 255
        assert torch.allclose(kept, (origin * 255 + levels).clamp_max(255), atol=1e-3)


def test_sweep_is_monotone_and_8_bits_need_whole_levels() -> None:
    model = net()
    images = (uniform(50) * 255).round() / 255
    labels = model(halved(images)).argmax(1)
    labels[:5] = (labels[:5] + 1) % 5
    epsilons = (0.0, 0.5 / 255, 1 / 255, 4 / 255, 16 / 255)
    found = sweep(model, images, labels, epsilons, normalise=halved)
    assert found.pgd[:5].all()
    assert found.fgsm[:5].all()
    for column in (found.pgd, found.pgd_8bit):
        assert (column[:, 1:] >= column[:, :-1]).all()
    assert torch.equal(found.pgd_8bit[:, 1], found.pgd_8bit[:, 0])
    assert (found.pgd_8bit <= found.pgd).all()
    assert found.pgd[:, -1].sum() > found.pgd[:, 1].sum() > 5
    assert not found.silent.any()
    assert masking(found) == ()
    with pytest.raises(ValueError, match="rising epsilons"):
        sweep(model, images, labels, (0.1, 0.1), normalise=halved)


def test_masked_gradients_raise_the_flag() -> None:
    model, images = Masked(), uniform(10)
    labels = (model(images)[:, 1] > 0).long()
    found = sweep(model, images, labels, (0.0, 0.1), normalise=same)
    assert found.silent.all()
    assert not found.pgd.any()
    assert masking(found) == ("void: masking suspected: zero gradient on 10 of 10 images",)


def test_pgd_weaker_than_fgsm_raises_the_flag() -> None:
    class Dented(nn.Module):
        """One pixel: falls beyond 0.6, but from 0.52 on the slope points back."""

        def forward(self, x: Tensor) -> Tensor:
            v = x.flatten(1)[:, 0]
            z = torch.where(v < 0.52, 1 - v, torch.where(v < 0.595, v, -v))
            return torch.stack([z, torch.zeros_like(z)], 1)

    found = sweep(Dented(), torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, dtype=torch.long), (0.0, 0.1), normalise=same)
    assert found.fgsm[0, 1]
    assert not found.pgd[0, 1]
    assert masking(found) == (WEAK,)


def test_a_score_without_the_image_in_it_has_no_gradient() -> None:
    slope, scores = gradient(lambda x: torch.zeros(len(x), 3), uniform(2), torch.zeros(2, dtype=torch.long), same)
    assert not slope.any()
    assert scores.shape == (2, 3)


def test_margins() -> None:
    assert margins(torch.tensor([[1.0, 3.0, 2.5], [5.0, 1.0, 0.0]]), torch.tensor([1, 2])).tolist() == [0.5, -5.0]


def test_linear_fooling_takes_the_computed_number_of_steps() -> None:
    model, images, step = Linear(), uniform(20, 0.4, 0.6), 0.001
    now = model(images)[:, 1]
    targets = (now < 0).long()
    found = fooling(model, images, targets, normalise=same, step=step, max_iterations=400, eight_bits=False)
    expected = torch.ceil(now.abs() / (step * model.w.abs().sum())).long()
    assert found.fooled.all()
    assert torch.equal(found.steps, expected)
    assert torch.allclose((found.images - images).abs().amax((1, 2, 3)), expected.double() * step, atol=1e-9)


def test_fooling_reaches_the_class_in_8_bits_and_can_be_bounded() -> None:
    model = net()
    images = (uniform(12) * 255).round() / 255
    targets = (model(halved(images)).argmax(1) + 2) % 5
    found = fooling(model, images, targets, normalise=halved, margin=0.05)
    assert found.fooled.all()
    levels = found.images * 255
    assert torch.allclose(levels, levels.round(), atol=1e-6)
    assert (margins(model(halved(found.images)), targets) > 0.05).all()
    assert torch.allclose(found.scores, model(halved(found.images)))
    assert (found.steps > 0).all()
    tight = fooling(model, images, targets, normalise=halved, epsilon=1 / 255, max_iterations=8)
    assert (tight.images - images).abs().max() <= 1 / 255 + 1e-9
    assert not tight.fooled.all()
    assert (tight.steps[~tight.fooled] == 8).all()


def test_what_already_has_the_class_takes_no_step() -> None:
    model = net()
    images = (uniform(3) * 255).round() / 255
    found = fooling(model, images, model(halved(images)).argmax(1), normalise=halved)
    assert found.fooled.all()
    assert found.steps.tolist() == [0, 0, 0]
    assert torch.allclose(found.images, images)


def test_drawn_class_is_another_one_and_depends_on_the_key_alone() -> None:
    draws = [drawn(f"k{i}", 3, 5, seed=0) for i in range(200)]
    assert set(draws) == {0, 1, 2, 4}
    assert draws == [drawn(f"k{i}", 3, 5, seed=0) for i in range(200)]
    assert draws != [drawn(f"k{i}", 3, 5, seed=1) for i in range(200)]
    with pytest.raises(ValueError, match="at least 2 classes"):
        drawn("k", 0, 1, seed=0)
