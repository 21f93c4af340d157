"""APGD, Square, the minimal-norm walk and the worst case, against closed forms of linear models and the grids of small nets."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.attacks.apgd import apgd, apgd_targeted, checkpoints, dlr_targeted
from auditor.methods.attacks.ball import begin, length, project, steepest
from auditor.methods.attacks.gradient_sign import fgsm, pgd
from auditor.methods.attacks.minimal import minimal
from auditor.methods.attacks.run import attack
from auditor.methods.attacks.square import bumps, share, square
from auditor.methods.attacks.victim import margins
from auditor.methods.attacks.worst import ATTACKS, STANDS, UNCHANGED, Budget, worst_case
from auditor.preprocess import Geometry, Preprocess

torch.set_num_threads(1)
SHAPE = (2, 4, 4)


class Linear(nn.Module):
    """Scores (0, w x + b) in float64: class 1 is y = +1."""

    def __init__(self, size: int = 32, seed: int = 0) -> None:
        super().__init__()
        self.w = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.b = 0.1 - 0.5 * self.w.sum()

    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(1) @ self.w + self.b
        return torch.stack([torch.zeros_like(z), z], 1)


def uniform(n: int, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = SHAPE, seed: int = 1) -> Tensor:
    drawn = torch.rand((n, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * drawn


def same(x: Tensor) -> Tensor:
    return x


def net(classes: int = 5) -> nn.Module:
    torch.manual_seed(3)
    layers = (nn.Conv2d(2, 8, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(128, classes))
    return nn.Sequential(*layers).double().eval()


def world(n: int = 60, low: float = 0.0, high: float = 1.0) -> tuple[Linear, Tensor, Tensor, Tensor]:
    """(model, images, labels it gives, (n,) the margin, above 0)."""
    model, images = Linear(), uniform(n, low, high)
    z = model(images)[:, 1]
    return model, images, (z > 0).long(), z.abs()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_linear_model_falls_exactly_where_its_margin_does(norm) -> None:
    model, images, labels, margin = world(200, 0.2, 0.8)
    epsilon = 0.03 if norm == "linf" else 0.12
    reach = epsilon * (model.w.abs().sum() if norm == "linf" else model.w.norm())
    robust = margin > reach
    assert (length(uniform(1), "l2") > 0).all()
    assert 20 < int(robust.sum()) < 180
    for run in (fgsm, pgd, apgd, apgd_targeted):
        found = run(model, images, labels, epsilon, normalise=same, norm=norm)
        assert torch.equal(~found.fallen, robust), run.__name__
        assert (length(found.images - images, norm) <= epsilon + 1e-9).all()
    found = worst_case(model, images, labels, epsilon, normalise=same, norm=norm, budget=Budget(steps=20, queries=50))
    assert torch.equal(~found.fallen, robust)


def test_in_linf_clipping_at_the_border_of_the_range_is_exact() -> None:
    model, epsilon = Linear(), 0.2
    images = uniform(150).round() * 0.9 + uniform(150, 0.0, 0.1, seed=5)
    labels = (model(images)[:, 1] > 0).long()
    up = ((2 * labels[:, None] - 1) * model.w) < 0
    room = torch.where(up, 1 - images.flatten(1), images.flatten(1)).clamp_max(epsilon)
    robust = model(images)[:, 1].abs() > (model.w.abs() * room).sum(1)
    assert 0 < int(robust.sum()) < 150
    assert (robust & (model(images)[:, 1].abs() <= epsilon * model.w.abs().sum())).any(), "the border of the range saves some"
    for run in (apgd, apgd_targeted):
        assert torch.equal(~run(model, images, labels, epsilon, normalise=same).fallen, robust)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_smallest_change_of_a_linear_model_is_its_distance(norm) -> None:
    model, images, labels, margin = world(40, 0.3, 0.7)
    truth = margin / (model.w.abs().sum() if norm == "linf" else model.w.norm())
    found = minimal(model, images, labels, normalise=same, norm=norm)
    near = truth < 0.15 if norm == "linf" else truth < 0.3
    assert int(near.sum()) > 25
    assert (found.distance[near] >= truth[near] - 1e-9).all(), "nothing nearer than the border can fall"
    assert (found.distance[near] <= 1.01 * truth[near]).all()
    assert torch.allclose(length(found.images - images, norm), found.distance)
    wrong = minimal(model, images, 1 - labels, normalise=same, norm=norm)
    assert (wrong.distance == 0).all()


class Relu2(nn.Module):
    """A two-layer net of two pixels, whose every image in the ball can be tried."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 5)).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.body((x - 0.5) * 6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_worst_case_of_a_two_layer_net_is_that_of_a_grid(norm) -> None:
    steps = torch.linspace(-1, 1, 81, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 1, 1, 2)
    epsilon, fell, stood = 0.08, 0, 0
    for seed in range(4):
        model, images = Relu2(seed).eval(), uniform(25, shape=(1, 1, 2), seed=seed)
        labels = model(images).argmax(1)
        inside = epsilon * grid[length(grid, norm) <= 1]
        brute = torch.stack(
            [(model(project(image + inside, image.expand_as(inside), epsilon, norm)).argmax(1) != label).any()
             for image, label in zip(images, labels, strict=True)]
        )  # fmt: skip
        found = worst_case(model, images, labels, epsilon, normalise=same, norm=norm, budget=Budget(steps=30, queries=300))
        assert (found.fallen >= brute).all(), "it finds at least what the grid finds"
        extra = found.fallen & ~brute
        assert (model(found.images[extra]).argmax(1) != labels[extra]).all()
        assert int(extra.sum()) <= 1, "the grid is fine"
        fell, stood = fell + int(brute.sum()), stood + int((~found.fallen).sum())
    assert fell > 10
    assert stood > 10


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["pgd", "apgd", "apgd_t", "square"])
def test_an_image_keeps_to_its_ball_and_does_not_depend_on_its_batch(name, norm) -> None:
    model, images = net(), uniform(8)
    labels = model(images).argmax(1)
    run = {"pgd": pgd, "apgd": apgd, "apgd_t": apgd_targeted, "square": square}[name]
    more = {"queries": 60} if name == "square" else {"steps": 9}
    epsilon = 0.04 if norm == "linf" else 0.2
    whole = run(model, images, labels, epsilon, normalise=same, norm=norm, seeds=range(8), batch=3, **more)
    assert 0 < int(whole.fallen.sum()) < 8
    assert (length(whole.images - images, norm) <= epsilon + 1e-9).all()
    assert whole.images.min() >= 0
    assert whole.images.max() <= 1
    assert torch.equal(whole.fallen, model(whole.images).argmax(1) != labels)
    for i in range(8):
        alone = run(
            model, images[i : i + 1], labels[i : i + 1], epsilon, normalise=same, norm=norm, seeds=[i], **more
        )  # fmt: skip
        assert torch.allclose(alone.images[0], whole.images[i], atol=1e-12)
        assert int(alone.steps) == int(whole.steps[i])


@pytest.mark.parametrize("name", ["pgd", "apgd", "square"])
def test_what_has_fallen_leaves_the_batch_at_once(name) -> None:
    model, images = net(), uniform(30)
    labels = model(images).argmax(1)
    sizes: list[int] = []

    def counted(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return model(x)

    if name == "pgd":
        found = pgd(counted, images, labels, 0.05, normalise=same, steps=20, eight_bits=False)
    elif name == "apgd":
        found = apgd(counted, images, labels, 0.05, normalise=same, steps=20)
    else:
        found = square(counted, images, labels, 0.05, normalise=same, seeds=range(30), queries=40)
    assert found.fallen.any()
    extra = int(found.fallen.sum())  # each fallen image is looked at once more, in 8 bits
    starts = 0 if name == "square" else 30
    assert sum(sizes) == int(found.steps.sum()) + starts + extra


def test_apgd_looks_at_its_step_where_the_paper_says() -> None:
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)


def test_the_targeted_loss_is_blind_to_shift_and_scale_and_is_what_the_paper_says() -> None:
    scores = torch.tensor([[4.0, 1.0, 3.0, 0.0, 2.0]], dtype=torch.float64)
    rise = dlr_targeted(torch.tensor([0]), torch.tensor([1]))
    rows = torch.zeros(1, dtype=torch.long)
    assert rise(scores, rows).item() == pytest.approx((1 - 4) / (4 - (2 + 1) / 2))
    assert rise(1000 * scores - 7, rows).item() == pytest.approx(rise(scores, rows).item())
    assert rise(scores[:, :3], rows).item() == -3


def test_apgd_halves_its_step_and_goes_on_from_the_best() -> None:
    """On a kinked valley a fixed step of 2 epsilon jumps to and fro; the halved one comes to the rim."""

    class Valley(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            v = x.flatten(1)[:, 0] - 0.5
            z = 0.0123 - (v - 0.0173).abs()
            return torch.stack([torch.zeros_like(z), z - 0.0122], 1)

    image, label = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64), torch.zeros(1, dtype=torch.long)
    found = apgd(Valley(), image, label, 0.1, normalise=same, steps=100)
    assert found.fallen.item()
    assert abs(found.images.item() - 0.5173) < 1e-4


def test_square_is_the_papers() -> None:
    assert [share(q, 10_000) for q in (0, 10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001)] == [
        0.8, *(0.8 / 2**k for k in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9))
    ]  # fmt: skip
    assert share(26, 5000) == 0.2
    for side in (3, 5, 9):
        bump = bumps(side)
        assert bump.square().sum().item() == pytest.approx(1)
        assert (bump[: side // 2] >= 0).all()
        assert (bump[side // 2 :] <= 0).all()


def test_square_only_goes_down_and_beats_a_model_without_gradients() -> None:
    class Stairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Linear()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner((x * 255).round() / 255)

    model, images, epsilon = Stairs(), uniform(40, 0.2, 0.8), 0.05
    labels = model(images).argmax(1)
    lows: list[float] = []
    assert not apgd(model, images, labels, epsilon, normalise=same, steps=10).fallen.any()
    found = square(model, images, labels, epsilon, normalise=same, seeds=range(40), queries=400)
    true = margins(model(images), labels) <= epsilon * model.inner.w.abs().sum()
    assert (found.fallen <= (margins(model(images), labels) <= (epsilon + 1 / 255) * model.inner.w.abs().sum())).all()
    assert found.fallen.sum() >= 0.9 * true.sum()
    for queries in (1, 20, 400):
        at = square(model, images[:1], 1 - labels[:1] * 0 - 1 + labels[:1], 1e-4, normalise=same, seeds=[0], queries=queries)
        lows.append(margins(model(at.images), labels[:1]).item())
    assert all(a >= b for a, b in itertools.pairwise(lows))


def test_square_does_not_ask_for_the_image_that_it_has() -> None:
    asked: list[Tensor] = []

    def indifferent(x: Tensor) -> Tensor:
        asked.append(x.clone())
        return torch.tensor([[1.0, 0.0]]).repeat(len(x), 1)

    images, labels = torch.full((3, 1, 4, 4), 0.5), torch.zeros(3, dtype=torch.long)
    found = square(indifferent, images, labels, 0.1, normalise=same, seeds=range(3), queries=200)
    first = {x.numpy().tobytes() for x in asked[0]}  # nothing lowers the margin: the first stays the best
    later = [x for batch in asked[1:] for x in batch]
    assert len(first) == 3
    assert len(later) == found.steps.sum() - 3
    assert 300 < len(later) < 590  # a pixel of one channel is there already half of the time
    assert all(x.numpy().tobytes() not in first for x in later)


def test_the_worst_case_says_which_attack_it_was_and_spares_what_fell() -> None:
    model, images = net(), uniform(40)
    labels = model(images).argmax(1)
    labels[:5] = (labels[:5] + 1) % 5
    whole = worst_case(model, images, labels, 0.04, normalise=same, attacks=ATTACKS, budget=Budget(steps=10, queries=30))
    assert (whole.by[:5] == UNCHANGED).all()
    assert (whole.steps[:5] == 0).all()
    assert set(whole.by[5:].tolist()) >= {0, STANDS}
    assert torch.equal(whole.fallen, model(whole.images).argmax(1) != labels)
    only = worst_case(model, images, labels, 0.04, normalise=same, attacks=("pgd",), budget=Budget(steps=10))
    assert (whole.fallen >= only.fallen).all()
    assert (whole.steps[only.fallen] == only.steps[only.fallen]).all()
    with pytest.raises(ValueError, match="attacks among"):
        worst_case(model, images, labels, 0.04, normalise=same, attacks=("fab",))


def test_restarts_find_what_one_start_does_not() -> None:
    class Pit(nn.Module):
        """Falls in a narrow pit off the image; at the image itself the slope leads away from it."""

        def forward(self, x: Tensor) -> Tensor:
            v = x.flatten(1)[:, 0]
            z = torch.where(v < 0.47, (v - 0.45).abs() - 0.01, 1.0 - v)
            return torch.stack([z, torch.zeros_like(z)], 1)

    images, labels = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64), torch.zeros(1, dtype=torch.long)
    assert not pgd(Pit(), images, labels, 0.1, normalise=same).fallen.item()
    assert pgd(Pit(), images, labels, 0.1, normalise=same, seeds=[0], restarts=12).fallen.item()
    with pytest.raises(ValueError, match="seeds"):
        pgd(Pit(), images, labels, 0.1, normalise=same, restarts=2)


def test_random_starts_lie_in_the_ball_and_unit_steps_have_unit_length() -> None:
    images = uniform(20)
    for norm in ("linf", "l2"):
        start = begin(images, 0.3, range(20), norm)
        assert (length(start - images, norm) <= 0.3 + 1e-9).all()
        assert (length(start - images, norm) > 0.001).all()
        assert torch.allclose(length(steepest(images - 0.5, norm), norm), torch.ones(20, dtype=torch.float64))
    assert not steepest(torch.zeros_like(images), "l2").any()


class Unit(nn.Module):
    """Two classes of 3 x 8 x 8 images, behind a normalisation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.9), nn.Flatten(), nn.Linear(144, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@pytest.mark.parametrize("method", ["fgsm", "pgd", "apgd", "apgd_t", "square", "worst", "minimal"])
def test_the_public_attack_bounds_pixels_and_leaves_the_model_alone(method) -> None:
    model, images = Unit().train(), uniform(6, shape=(3, 8, 8)).float()
    preprocess = Preprocess(Geometry(), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    with torch.no_grad():
        labels = model.eval()(preprocess.normalise(images)).argmax(1)
    model.train()
    more = {"queries": 40} if method in ("square", "worst") else {}
    more |= {"steps": 8} if method == "worst" else {}
    found = attack(model, images, labels, eps=0.05, method=method, preprocess=preprocess, **more)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert found.images.shape == images.shape
    if method != "minimal":
        assert (found.images - images).abs().max() <= 0.05 + 1e-6
    with torch.no_grad():
        fell = model.eval()(preprocess.normalise(found.images)).argmax(1) != labels
    near = (found.images - images).abs().flatten(1).amax(1) <= 0.05
    assert torch.equal(found.fooled, fell & near if method == "minimal" else fell)
    assert found.fooled.any()
    assert attack(model, images, 1, eps=0.05).images.shape == images.shape


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "fab"}, "attack among"),
        ({"norm": "l1"}, "norm 'linf' or 'l2'"),
        ({"eps": -1}, "eps >= 0"),
        ({"eps": math.nan}, "eps >= 0"),
        ({"queries": 3}, "parameters of pgd among"),
        ({"images": torch.full((2, 3, 8, 8), -1.5)}, r"images in \[0,1\]"),
        ({"labels": 7}, "target classes within"),
        ({"images": torch.zeros(3, 8, 8)}, "float tensor"),
    ],
)
def test_the_public_attack_says_what_it_expected(given, said) -> None:
    arguments = {"images": torch.rand(2, 3, 8, 8), "labels": 0} | given
    with pytest.raises(UsageError, match=said):
        attack(Unit(), **arguments)
