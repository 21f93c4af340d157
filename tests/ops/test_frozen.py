"""A convolution with a frozen weight says the same by the cheapest way, forwards and backwards, and only such are replaced."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import auditor
from auditor.ops import frozen, winograd
from auditor.ops.frozen import Convolution, Weight, laid_out_bytes, stand_in, takes
from auditor.ops.lean import cheaper, lighter
from auditor.ops.truncate import truncated
from auditor.ops.winograd import Kernel, pays
from tests.ops.compared import EXACT, apart, drawn


@settings(deadline=None, max_examples=60)
@given(
    sides=st.tuples(st.integers(5, 13), st.integers(5, 13)),
    kernel=st.sampled_from([(1, 1), (3, 3), (3, 5), (2, 4)]),
    dilation=st.sampled_from([(1, 1), (2, 1)]),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    fewer=st.booleans(),
)
def test_it_is_the_convolution_forwards_and_backwards(
    sides: tuple[int, int], kernel: tuple[int, int], dilation: tuple[int, int], padding: tuple[int, int], fewer: bool
) -> None:
    if any(p > d * (k - 1) for p, d, k in zip(padding, dilation, kernel, strict=True)):
        return
    maps, values, bias = drawn(2, 3, *sides), drawn(4, 3, *kernel, seed=1), drawn(4, seed=2)
    one, two = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    wanted = functional.conv2d(one, values, bias, 1, padding, dilation)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "pays", lambda *_: fewer)
        found = Weight(values, dilation)(two, bias, padding)
        assert apart(found.detach(), wanted.detach()) < EXACT
        slope = drawn(*wanted.shape, seed=3)
        assert apart(*(torch.autograd.grad(y, x, slope)[0] for y, x in ((found, two), (wanted, one)))) < EXACT


def test_gradcheck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "pays", lambda *_: True)
    weight = Weight(drawn(2, 3, 3, 3), (1, 1))
    assert torch.autograd.gradcheck(lambda x: weight(x, None, (1, 0)), drawn(2, 3, 5, 6).requires_grad_())


def test_a_weight_is_laid_out_once_for_maps_of_every_size() -> None:
    weight, maps = (
        Weight(drawn(24, 32, 3, 3, dtype=torch.float32), (1, 1)),
        [drawn(n, 32, 9, n + 4, dtype=torch.float32) for n in (1, 5)],
    )
    for given_maps in maps * 2:
        leaf, other = given_maps.clone().requires_grad_(), given_maps.clone().requires_grad_()
        found, wanted = weight(leaf, None, (1, 1)), functional.conv2d(other, weight.values, padding=1)
        assert apart(found.detach(), wanted.detach()) < 1e-5
        assert apart(*(torch.autograd.grad(y.square().sum(), x)[0] for y, x in ((found, leaf), (wanted, other)))) < 1e-5
    assert len(weight.made) == 2, "the weight as it is laid out, and that of the gradient"
    assert len(weight.turned.made) == 1


class Net(nn.Module):
    """Convolutions of which some can be replaced, in a residual block with everything in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 128, 3, stride=2, padding=1)
        self.a, self.norm = nn.Conv2d(128, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128)
        self.b, self.act = nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(inplace=True)
        self.other = nn.ModuleList([nn.Conv2d(128, 128, 1), nn.Conv2d(128, 128, 3, groups=2), nn.Conv2d(128, 128, 3, dilation=2)])
        self.head = nn.Linear(128, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        x = self.act(self.norm(self.a(x))) + self.act(self.b(x))
        for layer in self.other:
            x = self.act(layer(x))
        scores: Tensor = self.head(x.mean((2, 3)))
        return scores


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    made = Net().eval().requires_grad_(False)
    nn.init.uniform_(made.norm.running_var, 0.5, 2)  # type: ignore[arg-type]
    return made


def replaced(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, Convolution)]


def light(model: nn.Module, images: Tensor) -> nn.Module:
    """The copy that `lighter` makes."""
    return lighter(model, images).model


@pytest.mark.parametrize("make", [light, cheaper])
def test_a_model_takes_the_cheaper_way_and_says_the_same(
    net: Net, make: Callable[[nn.Module, Tensor], nn.Module | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, calls, own = drawn(4, 3, 64, 64, dtype=torch.float32), list[int](), Kernel.__call__

    def counted(self: Kernel, maps: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        calls.append(len(maps))
        return own(self, maps, bias, padding)

    monkeypatch.setattr(Kernel, "__call__", counted)
    before = copy.deepcopy(net.state_dict())
    fast = make(net, images)
    assert fast is not None
    assert replaced(fast) == ["a", "b", "other.0", "other.2"]
    assert replaced(net) == []
    assert calls, "it was replaced and takes the direct way"
    slopes = []
    for model in (net, fast):
        leaf = images.clone().requires_grad_()
        scores = model(leaf)
        slopes.append((scores.detach(), torch.autograd.grad(scores.square().sum(), leaf)[0]))
    (wanted, slope), (found, other) = slopes
    assert apart(found, wanted) < 1e-4
    # rounding may put a rectifier on the other side of its kink, which is felt in its receptive field alone
    assert float(((other - slope).abs() > 1e-4 * slope.abs().max()).double().mean()) < 0.02
    assert all(torch.equal(held, before[name]) for name, held in net.state_dict().items())
    again = copy.deepcopy(fast)
    assert apart(again(images), net(images)) < 1e-4, "a copy lays its weights out for itself"


class Tied(nn.Module):
    """One convolution under two names, others in a plain list as well, and one with a hook."""

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv2d(128, 128, 3, padding=1)
        self.stem, self.a, self.b = nn.Conv2d(3, 128, 3, padding=1), conv, conv
        self.convs = [nn.Conv2d(128, 128, 3, padding=1) for _ in range(2)]
        for number, held in enumerate(self.convs):
            self.add_module(f"conv{number}", held)
        self.conv1.register_forward_hook(lambda _module, _given, out: out * 0.5)  # type: ignore[union-attr,operator]

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(self.stem(x)).relu()).relu()
        for conv in self.convs:
            x = conv(x).relu()
        return x.mean((2, 3))


def test_a_light_model_shares_its_weights_and_shows_every_layer() -> None:
    torch.manual_seed(0)
    model, images = Tied().eval().requires_grad_(False), drawn(2, 3, 32, 32, dtype=torch.float32)
    found = lighter(model, images)
    assert replaced(found.model) == ["a", "conv0", "conv1"]
    assert {held.data_ptr() for held in found.model.parameters()} == {held.data_ptr() for held in model.parameters()}
    for layer in ("a", "a#1", "conv0", "conv1", ""):
        assert apart(truncated(found.model, found.prepared(images), layer), truncated(model, images, layer)) < 1e-5


class Viewed(nn.Module):
    """Bears no other layout than its own, as networks of old."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 64, 3, 2, 1), nn.Conv2d(64, 128, 3, padding=1), nn.Linear(128 * 36, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x).relu()).relu()
        found: Tensor = self.head(x.view(x.size(0), -1))
        return found


def test_a_model_that_bears_no_channels_last_is_asked_as_it_is() -> None:
    model, images = Viewed().eval(), drawn(2, 3, 12, 12, dtype=torch.float32)
    found = lighter(model, images)
    assert found.model is model
    assert torch.equal(found.model(found.prepared(images)), model(images))
    assert auditor.visualise(model, "", [1], size=12, steps=2).shape == (1, 3, 12, 12)


def test_a_weight_that_is_written_to_is_laid_out_anew() -> None:
    conv = nn.Conv2d(128, 128, 3, padding=1, bias=False).requires_grad_(False)
    assert stand_in(nn.Sequential(conv)) == 1
    maps = drawn(8, 128, 28, 28, dtype=torch.float32)
    before = conv(maps)
    with torch.no_grad():
        conv.weight.mul_(2)
    assert apart(conv(maps), 2 * before) < 1e-6
    assert conv.double()(maps.double()).dtype is torch.float64


def test_a_second_derivative_is_refused() -> None:
    weight = Weight(drawn(128, 128, 3, 3, dtype=torch.float32), (1, 1))
    for count in (1, 8):
        leaf = drawn(count, 128, 12, 12, dtype=torch.float32).requires_grad_()
        slope = torch.autograd.grad(weight(leaf, None, (1, 1)).square().sum(), leaf, create_graph=True)[0]
        with pytest.raises(RuntimeError, match="differentiat"):
            torch.autograd.grad(slope.sum(), leaf)


def test_no_images_give_no_maps() -> None:
    assert Kernel(drawn(4, 3, 3, 3))(drawn(0, 3, 6, 6), None, (1, 1)).shape == (0, 4, 6, 6)


def test_what_cannot_be_replaced_stays() -> None:
    assert takes(nn.Conv2d(128, 128, 3, padding=1))
    assert not takes(nn.Conv2d(64, 64, 3, padding=1)), "little to gain"
    kinds = ({"stride": 2}, {"groups": 2}, {"padding": "same"}, {"padding": 1, "padding_mode": "reflect"}, {"padding": 3})
    for kind in kinds:
        assert not takes(nn.Conv2d(128, 128, 3, **kind)), kind  # type: ignore[arg-type]
    assert stand_in(nn.Sequential(nn.Linear(3, 3))) == 0


def test_weights_that_learn_take_the_direct_way() -> None:
    """No gradient of the weight goes through the transforms."""
    conv = nn.Conv2d(128, 128, 3, padding=1)
    assert stand_in(nn.Sequential(conv)) == 1
    maps = drawn(8, 128, 28, 28, dtype=torch.float32)
    assert pays(maps, conv.weight, (1, 1))
    conv(maps).square().mean().backward()
    assert conv.weight.grad is not None
    assert conv.weight.grad.abs().max() > 0


def bytes_of(kernel: Kernel) -> int:
    return sum(laid.nbytes for laid in kernel.products.laid.values() if laid is not None)


def test_what_the_plan_counts_is_what_is_held(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both directions of every convolution that is replaced, in every layout; the one with gaps has fewer."""
    fast = light(net, drawn(1, 3, 64, 64, dtype=torch.float32))
    for side, count, least in ((64, 4, winograd.LEAST_GAIN), (16, 1, winograd.LEAST_GAIN), (16, 17, 0.0)):
        monkeypatch.setattr(winograd, "LEAST_GAIN", least)
        leaf = drawn(count, 3, side, side, dtype=torch.float32).requires_grad_()
        fast(leaf).sum().backward()
    held = 0
    for module in fast.modules():
        if isinstance(module, Convolution) and module.made is not None:
            held += module.made.turned.values.nbytes
            for weight in (module.made, module.made.turned):
                kept = [value for value in weight.made.values() if not isinstance(value, Weight)]
                held += sum(bytes_of(value) if isinstance(value, Kernel) else weight.values.nbytes for value in kept)
    assert 0 < held == laid_out_bytes(net)
