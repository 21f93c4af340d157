"""Guided backprop and deconvnet against hand-computed nets, and on the architectures where module hooks fail silently."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.errors import UsageError
from auditor.methods.guided import deconvnet, guided_backprop, ruled
from auditor.methods.saliency import gradient
from tests.methods.modern_nets import NINE, Counted, cosine, modern

SLOW = ("inception_v3", "efficientnet_v2_s", "vit_b_16", "maxvit_t")


class TwoLayers(nn.Module):
    """Scores (0, v relu(W x)) of an image of four pixels."""

    def __init__(self, w: Tensor, v: Tensor) -> None:
        super().__init__()
        self.w, self.v = nn.Parameter(w), nn.Parameter(v)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(x.flatten(1) @ self.w.T)
        z = torch.relu(hidden) @ self.v
        return torch.stack([torch.zeros_like(z), z], 1)


def test_the_three_rules_by_hand() -> None:
    w = torch.tensor([[1.0, -2.0, 0.0, 3.0], [-1.0, 0.0, 0.0, -1.0], [0.5, 1.0, -1.0, 0.0]])
    v = torch.tensor([2.0, 3.0, -4.0])
    x = torch.tensor([1.0, 1.0, 0.5, 1.0]).view(1, 1, 2, 2)
    # hidden = relu(2, -2, 1): the first and the third fire; the score's gradient at them is v
    model = TwoLayers(w, v)
    plain = (2.0 * w[0] - 4.0 * w[2]).view(1, 1, 2, 2)
    guided = (2.0 * w[0]).view(1, 1, 2, 2)
    deconv = (2.0 * w[0] + 3.0 * w[1]).view(1, 1, 2, 2)
    torch.testing.assert_close(gradient(model, x, 1), plain)
    torch.testing.assert_close(guided_backprop(model, x, 1), guided)
    torch.testing.assert_close(deconvnet(model, x, 1), deconv)


def test_in_an_all_positive_net_the_rules_agree() -> None:
    model, x = TwoLayers(torch.rand(5, 4), torch.rand(5)), torch.rand(3, 1, 2, 2)
    plain = gradient(model, x, 1)
    assert plain.abs().max() > 0
    torch.testing.assert_close(guided_backprop(model, x, 1), plain)
    torch.testing.assert_close(deconvnet(model, x, 1), plain)


class Mixed(nn.Module):
    """One ReLU module used twice and in place, functional ones, ReLU6 and a clamp: six rectifiers, one module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.conv1(x))
        x = self.act(self.conv2(x))
        x = functional.relu6(self.conv2(x))
        x = functional.silu(self.conv2(x))
        x = self.conv2(x).clamp(min=0)
        x = functional.gelu(self.conv2(x))
        return self.fc(x.mean((2, 3)))


def test_reused_functional_and_in_place_rectifiers_are_all_reached() -> None:
    torch.manual_seed(0)
    model, x = Mixed().eval().requires_grad_(False), torch.randn(2, 3, 8, 8)
    found, counts = ruled(model, x, 1)
    assert (counts.total, counts.reached) == (6, 6)
    plain = gradient(model, x, 1)
    assert plain.abs().max() > 0
    assert (found - plain).abs().max() > 0.1 * plain.abs().max()
    torch.testing.assert_close(gradient(model, x, 1), plain, msg="no hook stays behind")


def test_a_net_without_a_rectifier_has_none() -> None:
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.randn(1, 3, 2, 2)
    found, counts = ruled(model, x, 1)
    assert counts.total == 0
    torch.testing.assert_close(found, gradient(model, x, 1))


def test_an_unknown_rule_and_a_batch() -> None:
    torch.manual_seed(0)
    model, x = Mixed().eval(), torch.randn(5, 3, 8, 8)
    with pytest.raises(UsageError, match="guided or deconvnet"):
        ruled(model, x, 1, rule="magic")  # type: ignore[arg-type]
    torch.testing.assert_close(guided_backprop(model, x, 1, batch=2), guided_backprop(model, x, 1, batch=5))


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NINE])
def test_on_modern_nets_every_rectifier_is_reached_and_the_map_is_another(name: str) -> None:
    model, x = modern(name)
    with Counted() as counted, torch.no_grad():
        model(x)
    plain = gradient(model, x, 3)
    found, counts = ruled(model, x, 3)
    assert plain.abs().max() > 0
    assert counts.total == counts.reached == sum(counted.found.values()) > 0
    assert cosine(found, plain) < 1 - 1e-3, "the rule has changed more than the scale"
    assert not torch.equal(found, plain)
