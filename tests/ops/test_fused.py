"""What is fused answers as the model does; what is written in place, read twice or decided on the way stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.ops.fused import Fused, fused
from auditor.ops.lean import AGREEMENT, Lean, lean

CHANNELS = 16


class Net(nn.Module):
    """Convolutions that keep the size, used as `mixed` says."""

    def __init__(self, mixed: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.mixed = mixed
        self.a, self.b, self.c = (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=g) for g in (1, 1, 4))
        self.small = nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1)
        self.one = nn.Conv2d(CHANNELS, 1, 1)
        self.relu, self.over, self.drop = nn.ReLU(), nn.ReLU(inplace=True), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.mixed(self, x)
        return found


def block(m: Any, x: Any) -> Any:
    """As torchvision writes it."""
    kept = x
    x = m.over(m.a(x))
    x = m.b(x)
    x += kept
    return m.over(x)


def twice(m: Any, x: Any) -> Any:
    """Two blocks, of which the second lies over what the first has made."""
    x = functional.relu(m.a(x))
    x = functional.relu(m.b(functional.relu(m.c(x))) + x)
    return torch.relu(x + m.a(m.drop(m.small(x).relu()).repeat(1, 1, 2, 2)))


def sums_alone(m: Any, x: Any) -> Any:
    return torch.add(m.a(x), m.b(x)).sigmoid()


def by_methods(m: Any, x: Any) -> Any:
    """A rectifier writes in place between the first convolution and its sum, if not into what that reads."""
    return m.a(x).add(m.b(x).relu_()).relu()


def overwritten_between(m: Any, x: Any) -> Any:
    """What the convolution reads is changed before its sum."""
    x = m.a(x)
    y = m.b(x)
    x = x.mul_(0.5)
    return functional.relu(y + m.c(x))


def overwritten_input(m: Any, x: Any) -> Any:
    """The rectifier of the one branch changes what the other adds."""
    x = m.a(x)
    y = m.b(x)
    kept = m.over(x)
    return functional.relu(y + kept)


def written_into(m: Any, x: Any) -> Any:
    """The sum is laid over maps that are read again; tracing does not see that."""
    x = m.relu(m.a(x))
    kept = x
    x += m.b(x)
    return x * kept


def kept_view(m: Any, x: Any) -> Any:
    """A view of what is added is read after the sum."""
    x = m.relu(m.a(x))
    view = x[:, :, ::2, ::2]
    return functional.relu(m.b(x) + x)[:, :, ::2, ::2] - view


def read_twice(m: Any, x: Any) -> Any:
    y = m.a(x)
    return functional.relu(y) - y


def sum_read_twice(m: Any, x: Any) -> Any:
    y = m.a(x) + x
    return functional.relu(y) - y


def itself(m: Any, x: Any) -> Any:
    y = m.a(x)
    return functional.relu(y + y)


def spread(m: Any, x: Any) -> Any:
    """One channel, and one number, are added to all."""
    return functional.relu(m.a(x) + m.one(x)) + functional.relu(m.b(x) + 1.0)


def scaled(m: Any, x: Any) -> Any:
    return functional.relu(torch.add(m.a(x), x, alpha=2))


def called_twice(m: Any, x: Any) -> Any:
    return m.relu(m.a(m.relu(m.a(x))))


NETS: dict[str, tuple[Callable[[Any, Tensor], Any], int]] = {
    "block": (block, 2),
    "twice": (twice, 5),
    "sums alone": (sums_alone, 1),
    "by methods": (by_methods, 1),
    "overwritten between": (overwritten_between, 1),
    "overwritten input": (overwritten_input, 0),
    "written into": (written_into, 0),
    "kept view": (kept_view, 2),
    "read twice": (read_twice, 0),
    "sum read twice": (sum_read_twice, 1),
    "itself": (itself, 0),
    "spread": (spread, 0),
    "scaled": (scaled, 0),
    "called twice": (called_twice, 2),
}
"""The forward, and how many convolutions can be fused."""


def made(mixed: Callable[[Any, Tensor], Any]) -> nn.Module:
    torch.manual_seed(0)
    return Net(mixed).eval().requires_grad_(False).to(memory_format=torch.channels_last)


def images(count: int, dtype: torch.dtype = torch.float32) -> Tensor:
    drawn = torch.randn(count, CHANNELS, 12, 12, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    return drawn.to(dtype).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_answers_as_the_model(name: str, dtype: torch.dtype) -> None:
    """Traced on two images, asked of other numbers; the given images stay what they are."""
    mixed, count = NETS[name]
    model = made(mixed).to(dtype)
    found = fused(model, images(2, dtype), AGREEMENT)
    assert sum(isinstance(module, Fused) for module in (found.modules() if found else ())) == count
    for n in (1, 5, 2):
        given = images(n, dtype)
        with torch.no_grad():
            wanted = model(given.clone())
            again = wanted if found is None else found(given)
        assert torch.equal(given, images(n, dtype)), "the images were written over"
        assert wanted.std() > 0
        assert (again - wanted).abs().max() <= (2e-6 if dtype is torch.float32 else 1e-14) * wanted.abs().max()


def test_a_sum_is_laid_over_what_nobody_else_reads() -> None:
    over = {}
    for mixed in (twice, kept_view, block):
        found = fused(made(mixed), images(2), AGREEMENT)
        assert found is not None
        over[mixed] = [module.over for module in found.modules() if isinstance(module, Fused)]
    assert over[twice] == [False, False, True, False, True], "a convolution that reads it before does not mind"
    assert not any(over[kept_view])
    assert not any(over[block]), "the images themselves are added"


class Deciding(nn.Module):
    """Its forward looks at values, and may hide that from tracing."""

    def __init__(self, *, hidden: bool) -> None:
        super().__init__()
        self.a, self.hidden = nn.Conv2d(CHANNELS, CHANNELS, 3), hidden

    def forward(self, x: Tensor) -> Tensor:
        if self.hidden:
            x = x / 255 if isinstance(x, Tensor) and x.max() > 50 else x
        elif x.mean() > 9:
            return x
        return functional.relu(self.a(x))


@pytest.mark.parametrize("hidden", [False, True])
def test_what_decides_on_the_way_is_not_fused(hidden: bool) -> None:
    assert fused(Deciding(hidden=hidden).eval(), images(2), AGREEMENT) is None


def test_what_is_hung_on_a_module_is_not_lost() -> None:
    """A hook of a rectifier, and a forward of one object's own, that the example does not bring out."""
    for name in ("relu", "drop", "a"):
        model = made(lambda m, x: m.relu(m.drop(m.a(x))))
        module = model.get_submodule(name)
        if name == "a":
            module.forward = lambda x, own=module.forward: own(x).clamp(max=1e6)  # type: ignore[method-assign]
        else:
            module.register_forward_hook(lambda _module, _given, out: out.clamp(max=1e6))
        assert fused(model, images(2), AGREEMENT) is None, name


class Placed(nn.Module):
    """Adds what is the same for every image."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(2))
        self.place = nn.Parameter(torch.randn(1, CHANNELS, 12, 12))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.b(x) + functional.relu(self.a(self.place)))


def test_one_image_as_an_example_serves_many() -> None:
    model = Placed().eval().requires_grad_(False)
    found = fused(model, images(1), AGREEMENT)
    if found is not None:
        with torch.no_grad():
            assert (found(images(4)) - model(images(4))).abs().max() < 1e-5
    assert fused(made(twice), images(1), AGREEMENT) is not None


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, CHANNELS, 3), nn.BatchNorm2d(CHANNELS), nn.Linear(CHANNELS, 4)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(functional.relu(self.norm(self.conv(x))).mean((2, 3)))
        return found


def test_a_lean_model_is_fused_where_no_gradient_is_asked_for() -> None:
    torch.manual_seed(0)
    model = Classifier().eval().requires_grad_(False)
    given = torch.rand(4, 3, 9, 9)
    found = lean(model, given)
    assert isinstance(found, Lean)
    assert any(isinstance(module, Fused) for module in found.still.modules())
    with torch.no_grad():
        assert (found(given) - model(given)).abs().max() < 1e-6
    slopes = []
    for net in (found, model):
        leaf = given.clone().requires_grad_()
        slopes.append(torch.autograd.grad(net(leaf).square().sum(), leaf)[0])
    assert slopes[1].abs().max() > 0
    assert (slopes[0] - slopes[1]).abs().max() <= 1e-5 * slopes[1].abs().max()
