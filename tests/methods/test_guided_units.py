"""Guided backprop, deconvnet and gradient of units: by hand, within their receptive field, in any layout, many at once."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.errors import TargetError, UsageError
from auditor.methods.attribute import attribute
from auditor.methods.guided import RULES, Rule, Units, unit_maps
from auditor.ops.maps import Layout
from auditor.ops.receptive_field import receptive_fields
from tests.ops.fields import Residual, conv

torch.set_num_threads(1)


class TwoLayers(nn.Module):
    """relu(V relu(W x)) of an image of four pixels; what comes after it must not be run."""

    def __init__(self, w: Tensor, v: Tensor) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(*w.T.shape, bias=False), nn.Linear(*v.T.shape, bias=False)
        self.act = nn.ReLU(inplace=True)
        with torch.no_grad():
            self.one.weight.copy_(w)
            self.two.weight.copy_(v)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.one(x.flatten(1)))
        out = self.act(self.two(hidden))
        raise AssertionError(f"the forward goes on beyond the layer {tuple(out.shape)}")


def test_the_three_rules_of_a_unit_by_hand() -> None:
    w = torch.tensor([[1.0, -2.0, 0.0, 3.0], [-1.0, 0.0, 0.0, -1.0], [0.5, 1.0, -1.0, 0.0]])
    v = torch.tensor([[0.0, 0.0, 0.0], [2.0, 3.0, -4.0]])
    x = torch.tensor([1.0, 1.0, 0.5, 1.0]).view(1, 1, 2, 2)
    # hidden = relu(2, -2, 1): the first and the third fire; unit 1 = relu(2 * 2 - 4) = 0 does not
    model, unit = TwoLayers(w, v), Units("two", 1)
    expected = {"gradient": 2.0 * w[0] - 4.0 * w[2], "guided": 2.0 * w[0], "deconvnet": 2.0 * w[0] + 3.0 * w[1]}
    for rule, value in expected.items():
        found, counts = unit_maps(model, x, unit, rule=rule)  # type: ignore[arg-type]
        torch.testing.assert_close(found, value.view(1, 1, 2, 2))
        assert (counts.total, counts.reached) == (1, 0 if rule == "gradient" else 1)
    after = {rule: unit_maps(model, x, Units("act#1", 1), rule=rule) for rule in RULES}  # the second call of a ReLU used twice
    assert not after["gradient"][0].any()
    assert not after["guided"][0].any()
    torch.testing.assert_close(after["deconvnet"][0], expected["deconvnet"].view(1, 1, 2, 2))
    assert [after[rule][1].total for rule in RULES] == [2, 2, 2]
    torch.testing.assert_close(unit_maps(model, x, Units("act", 0))[0], w[0].view(1, 1, 2, 2))  # its first call


class Deep(nn.Module):
    """ReLU as module (in place, twice), as function, and a clamp; strides, a branch, a pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2)
        self.block, self.end = Residual(8, 8, 1), nn.Conv2d(8, 5, 3, padding=2, dilation=2)
        self.act, self.fc = nn.ReLU(inplace=True), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        x = self.act(self.down(x))
        x = functional.max_pool2d(self.block(x).clamp(min=0), 2)
        return self.fc(self.end(functional.relu(x)).mean((2, 3)))


def made(kind: type[nn.Module] = Deep) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return kind().eval().requires_grad_(False)


def noise(count: int, side: tuple[int, int] = (25, 27)) -> Tensor:
    return torch.randn(count, 3, *side, generator=torch.Generator().manual_seed(0))


def test_in_an_all_positive_net_the_rules_of_a_unit_agree() -> None:
    model = copy.deepcopy(made())
    for p in model.parameters():
        p.abs_()
    x = noise(3).abs()
    found = [unit_maps(model, x, Units("end", torch.tensor([0, 4, 2]), (2, 3)), rule=rule)[0] for rule in RULES]
    assert found[0].amax((1, 2, 3)).min() > 0
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


def test_the_gradient_is_that_of_the_units_own_value_and_the_rules_differ() -> None:
    model, x = made(), noise(2)
    plain = unit_maps(model, x, Units("block", 3, (4, 5)), rule="gradient")[0]
    out: list[Tensor] = []
    handle = model.get_submodule("block").register_forward_hook(lambda _m, _a, o: out.append(o))
    leaf = x.clone().requires_grad_()
    model(leaf)
    handle.remove()
    assert (out[0][:, 3, 4, 5] > 0).all()
    torch.testing.assert_close(plain, torch.autograd.grad(out[0][:, 3, 4, 5].sum(), leaf)[0])
    guided, counts = unit_maps(model, x, Units("block", 3, (4, 5)))
    assert (counts.total, counts.reached) == (4, 4)  # stem, down, within the block, at its end; none beyond
    deconv = unit_maps(model, x, Units("block", 3, (4, 5)), rule="deconvnet")[0]
    for one, other in ((plain, guided), (plain, deconv), (guided, deconv)):
        assert (one - other).abs().max() > 0.05 * plain.abs().max()
    torch.testing.assert_close(unit_maps(model, x, Units("block", 3, (4, 5)), rule="gradient")[0], plain, msg="no hook stays")


def test_many_units_in_one_pass_are_what_each_is_alone() -> None:
    model, x = made().double(), noise(7).double()
    channels, places = (
        torch.tensor([0, 7, 3, 3, 1, 5, 2]),
        torch.tensor([[0, 0], [11, 12], [5, 6], [5, 7], [0, 12], [11, 0], [3, 3]]),
    )
    calls: list[int] = []
    handle = model.register_forward_pre_hook(lambda _m, args: calls.append(len(args[0])))
    together = unit_maps(model, x, Units("block", channels, places), batch=7)[0]
    assert calls == [7]
    pieces = unit_maps(model, x, Units("block", channels, places), batch=3)[0]
    assert calls == [7, 3, 3, 1]
    handle.remove()
    for i in range(7):
        alone = unit_maps(model, x[i : i + 1], Units("block", int(channels[i]), tuple(places[i].tolist())))[0]
        for found in (together, pieces):
            torch.testing.assert_close(found[i : i + 1], alone, rtol=1e-9, atol=1e-12)


def test_without_a_place_it_is_the_maximum_of_the_channel() -> None:
    model, x = made(), noise(4)
    with torch.no_grad():
        maps = model.block(model.act(model.down(model.act(model.stem(x)))))
    places = torch.tensor([divmod(int(m.argmax()), maps.shape[3]) for m in maps[:, 2]])
    assert len({tuple(p) for p in places.tolist()}) > 1
    found = unit_maps(model, x, Units("block", 2))[0]
    torch.testing.assert_close(found, unit_maps(model, x, Units("block", 2, places))[0])
    flat = copy.deepcopy(model)
    flat.stem.weight.zero_()  # every place of a channel is the same: the first one counts, not the mean of all
    one = unit_maps(flat, x[:1], Units("down", 2), rule="deconvnet")
    torch.testing.assert_close(one[0], unit_maps(flat, x[:1], Units("down", 2, (0, 0)), rule="deconvnet")[0])


def nets() -> dict[str, tuple[nn.Module, str]]:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return {
            "strides": (
                nn.Sequential(conv(3, 4, 3, stride=2), conv(4, 6, 5, padding=2), nn.MaxPool2d(3, 2, 1), conv(6, 5, 3)),
                "3",
            ),
            "dilation": (nn.Sequential(conv(3, 4, 3, dilation=3, padding=1), conv(4, 4, (2, 3), dilation=(4, 1))), "1"),
            "residual": (nn.Sequential(conv(3, 4, 3, padding=1), Residual(4, 6, 2), Residual(6, 6, 1)), "2"),
            "deep": (made(), "block"),
        }


NETS = nets()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETS)
def test_the_map_lies_within_the_receptive_field(name: str, rule: Rule) -> None:
    model, layer = NETS[name]
    model, x = model.eval().requires_grad_(False), noise(1, (33, 29))
    field = receptive_fields(model, x, [layer])[layer]
    assert field.status == "EXACT"
    assert field.size[0] < 29
    places = [(0, 0), (len(field.rows) - 1, len(field.columns) - 1), (len(field.rows) // 2, len(field.columns) // 2), (1, 0)]
    seen = 0
    for row, column in places:
        for channel in range(4):
            top, bottom, left, right = field.box(row, column)
            found = unit_maps(model, x, Units(layer, channel, (row, column)), rule=rule)[0][0]
            seen += int((found[:, top:bottom, left:right] != 0).any())
            found[:, top:bottom, left:right] = 0
            assert not found.any()
    assert seen >= 2


class Last(nn.Module):
    """The maps of a convolution, kept channels first, channels last, and as tokens behind a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.last, self.tokens = nn.Conv2d(3, 6, 3, padding=1), nn.Identity(), nn.Identity(), nn.Identity()
        self.vector, self.wide = nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(functional.gelu(self.stem(x)))
        y = self.last(x.permute(0, 2, 3, 1))
        z = self.tokens(torch.cat([y.new_full((len(y), 1, 6), 9.0), y.flatten(1, 2)], 1))
        self.wide(torch.stack([z, z], 1).unsqueeze(1))
        return self.vector(z.mean(1))


@pytest.mark.parametrize("rule", RULES)
def test_units_of_channels_last_and_token_layers(rule: Rule) -> None:
    model, x = made(Last), noise(3, (8, 10))
    channels = torch.tensor([5, 0, 2])
    for places in (None, torch.tensor([[0, 9], [7, 0], [3, 4]])):
        expected = unit_maps(model, x, Units("first", channels, places), rule=rule)[0]
        assert expected.any()
        for units in (
            Units("last", channels, places, Layout("last", (8, 10))),
            Units("last", channels, places),
            Units("tokens", channels, places, Layout("tokens", (8, 10), 1)),
        ):
            torch.testing.assert_close(unit_maps(model, x, units, rule=rule)[0], expected)
    column = unit_maps(model, x, Units("tokens", 2, (1 + 3 * 10 + 4, 0)), rule=rule)[0]  # without a layout: a token is a row
    torch.testing.assert_close(column, unit_maps(model, x, Units("first", 2, (3, 4)), rule=rule)[0])
    mean = unit_maps(model, x, Units("vector", 2), rule="gradient")[0]
    assert (mean != 0).float().mean() > 0.9


def test_a_unit_that_does_not_depend_on_the_image_has_an_empty_map() -> None:
    model, x = made(Last), noise(2, (8, 10))
    assert not unit_maps(model, x, Units("tokens", 0, (0, 0)))[0].any()  # the class token before any attention


class Clipped(nn.Module):
    """Two convolutions with ReLU6 behind each, in place or a clamp; the second one may be kept channels last."""

    def __init__(self, clamp: bool = False) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)
        self.act, self.clamp, self.low, self.last = nn.ReLU6(inplace=True), clamp, nn.Identity(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.low(self.act(self.one(x)))
        x = self.two(x) * 100
        x = x.clamp(0, 6) if self.clamp else self.act(x)
        return self.last(x.permute(0, 2, 3, 1))


@pytest.mark.parametrize("clamp", [False, True])
def test_a_unit_at_its_ceiling_has_the_slope_below_it(clamp: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Clipped(clamp).eval().requires_grad_(False)
    x = noise(1, (9, 9))
    with torch.no_grad():
        maps = model(x)[0].permute(2, 0, 1)
    channel, row, column = (int(n) for n in (maps == 6).nonzero()[3])
    units = Units("last", channel, (row, column), Layout("last", (9, 9)))
    assert not unit_maps(model, x, units, rule="gradient")[0].any()
    found, counts = unit_maps(model, x, units)
    assert (counts.total, counts.reached) == (2, 2)
    expected = 100 * unit_maps(model, x, Units("two", channel, (row, column)))[0]
    assert expected.any()
    torch.testing.assert_close(found, expected)
    below = (maps == 0).nonzero()[0].tolist()
    assert not unit_maps(model, x, Units("last", below[0], (below[1], below[2]), Layout("last", (9, 9))))[0].any()


def test_a_ceiling_on_the_way_still_stops_what_is_passed_back() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU6(), nn.Conv2d(1, 1, 1), nn.ReLU()).requires_grad_(False)
    for layer in (model[0], model[2]):
        layer.weight.fill_(2.0)
        layer.bias.fill_(0.0)
    x = torch.tensor([[[[1.0, 5.0]]]])
    assert unit_maps(model, x, Units("3", 0, (0, 0)))[0].tolist() == [[[[4.0, 0.0]]]]
    assert unit_maps(model, x, Units("3", 0, (0, 1)))[0].tolist() == [[[[0.0, 0.0]]]]
    assert unit_maps(model, x, Units("1", 0, (0, 1)))[0].tolist() == [[[[0.0, 2.0]]]]


WRONG: list[tuple[Any, type[Exception], str]] = [
    (Units("block", 8), UsageError, r"channels within 0\.\.7, got 8"),
    (Units("block", -1), UsageError, "channels within"),
    (Units("block", torch.tensor([0, 1, 2])), UsageError, "N = 2"),
    (Units("block", 0, (12, 0)), UsageError, "within a map of 12 x 13"),
    (Units("block", 0, (0, -1)), UsageError, "within a map"),
    (Units("block", 0, torch.zeros(3, 2)), UsageError, r"\(N,2\) with N = 2"),
    (Units("blocks", 0), TargetError, "a layer of the model"),
    (Units("stem#1", 0), TargetError, "did not"),
]


@pytest.mark.parametrize(("units", "kind", "words"), WRONG)
def test_what_there_is_not_is_told(units: Units, kind: type[Exception], words: str) -> None:
    model = made()
    with pytest.raises(kind, match=words):
        unit_maps(model, noise(2), units)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_an_output_of_five_axes_and_an_unknown_rule() -> None:
    with pytest.raises(UsageError, match="choose another"):
        unit_maps(made(Last), noise(1, (8, 10)), Units("wide", 0))
    with pytest.raises(UsageError, match="gradient, guided or deconvnet"):
        unit_maps(made(), noise(1), Units("block", 0), rule="magic")  # type: ignore[arg-type]


def test_the_model_is_left_as_found() -> None:
    model = made().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    unit_maps(model, noise(1), Units("down", 0))
    assert model.training
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items() if "running" not in k and "num" not in k)


def test_attribute_explains_units_too() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3)
    ).train()
    x, units = torch.randn(2, 3, 8, 8), Units("3", torch.tensor([1, 3]))
    for method, rule in (("guided_backprop", "guided"), ("deconvnet", "deconvnet")):
        assert torch.equal(attribute(model, x, units, method), unit_maps(model, x, units, rule=rule)[0])
    plain = unit_maps(model, x, units, rule="gradient")[0]
    assert torch.equal(attribute(model, x, units, "saliency"), plain.abs().amax(1))
    assert model.training
    with pytest.raises(UsageError, match="for units"):
        attribute(model, x, units, "occlusion")
