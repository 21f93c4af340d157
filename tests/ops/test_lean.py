"""The cheap model gives the model's scores, and only what may be folded is."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.methods.attacks.worst import Budget, worst_case
from auditor.ops import lean as module
from auditor.ops.lean import Lean, lean


def norm(channels: int) -> nn.BatchNorm2d:
    """With statistics and an affine of its own, so that leaving it out shows."""
    made = nn.BatchNorm2d(channels)
    for part in (made.running_mean, made.weight, made.bias):
        nn.init.normal_(part)  # type: ignore[arg-type]
    nn.init.uniform_(made.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return made


class Net(nn.Module):
    """A grouped and a plain convolution, each with its norm, a residual, and one of the ways in which a norm may not be folded."""

    def __init__(self, kind: str = "plain") -> None:
        super().__init__()
        self.kind = kind
        self.a, self.na = nn.Conv2d(3, 8, 3, padding=1, bias=False), norm(8)
        self.b, self.nb = nn.Conv2d(8, 8, 3, padding=1, groups=4), norm(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.na(self.a(x)))
        if self.kind == "by hand":
            y = functional.batch_norm(self.b(x), self.nb.running_mean, self.nb.running_var, self.nb.weight, self.nb.bias)
        elif self.kind == "read twice":
            y = self.b(x)
            y = self.nb(y) + y
        elif self.kind == "called twice":
            y = self.nb(self.b(self.nb(self.b(x))))
        else:
            y = self.nb(self.b(x))
        scores: Tensor = self.head(functional.relu(x + y).mean((2, 3)))
        return scores + torch.rand_like(scores) if self.kind == "random" else scores


def made(kind: str) -> tuple[Net, Tensor]:
    """The net in float64, and images."""
    torch.manual_seed(3)
    return Net(kind).double().eval(), torch.rand(6, 3, 9, 9, dtype=torch.float64)


def norms(net: nn.Module) -> list[str]:
    """Where batch norms are left."""
    return [name for name, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize(("kind", "left"), [("plain", []), ("read twice", ["nb"]), ("called twice", ["nb"])])
def test_the_scores_are_the_models_own(kind: str, left: list[str]) -> None:
    net, images = made(kind)
    before = copy.deepcopy(net.state_dict())
    found = lean(net, images[:2])
    assert isinstance(found, Lean)
    assert isinstance(found.fast, nn.Module)
    assert norms(found.fast) == left
    assert norms(net) == ["na", "nb"]
    with torch.no_grad():
        torch.testing.assert_close(found(images), net(images), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_the_slope_is_the_models_own() -> None:
    net, images = made("plain")
    slopes = []
    for model in (net, lean(net, images[:2])):
        at = images.clone().requires_grad_(True)
        slopes.append(torch.autograd.grad(model(at)[:, 1].sum(), at)[0])
    assert slopes[0].abs().max() > 0
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-12)


def test_what_does_not_agree_is_left_as_it_is() -> None:
    for kind in ("by hand", "random"):
        net, images = made(kind)
        assert lean(net, images[:2]) is net, kind


def test_a_model_that_cannot_be_copied_is_left_as_it_is() -> None:
    net, images = made("plain")
    net.graph = torch.ones(1, requires_grad=True) * 2  # not a leaf: deepcopy raises
    assert lean(net, images[:2]) is net


def test_a_net_without_convolutions_is_not_copied() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    assert lean(net, torch.rand(2, 3, 2, 2)) is net


def test_the_model_itself_decides_what_has_fallen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cheap model that errs everywhere: nothing may count as fallen but what the model itself gets wrong."""
    net, images = made("plain")
    with torch.no_grad():
        labels = net(images).argmax(1)

    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            scores: Tensor = -net(x)
            return scores

    monkeypatch.setattr("auditor.methods.attacks.victim.lean", lambda model, _: Lean(model, Wrong(), channels_last=False))
    found = worst_case(net, images, labels, 1e-9, normalise=lambda x: x, budget=Budget(steps=3, queries=5))
    assert not found.fallen.any()


def test_the_cpu_takes_few_images_at_once_and_large_ones_by_fours() -> None:
    assert module.at_once(torch.empty(1, 3, 32, 32)) == 32
    assert module.at_once(torch.empty(1, 3, 224, 224)) == 4
    assert module.at_once(torch.empty(1, 3, 224, 224, device="meta")) == 0
