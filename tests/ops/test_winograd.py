"""By fewer multiplications the same comes out as of a direct convolution, forwards and backwards, and only where it pays."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from auditor.ops import winograd
from auditor.ops.lean import cheaper, lighter
from auditor.ops.winograd import Convolution, Kernel, gain, matrices, pays, stand_in, takes

EXACT = 1e-12
"""Of the largest value, in float64."""


def drawn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, of the largest value."""
    assert found.shape == wanted.shape
    assert wanted.abs().max() > 0
    return float((found - wanted).abs().max() / wanted.abs().max())


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(1, 5),
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    channels=st.integers(1, 5),
    outputs=st.integers(1, 5),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    biased=st.booleans(),
    last=st.booleans(),
    room=st.sampled_from([1, 20_000, winograd.ROOM]),
)
def test_it_is_the_convolution_forwards_and_backwards(
    count: int,
    height: int,
    width: int,
    channels: int,
    outputs: int,
    padding: tuple[int, int],
    biased: bool,
    last: bool,
    room: int,
) -> None:
    """At every size, cut into parts or not: what is left of the last tile is no part of the maps."""
    if height + 2 * padding[0] < 3 or width + 2 * padding[1] < 3:
        return
    maps = drawn(count, channels, height, width).contiguous(
        memory_format=torch.channels_last if last else torch.contiguous_format
    )
    weight, bias = drawn(outputs, channels, 3, 3, seed=1), drawn(outputs, seed=2) if biased else None
    one, two = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    wanted = functional.conv2d(one, weight, bias, padding=padding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "ROOM", room)
        found = Kernel(weight)(two, bias, padding)
        assert apart(found.detach(), wanted.detach()) < EXACT
        slope = drawn(*wanted.shape, seed=3)
        assert apart(*(torch.autograd.grad(y, x, slope)[0] for y, x in ((found, two), (wanted, one)))) < EXACT


def test_gradcheck() -> None:
    kernel = Kernel(drawn(2, 3, 3, 3))
    assert torch.autograd.gradcheck(lambda x: kernel(x, None, (1, 0)), drawn(2, 3, 5, 6).requires_grad_())


def test_the_error_in_float32_is_small() -> None:
    maps, weight = drawn(4, 256, 14, 14).relu(), drawn(256, 256, 3, 3, seed=1) / 48
    exact = functional.conv2d(maps, weight, padding=1)
    found = Kernel(weight.float())(maps.float(), None, (1, 1))
    error = float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt())
    assert 0 < error < 2e-6


def test_the_matrices_are_those_of_minimal_filtering() -> None:
    """In one dimension, eq. 6: A^T [(G g) * (B^T d)] are the sums of the filter laid over the inputs."""
    down, taps, up = matrices()
    inputs, filters = drawn(6), drawn(3, seed=1)
    found = up @ ((taps @ filters) * (down @ inputs))
    assert torch.allclose(found, inputs.unfold(0, 3, 1) @ filters, rtol=0, atol=EXACT)


def test_it_is_taken_where_many_channels_meet_many_tiles() -> None:
    assert gain(8, 28, 28, 512, 512) > gain(8, 14, 14, 256, 256) > 1.4 > 1 > gain(8, 32, 32, 16, 16)
    assert gain(1, 8, 8, 512, 512) < 1 < gain(16, 8, 8, 512, 512), "the weight is loaded 36 places at a time, for how many tiles?"


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


@pytest.mark.parametrize("make", [lighter, cheaper])
def test_a_model_takes_the_cheaper_way_and_says_the_same(
    net: Net, make: Callable[[nn.Module, Tensor], nn.Module | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, calls, own = drawn(4, 3, 64, 64, dtype=torch.float32), list[int](), Kernel.convolved

    def counted(self: Kernel, maps: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        calls.append(len(maps))
        return own(self, maps, bias, padding)

    monkeypatch.setattr(Kernel, "convolved", counted)
    before = copy.deepcopy(net.state_dict())
    fast = make(net, images)
    assert fast is not None
    assert replaced(fast) == ["a", "b"]
    assert replaced(net) == []
    assert calls, "it was replaced and takes the direct way"
    slopes = []
    for model in (net, fast):
        leaf = images.clone().requires_grad_()
        scores = model(leaf)
        slopes.append((scores.detach(), torch.autograd.grad(scores.square().sum(), leaf)[0]))
    assert all(apart(found, wanted) < 1e-4 for found, wanted in zip(*reversed(slopes), strict=True))
    assert all(torch.equal(held, before[name]) for name, held in net.state_dict().items())


def test_a_light_model_shares_its_weights_and_shows_every_layer(net: Net) -> None:
    fast = lighter(net, drawn(1, 3, 64, 64, dtype=torch.float32))
    assert {held.data_ptr() for held in fast.parameters()} == {held.data_ptr() for held in net.parameters()}
    assert [name for name, _ in fast.named_modules()] == [name for name, _ in net.named_modules()]


def test_what_cannot_be_replaced_stays() -> None:
    conv = nn.Conv2d(128, 128, 3, padding=1)
    assert takes(conv)
    handle = conv.register_forward_hook(lambda *_: None)
    assert not takes(conv), "its hook would be lost"
    handle.remove()
    for other in (nn.Conv2d(8, 8, 3, padding="same"), nn.Conv2d(8, 8, 3, padding_mode="reflect", padding=1), nn.Conv2d(8, 8, 5)):
        assert not takes(other)
    assert stand_in(nn.Sequential(nn.Linear(3, 3))) == 0
    assert not pays(drawn(8, 128, 28, 28).half(), drawn(128, 128, 3, 3).half(), (1, 1))


def test_weights_that_learn_take_the_direct_way() -> None:
    """No gradient of the weight goes through the transforms."""
    conv = nn.Conv2d(128, 128, 3, padding=1)
    made = Convolution.of(conv)
    maps = drawn(8, 128, 28, 28, dtype=torch.float32)
    assert pays(maps, conv.weight, (1, 1))
    made(maps).square().mean().backward()
    assert conv.weight.grad is not None
    assert conv.weight.grad.abs().max() > 0
