"""A truncated forward gives what a hook sees, computes nothing above it, and leaves no hook."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from auditor.errors import TargetError
from auditor.ops.truncate import truncated


class Net(nn.Module):
    """Uses one rectifier twice, in place; swallows every Exception; counts how often its end is reached."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.act = nn.ReLU(inplace=True)
        self.pair = nn.MaxPool2d(2, return_indices=True)
        self.head, self.unused = nn.Linear(5, 2), nn.Identity()
        self.ends = 0

    def forward(self, x: Tensor) -> Tensor:
        try:
            x = self.act(self.b(self.act(self.a(x))))
        except Exception:  # noqa: BLE001 - what a model may do
            x = torch.zeros(len(x), 5, 4, 4)
        x, _ = self.pair(x)
        x = self.head(x.mean((2, 3)))
        self.ends += 1
        return x


def hooks(net: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.mark.parametrize("layer", ["a", "act", "act#1", "b", "head"])
def test_equals_the_hooked_activation(net: Net, layer: str) -> None:
    x = torch.randn(2, 3, 8, 8)
    seen: dict[str, list[Tensor]] = {}
    handles = [
        m.register_forward_hook(lambda _m, _i, o, n=n: seen.setdefault(n, []).append(o.clone()))
        for n, m in net.named_children()
        if n != "pair"
    ]
    net(x)
    for handle in handles:
        handle.remove()
    name, _, call = layer.partition("#")
    ends = net.ends
    assert torch.equal(truncated(net, x, layer), seen[name][int(call or 0)])
    assert net.ends == ends
    assert hooks(net) == 0


def test_input_side_and_gradient(net: Net) -> None:
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    features = truncated(net, x, "head", side="input")
    assert torch.allclose(net.head(features), net(x))
    (slope,) = torch.autograd.grad(features.sum(), x)
    assert slope.abs().sum() > 0
    assert torch.equal(truncated(net, x, ""), net(x))


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        ("nowhere", "expected a layer"),
        ("act#x", "expected a layer"),
        ("unused", "did not"),
        ("a#1", "did not"),
        ("pair", "got tuple"),
    ],
)
def test_layers_that_cannot_be_given(net: Net, layer: str, said: str) -> None:
    with pytest.raises(TargetError, match=said):
        truncated(net, torch.randn(1, 3, 8, 8), layer)
    assert hooks(net) == 0


def test_an_error_of_the_model_leaves_no_hook(net: Net) -> None:
    net.pair.forward = lambda x: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        truncated(net, torch.randn(1, 3, 8, 8), "head")
    assert hooks(net) == 0
