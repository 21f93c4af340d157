"""What a map explains: a class by number, name or rank, and the contrast of two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.attribute import METHODS, attribute
from auditor.methods.deletion import deletion
from auditor.methods.integrated_gradients import completeness, integrated_gradients
from auditor.methods.occlusion import occlusion

torch.set_num_threads(1)
A, B = torch.tensor([3, 1, 0]), torch.tensor([0, 2, 4])
SMALL: dict[str, dict[str, Any]] = {"occlusion": {"window": 4, "stride": 2}}


class Difference(nn.Module):
    """Another module's scores, made into S_a - S_b of one image's pair, as its only class."""

    def __init__(self, inner: nn.Module, a: int, b: int) -> None:
        super().__init__()
        self.inner, self.a, self.b = inner, a, b

    def forward(self, x: Tensor) -> Tensor:
        scores = self.inner(x)
        return scores[:, self.a : self.a + 1] - scores[:, self.b : self.b + 1]


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 8, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(96, 5),
        )
    return layers.double().eval().requires_grad_(False)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_contrast_is_the_map_of_the_difference_of_the_scores_by_every_method(net: nn.Module, method: str) -> None:
    x, params = draw(3, 3, 12, 10), SMALL.get(method, {})
    found = attribute(net, x, (A, B), method, **params)
    pairs = zip(A.tolist(), B.tolist(), strict=True)
    own = torch.cat([attribute(Difference(net, *p), x[i : i + 1], 0, method, **params) for i, p in enumerate(pairs)])
    assert found.abs().max() > 1e-4
    torch.testing.assert_close(found, own, atol=1e-12, rtol=1e-9)
    assert (found - attribute(net, x, A, method, **params)).abs().max() > 1e-4


@pytest.mark.parametrize("method", ["gradient_x_input", "integrated_gradients", "smoothgrad", "occlusion"])
def test_of_a_linear_method_it_is_the_difference_of_the_two_maps(net: nn.Module, method: str) -> None:
    x, params = draw(3, 3, 12, 10), SMALL.get(method, {})
    both, first, other = (attribute(net, x, t, method, **params) for t in ((A, B), A, B))
    torch.testing.assert_close(both, first - other, atol=1e-12, rtol=1e-9)
    assert other.abs().max() > 1e-4


def test_integrated_gradients_of_a_contrast_sum_to_the_change_of_the_difference(net: nn.Module) -> None:
    x = draw(3, 3, 12, 10)
    fine = integrated_gradients(net, x, (A, B), steps=400)
    scores = net(x) - net(torch.zeros_like(x))
    rise = scores.gather(1, A[:, None])[:, 0] - scores.gather(1, B[:, None])[:, 0]
    torch.testing.assert_close(fine.sum((1, 2, 3)), rise, atol=1e-3, rtol=1e-3)
    assert completeness(net, x, (A, B), fine).max() < 1e-2


def test_the_probability_of_a_contrast_is_between_the_two_alone(net: nn.Module) -> None:
    x = draw(3, 3, 12, 10)
    p = torch.softmax(net(x), 1)
    a, b = (p.gather(1, k[:, None])[:, 0] for k in (A, B))
    torch.testing.assert_close(occlusion(net, x, (A, B), window=4, stride=4).probability, a / (a + b))
    order = torch.arange(9)[None].expand(3, 9)
    curve = deletion(net, x, (A, B), order, cell=4, steps=3)
    torch.testing.assert_close(curve[:, 0], a / (a + b))


def test_ranks_and_names_are_the_classes_that_they_say(net: nn.Module) -> None:
    x = draw(12, 3, 12, 10)
    net[-1].bias -= net(x).mean(0)
    ranked = net(x).argsort(1, descending=True)
    assert len(set(ranked[:, 0].tolist())) > 1
    names = ("ant", "bee", "cat", "dog", "eel")

    def maps(target: Any) -> Tensor:
        return attribute(net, x, target, "saliency", names=names)

    assert torch.equal(maps("predicted"), maps(ranked[:, 0]))
    assert torch.equal(attribute(net, x, method="saliency"), maps(ranked[:, 0]))
    assert torch.equal(maps(("predicted", "runner_up")), maps((ranked[:, 0], ranked[:, 1])))
    assert torch.equal(maps("cat"), maps(2))
    assert torch.equal(maps(("dog", 1)), maps((3, 1)))
    assert not torch.equal(maps("cat"), maps("dog"))


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("fox", r"class name \(ant, bee\), got 'fox'"),
        ((1, 1), "two different classes"),
        (("predicted", torch.arange(5)), "two different classes"),
        ((1, 2, 3), "two classes .* got 3"),
        ((1, 9), r"0\.\.4"),
        ((1, 0.5), "ints"),
    ],
)
def test_what_cannot_be_asked_is_said(net: nn.Module, target: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        attribute(net, draw(5, 3, 12, 10), target, "saliency", names=("ant", "bee"))
    with pytest.raises(UsageError, match="`names` was not given"):
        attribute(net, draw(1, 3, 12, 10), "ant", "saliency")


def test_the_runner_up_needs_two_classes() -> None:
    with pytest.raises(UsageError, match="at least two classes"):
        attribute(nn.Sequential(nn.Flatten(), nn.Linear(12, 1)), torch.zeros(1, 3, 2, 2), "runner_up", "saliency")


def test_the_order_of_a_tie_is_the_lower_class_first() -> None:
    class Equal(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.mean((1, 2, 3)), x[:, 0].mean((1, 2)), x.mean((1, 2, 3))], 1) * torch.tensor([1.0, 0.0, 1.0])

    x = torch.rand(1, 3, 2, 2)
    found = attribute(Equal(), x, ("predicted", "runner_up"), "gradient_x_input")
    assert np.allclose(found.numpy(), 0), "classes 0 and 2 are equal: so is what speaks for them"
