"""Incremental recompute equals brute force in float64: corners, edges, odd offsets, strides that do not meet, every rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from auditor.methods.incremental import Kept, Patch, UnsupportedError, Work, scores_of_windows
from auditor.methods.incremental.order import at_once, parts, turns
from auditor.methods.incremental.packed import convolved
from auditor.methods.incremental.windows import Side
from auditor.ops.packed import packs

SIDE = 37
EXACT = 1e-10
"""Of the largest effect."""


def norm(channels: int) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(channels)
    for values, low, high in (
        (made.running_mean, -0.3, 0.3),
        (made.running_var, 0.5, 2),
        (made.weight, 0.5, 2),
        (made.bias, -1, 1),
    ):
        assert values is not None
        nn.init.uniform_(values, low, high)
    return made


class Then(nn.Module):
    """Layers in front of a head; `mixed` is what the forward does with the maps in between."""

    def __init__(self, *layers: nn.Module, mixed: Callable[[Any, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.mixed = mixed
        self.head = nn.LazyLinear(5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mixed(self.layers, x) if self.mixed else nn.Sequential(*self.layers)(x)
        return self.head(x.flatten(1))


def block(layers: Any, x: Tensor) -> Tensor:
    """A residual block with everything in place, as torchvision writes it."""
    x = functional.relu(layers[1](layers[0](x)), inplace=True)
    kept = x
    x = functional.relu(layers[3](layers[2](x)), inplace=True)
    x += kept
    return functional.adaptive_avg_pool2d(functional.relu_(x), 1)


def dense(layers: Any, x: Tensor) -> Tensor:
    """Two branches of different reach, laid together, and a norm that no convolution stands before."""
    a = functional.max_pool2d(layers[0](x), 3, 2)
    b = layers[1](x)
    return layers[2](torch.cat([a, b], 1)).relu().mean((2, 3))


def overwritten(layers: Any, x: Tensor) -> Tensor:
    """A convolution reads maps that are overwritten before anybody asks for its values."""
    a = functional.relu(layers[0](x))
    b = layers[1](a)
    a.mul_(3.0)
    return functional.adaptive_avg_pool2d(a + b, 1)


def excited(layers: Any, x: Tensor) -> Tensor:
    """Squeeze and excite: a change anywhere changes everything."""
    x = layers[0](x).relu()
    return (x * layers[1](functional.adaptive_avg_pool2d(x, 1)).sigmoid()).mean([2, 3], keepdim=True)


def scaled(layers: Any, x: Tensor) -> Tensor:
    """Numbers, values a channel, turned round, and a layer that has no rule."""
    x = 1.0 - layers[0](x) * torch.arange(6.0, dtype=x.dtype).view(1, 6, 1, 1)
    x = functional.instance_norm(x / 2) if x.shape[2] % 2 == 0 else functional.pixel_unshuffle(x[:, :, 1:, 1:], 2)
    return x.mean((2, 3))


NETS: dict[str, Callable[[], nn.Module]] = {
    "convolutions": lambda: Then(nn.Conv2d(3, 6, 3, 1, 1), nn.ReLU(), nn.Conv2d(6, 4, 5, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
    "folded": lambda: Then(nn.Conv2d(3, 6, 7, 2, 3, bias=False), norm(6), nn.SiLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(6, 4, 3), norm(4)),
    "no padding": lambda: Then(nn.Conv2d(3, 6, 4, 3), nn.GELU(), nn.AvgPool2d(2), nn.Flatten()),
    "dilated": lambda: Then(nn.Conv2d(3, 6, 3, 1, 2, dilation=2), nn.Tanh(), nn.Conv2d(6, 6, 3, 2, 3, dilation=3), nn.AdaptiveAvgPool2d(1)),
    "grouped": lambda: Then(nn.Conv2d(3, 6, 3, 1, 1, groups=3), norm(6), nn.ReLU6(), nn.Conv2d(6, 6, 3, 2, 1, groups=6), nn.Flatten()),
    "same": lambda: Then(nn.Conv2d(3, 4, (3, 5), padding="same"), nn.ELU(), nn.Conv2d(4, 4, 3, padding="same", dilation=2), nn.AvgPool2d(3, 2, 1)),
    "ceil": lambda: Then(nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(True), nn.MaxPool2d(2, 2, ceil_mode=True)),
    "pools": lambda: Then(nn.AvgPool2d(3, 2, 1), nn.Conv2d(3, 4, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.Dropout(0.5)),
    "dilated pool": lambda: Then(nn.MaxPool2d(3, 2, 1, dilation=2), nn.Conv2d(3, 4, 3, 1, 1), nn.AdaptiveAvgPool2d((1, 1))),
    "reflected": lambda: Then(nn.Conv2d(3, 4, 3, 1, 1, padding_mode="reflect"), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
    "residual": lambda: Then(nn.Conv2d(3, 6, 3, 2, 1), norm(6), nn.Conv2d(6, 6, 3, 1, 1), norm(6), mixed=block),
    "branches": lambda: Then(nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(3, 5, 7, 2, 2), norm(9), mixed=dense),
    "overwritten": lambda: Then(nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1), mixed=overwritten),
    "excited": lambda: Then(nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 1), mixed=excited),
    "scaled": lambda: Then(nn.Conv2d(3, 6, 3, 2, 1), mixed=scaled),
    "norm of the image": lambda: Then(norm(3), nn.Conv2d(3, 4, 3), nn.AdaptiveMaxPool2d(3)),
}  # fmt: skip


def made(build: Callable[[], nn.Module], side: int = SIDE) -> nn.Module:
    torch.manual_seed(0)
    model = build().double().eval()
    with torch.no_grad():
        model(torch.randn(1, 3, side, side, dtype=torch.float64))
    return model


def brute(model: nn.Module, image: Tensor, windows: Tensor, places: Any) -> Tensor:
    images = image.repeat(len(windows), 1, 1, 1)
    h, w = windows.shape[2:]
    for i, (y, x) in enumerate(zip(*(p.tolist() for p in places), strict=True)):
        images[i, :, y : y + h, x : x + w] = windows[i]
    with torch.no_grad():
        return model(images)


def compared(model: nn.Module, size: tuple[int, int], places: Any, side: int = SIDE) -> Work:
    """Asserts equality on these windows; returns the work."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(1, 3, side, side, dtype=torch.float64, generator=generator)
    windows = 3 * torch.randn(len(places[0]), 3, *size, dtype=torch.float64, generator=generator)
    work = Work()
    wanted = brute(model, image, windows, places)
    with torch.no_grad():
        effect = (wanted - model(image)).abs().max()
    assert effect > 1e-6, "the windows change nothing: the comparison would be of nothing"
    for part in (slice(0, 3), slice(3, None)):  # the second part finds the base's maps kept
        found = scores_of_windows(model, work, image, windows[part], tuple(p[part] for p in places))
        assert (found - wanted[part]).abs().max() < EXACT * effect
    return work


def draw_image(side: int) -> Tensor:
    return torch.randn(1, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def corners(size: tuple[int, int], side: int = SIDE) -> Any:
    """Windows in all corners, at the edges, and at odd places."""
    h, w = size
    rows = [0, 0, side - h, side - h, 0, side - h, 7, 8, 9, 13, side // 2]
    columns = [0, side - w, 0, side - w, 11, 12, 0, side - w, 10, 17, side // 2 - 3]
    return np.array(rows), np.array(columns)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 8)])
@pytest.mark.parametrize("name", NETS)
def test_it_equals_brute_force(name: str, size: tuple[int, int]) -> None:
    compared(made(NETS[name]), size, corners(size))


def test_less_is_computed_and_the_work_is_counted() -> None:
    model = made(lambda: Then(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.AdaptiveAvgPool2d(1)), 64)
    work = compared(model, (4, 4), corners((4, 4), 64), 64)
    n, first, second = 11, 3 * 9 * 8, 8 * 9 * 8
    assert work.whole == n * 64 * 64 * (first + second)
    corner, inner = 3 * (5 * 5 * first + 6 * 6 * second), 8 * (6 * 6 * first + 8 * 8 * second)
    assert work.done == corner + inner, "4 px become 6 and 8 px; in the corners, where the first batch lies, 5 and 6"
    assert work.gain > 1


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 6), (5, 2), (7, 7), (8, 19)])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_every_window_has_its_turn_once(rows: int, columns: int, size: int) -> None:
    work, seen = Work(), []
    for which in turns(rows, columns, work, size, 4 * size):
        assert 0 < len(which) <= (size if len(seen) < max(rows, columns) else 4 * size)
        seen.extend(which.tolist())
        work.changed = (np.sin(which), 3.0)
        work.whole, work.done = 26, 10
    assert sorted(seen) == list(range(rows * columns))
    begin = np.array(seen[: max(rows, columns)])
    assert set(begin // columns) == set(range(rows))
    assert set(begin % columns) == set(range(columns))


def test_in_turns_less_is_computed_than_row_by_row() -> None:
    layers = [layer for s in (2, 1, 1, 2, 1, 1) for layer in (nn.Conv2d(3, 3, 3, s, 1), nn.ReLU())]
    model = made(lambda: Then(*layers, nn.AdaptiveAvgPool2d(1)), 32)
    image, side = draw_image(32), np.arange(0, 29, 2)
    places = [np.repeat(side, len(side)), np.tile(side, len(side))]
    windows = 3 * torch.randn(len(places[0]), 3, 4, 4, dtype=torch.float64)

    def run(work: Work, which: Any) -> Tensor:
        return scores_of_windows(model, work, image, windows[which], (places[0][which], places[1][which]))

    plain, ordered, least = Work(), Work(), Work()
    by_row = torch.cat([run(plain, which) for which in parts(np.arange(len(windows)), 16)])
    for which in turns(len(side), len(side), ordered, 16, 16):
        torch.testing.assert_close(run(ordered, which), by_row[which], atol=1e-12, rtol=0)
    for i in range(len(windows)):
        run(least, np.array([i]))
    assert least.done < ordered.done < 0.95 * plain.done


def test_how_much_of_each_window_changes_is_what_it_would_be_alone() -> None:
    model = made(NETS["folded"])
    image, windows = draw_image(SIDE), torch.randn(11, 3, 4, 4, dtype=torch.float64)
    places, work = corners((4, 4)), Work()
    scores_of_windows(model, work, image, windows, places)
    for i in range(11):
        alone = Work()
        scores_of_windows(model, alone, image, windows[i : i + 1], tuple(p[i : i + 1] for p in places))
        assert [float(amount[i]) for amount in work.changed] == [float(amount[0]) for amount in alone.changed]  # type: ignore[index]


def test_more_windows_go_through_at_once_where_less_is_computed_of_each() -> None:
    assert [at_once(8, gain) for gain in (0.4, 1.9, 2.6, 3.0, 50.0)] == [8, 8, 16, 24, 32]


def test_a_folded_norm_costs_nothing_and_leaves_the_model_alone() -> None:
    model = made(NETS["folded"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen: list[Any] = []
    handle = model.layers[1].register_forward_hook(lambda _m, _a, output: seen.append(getattr(output, "todo", None)))  # type: ignore[union-attr, index]
    compared(model, (4, 4), corners((4, 4)))
    handle.remove()
    assert sum(todo is not None for todo in seen) == 2, "behind its convolution the norm is put off with it"
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_nets_and_windows(data: st.DataObject) -> None:
    draw = data.draw
    channels, layers = 3, []
    for _ in range(draw(st.integers(1, 4))):
        kernel, out = draw(st.integers(1, 5)), draw(st.integers(1, 4))
        stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        padding = draw(st.integers(0, kernel))
        layers.append(nn.Conv2d(channels, out, kernel, stride, padding, dilation))
        channels = out
        if draw(st.booleans()):
            layers.append(norm(out))
        layers.append(draw(st.sampled_from([nn.ReLU(), nn.SiLU(inplace=True), nn.Identity(), nn.Hardswish()])))
        if draw(st.booleans()):
            layers.append(
                draw(st.sampled_from([nn.MaxPool2d(2, 1), nn.AvgPool2d(2, 1, 1), nn.MaxPool2d(3, 2, 1, ceil_mode=True)]))
            )
    side = 41
    model = Then(*layers).double().eval()
    image = torch.randn(1, 3, side, side, dtype=torch.float64)
    try:
        with torch.no_grad():
            base = model(image)
    except RuntimeError:
        return  # the drawn layers leave no map
    size = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    places = tuple(np.array(draw(st.lists(st.integers(0, side - s), min_size=4, max_size=4))) for s in size)
    windows = 3 * torch.randn(4, 3, *size, dtype=torch.float64)
    wanted = brute(model, image, windows, places)
    found = scores_of_windows(model, Work(), image, windows, places)
    scale = max(float((wanted - base).abs().max()), 1e-3 * float(base.abs().max()), 1e-12)
    assert (found - wanted).abs().max() < EXACT * scale


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"), [(3, 1, 1, 1), (3, 2, 1, 1), (5, 3, 0, 1), (1, 2, 0, 1), (3, 2, 2, 2)]
)
def test_a_window_reaches_what_a_gradient_reaches(kernel: int, stride: int, padding: int, dilation: int) -> None:
    length = 23
    conv = nn.Conv1d(1, 1, kernel, stride, padding, dilation, bias=False).double()
    nn.init.ones_(conv.weight)
    for start in range(length - 4):
        line = torch.zeros(1, 1, length, dtype=torch.float64)
        line[..., start : start + 4] = 1
        touched = conv(line)[0, 0].nonzero().flatten()
        side = Side(np.array([start]), 4, length).after(conv(line).shape[2], kernel, stride, padding, dilation)
        if len(touched):
            assert side.starts[0] <= touched.min()
            assert side.starts[0] + side.width > touched.max()
            assert side.width <= touched.max() - touched.min() + 1 + (dilation > 1) * 2 * kernel
        assert 0 <= side.starts[0] <= side.length - side.width


def test_weights_that_are_computed_anew_each_time_are_not_kept_without_end() -> None:
    def standardised(layers: Any, x: Tensor) -> Tensor:
        weight = layers[0].weight
        return functional.conv2d(x, (weight - weight.mean()) / weight.std(), None, 1, 1).relu().mean((2, 3))

    model = made(lambda: Then(nn.Conv2d(3, 6, 3), mixed=standardised))
    compared(model, (4, 4), corners((4, 4)))
    given = (model, Work(), draw_image(SIDE), torch.randn(1, 3, 4, 4, dtype=torch.float64), (np.array([3]), np.array([5])))
    for _ in range(2):
        scores_of_windows(*given)
    with pytest.raises(UnsupportedError, match="each time"):
        [scores_of_windows(*given) for _ in range(3)]


def test_what_is_kept_does_not_grow_with_the_batches_of_a_model_whose_weights_stay() -> None:
    model, image, work = made(NETS["residual"]), draw_image(SIDE), Work()
    for place in range(SIDE - 4):
        scores_of_windows(
            model, work, image, torch.randn(1, 3, 4, 4, dtype=torch.float64), (np.array([place]), np.array([place]))
        )
    assert len(work.kept) <= 1.5 * work.known


def test_what_writes_into_a_tensor_is_refused() -> None:
    def stained(_layers: Any, x: Tensor) -> Tensor:
        x = x * 1.0
        x[:, 0] = 0
        return x.mean((2, 3))

    model = made(lambda: Then(nn.Identity(), mixed=stained))
    with pytest.raises(UnsupportedError, match="__setitem__"):
        compared(model, (4, 4), corners((4, 4)))


def test_questions_about_a_patch_are_answered_as_of_the_images() -> None:
    seen: list[Any] = []

    def asked(_layers: Any, x: Tensor) -> Tensor:
        if isinstance(x, Patch):
            seen.extend([tuple(x.shape), x.size(0), x.dim(), x.dtype, x.device.type, len(x)])
        return x.mean((2, 3))

    compared(made(lambda: Then(nn.Identity(), mixed=asked)), (4, 4), corners((4, 4)))
    assert seen[:6] == [(3, 3, SIDE, SIDE), 3, 4, torch.float64, "cpu", 3]


@pytest.mark.parametrize(
    ("channels", "out", "kernel", "stride", "padding", "dilation", "groups"),
    [
        (16, 8, 3, 1, 1, 1, 1),
        (64, 32, 3, 2, 0, 1, 1),
        (32, 64, 1, 2, 0, 1, 1),
        (32, 32, 3, 1, 2, 2, 2),
        (128, 128, 3, 1, 1, 1, 1),
    ],
)
def test_a_weight_that_is_laid_out_gives_what_it_gives_as_it_lies(
    channels: int, out: int, kernel: int, stride: int, padding: int, dilation: int, groups: int
) -> None:
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(out, channels // groups, kernel, kernel, generator=generator)
    bias = torch.randn(out, generator=generator) if stride == 1 else None
    how, work = ((stride,) * 2, (padding,) * 2, (dilation,) * 2, groups), Work()
    for shape in ((1, 14, 14), (8, 9, 11), (3, 23, 7)):  # the weight is laid out for the first of them
        maps = torch.randn(shape[0], channels, *shape[1:], generator=generator).contiguous(memory_format=torch.channels_last)
        found, wanted = convolved(work, maps, weight, bias, *how), functional.conv2d(maps, weight, bias, *how)
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()
    if packs(maps, weight):
        assert (
            work.keeper(weight).once("laid out", (weight, ("packed", *how)), lambda: pytest.fail("it was not laid out"))
            is not None
        )


class Standardised(nn.Conv2d):
    """Makes its weight anew in every forward."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight / self.weight.norm(), self.bias, padding=1)


def test_what_follows_from_the_weights_is_kept_from_image_to_image_and_what_a_forward_makes_is_not() -> None:
    plain, anew = (kind(3, 4, 3, padding=1) for kind in (nn.Conv2d, Standardised))
    for conv, grows in ((plain, 1), (anew, 0)):
        model, kept, sizes = Then(conv, nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1)).double().eval(), Kept(), []
        with torch.no_grad():
            model(torch.randn(1, 3, SIDE, SIDE, dtype=torch.float64))
        for seed in range(3):
            image = torch.randn(1, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
            windows, places = torch.zeros(2, 3, 4, 4, dtype=torch.float64), (np.array([3, 9]), np.array([5, 20]))
            work = Work(kept)
            found = scores_of_windows(model, work, image, windows, places)
            wanted = brute(model, image, windows, tuple(torch.from_numpy(p) for p in places))
            assert (found - wanted).abs().max() < EXACT * wanted.abs().max()
            sizes.append(len(kept.kept))
        assert sizes[0] == sizes[-1]
        assert (sizes[0] > 0) == bool(grows)
