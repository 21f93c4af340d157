from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from auditor.ops.receptive_field import receptive_fields
from tests.ops.fields import Residual, Then, check, conv

torch.set_num_threads(1)


class OptionA(nn.Module):
    """The CIFAR ResNet's shortcut: every second pixel, channels padded with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = conv(3, 4, 3, padding=1), conv(4, 8, 3, stride=2, padding=1), nn.Conv2d(8, 8, 1)
        self.end = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.end(self.b(self.a(x)) + functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)))


class Branches(nn.Module):
    """Inception-like: 1x1, 3x3, 1x7 then 7x1, and a pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.three = conv(3, 4, 3, stride=2), conv(4, 3, 1), conv(4, 2, 3, padding=1)
        self.seven = nn.Sequential(conv(4, 4, (1, 7), padding=(0, 3)), conv(4, 2, (5, 1), padding=(2, 0)))
        self.pool, self.out = nn.MaxPool2d(3, 1, 1), nn.Conv2d(11, 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.out(torch.cat([self.one(x), self.three(x), self.seven(x), self.pool(x)], 1))


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([conv(3 + 2 * i, 2, 3, padding=1) for i in range(4)])
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.pool(x)


class Channels(nn.Module):
    """ConvNeXt-like: positions last but one while channels are mixed, then back."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.wide = nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 7, padding=3, groups=4)
        self.mlp, self.end = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.end(x + self.mlp(self.wide(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))


PLAIN: dict[str, nn.Module] = {
    "odd and even kernels": nn.Sequential(conv(3, 4, 3), conv(4, 4, 2, padding=1), conv(4, 4, 4, stride=2, padding=1), conv(4, 2, 5)),
    "dilation": nn.Sequential(conv(3, 4, 3, dilation=2, padding=1), conv(4, 4, 3, dilation=3, padding=3), conv(4, 2, (2, 3), dilation=(4, 1))),
    "rows never read": nn.Sequential(conv(3, 4, 1, stride=3), conv(4, 4, 3, stride=2), conv(4, 4, 3, padding=2)),
    "asymmetric": nn.Sequential(nn.ZeroPad2d((0, 3, 2, 0)), conv(3, 4, 4, stride=2), nn.ZeroPad2d((-1, 0, 1, -2)), conv(4, 2, 3, padding=1)),
    "ceil_mode": nn.Sequential(conv(3, 4, 3), nn.MaxPool2d(3, 2, ceil_mode=True), conv(4, 4, 3, padding=1), nn.MaxPool2d(2, 2, ceil_mode=True)),
    "pooling": nn.Sequential(conv(3, 4, 5, padding=2), nn.MaxPool2d(3, 2, 1), conv(4, 4, 3), nn.AvgPool2d(3, 2, 1)),
    "residual": nn.Sequential(conv(3, 4, 3, padding=1), Residual(4, 4, 1), Residual(4, 6, 2), Residual(6, 8, 2)),
    "option A": OptionA(), "branches": Branches(), "dense": Dense(), "channels last": Channels(),
    "depthwise": nn.Sequential(conv(3, 6, 1), conv(6, 6, 3, stride=2, padding=1, groups=6), conv(6, 4, 1)),
    "transposed": nn.Sequential(conv(3, 4, 4, stride=2), nn.ConvTranspose2d(4, 4, 3, 2, 1), nn.ConvTranspose2d(4, 4, 2, 3), conv(4, 2, 2)),
    "adaptive, even": nn.Sequential(conv(3, 4, 4), nn.AdaptiveAvgPool2d((5, 7)), conv(4, 2, 2)),
    "adaptive, uneven": nn.Sequential(conv(3, 4, 3), nn.AdaptiveAvgPool2d((6, 5)), conv(4, 2, 2)),
    "global": nn.Sequential(conv(3, 4, 3, stride=5), nn.AdaptiveAvgPool2d(1), conv(4, 2, 1)),
    "nearest": nn.Sequential(conv(3, 4, 3, stride=2), nn.Upsample(scale_factor=2), conv(4, 2, 2)),
    "bilinear": nn.Sequential(conv(3, 4, 3, stride=3), nn.Upsample(scale_factor=2.5, mode="bilinear"), conv(4, 2, 2)),
    "shuffled": nn.Sequential(conv(3, 4, 3, stride=3), nn.PixelShuffle(2), conv(1, 4, 3), nn.PixelUnshuffle(2), nn.Identity()),
    "reflection": nn.Sequential(nn.ReflectionPad2d((2, 1, 3, 0)), conv(3, 4, 3, padding=1, padding_mode="replicate"), conv(4, 2, 2)),
    "rolled and flipped": Then(lambda x: torch.roll(x, (3, -2), (2, 3)).flip(3)),
    "quarters": Then(lambda x: torch.cat([x[..., :-1:2, :-1:2], x[..., 1::2, 1::2]], 1), 8),
    "one after the other": Then(lambda x: torch.cat([x[:, :, 5:], torch.zeros_like(x[:, :, :3]), x[:, :, :9]], 2), stride=2),
    "picked": Then(lambda x: x[:, :, torch.tensor([4, 4, 1, 9])].index_select(3, torch.tensor([2, 8, 9]))),
    "unfolded and back": Then(lambda x: x.flatten(2).transpose(1, 2).reshape(1, x.shape[2], x.shape[3], 4).permute(0, 3, 1, 2)),
    "split by position": Then(lambda x: torch.cat(x.split(7, 3)[:2], 3) + x.unbind(2)[4].unsqueeze(2)[..., :14]),
}  # fmt: skip


UNEVEN = ("transposed", "adaptive, uneven", "bilinear", "reflection", "rolled and flipped", "picked", "one after the other",
          "nearest", "shuffled", "global", "split by position")  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_the_box_is_the_support_of_the_gradient(name: str) -> None:
    model = PLAIN[name]
    last = list(dict(model.named_children()))[-1]
    field = check(model, last, (28, 31) if name == "adaptive, even" else (29, 31), regular=name not in UNEVEN)
    assert field.image == ((28, 31) if name == "adaptive, even" else (29, 31))


def stacks() -> Iterator[nn.Sequential]:
    """Random stacks, some of whose windows leave pixels out or lie in the padding alone."""
    rng = np.random.default_rng(7)
    for _ in range(24):
        layers: list[nn.Module] = [nn.Conv2d(3, 2, 1)]
        for _ in range(int(rng.integers(2, 6))):
            k, s, d, p = (tuple(int(v) for v in rng.integers(low, high, 2)) for low, high in ((1, 5), (1, 4), (1, 3), (0, 4)))
            kind = rng.integers(4)
            if kind == 0:
                layers.append(
                    nn.AvgPool2d(k, s, tuple(min(a, b // 2) for a, b in zip(p, k, strict=True)), ceil_mode=bool(rng.integers(2)))
                )
            elif kind == 1:
                layers.append(Residual(2, 2, 1))
            else:
                layers.append(nn.Conv2d(2, 2, k, s, p, d))
        yield nn.Sequential(*layers)


RAGGED = (5, 21)
"""Those with a residual beside positions that see padding alone."""


@pytest.mark.parametrize("number", range(24))
def test_random_stacks(number: int) -> None:
    model = list(stacks())[number].eval()
    images = torch.rand(1, 3, 61, 57)
    usable = 0
    for i in range(len(model)):
        try:
            with torch.no_grad():
                model[: i + 1](images)
        except RuntimeError:  # the map has become smaller than a window
            break
        usable = i
    check(model[: usable + 1], str(usable), (61, 57), ragged=number in RAGGED)


VISION = [
    ("resnet18", "layer3", 97, {}), ("vgg11_bn", "features.14", 48, {}), ("squeezenet1_0", "features.12", 95, {}),
    ("mobilenet_v2", "features.13", 96, {}), ("alexnet", "features.12", 127, {}), ("googlenet", "inception4a", 90, {"init_weights": False}),
    ("densenet121", "features.transition2", 64, {}), ("mnasnet0_5", "layers.9", 64, {}), ("shufflenet_v2_x0_5", "maxpool", 64, {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "layer", "side", "more"), VISION)
def test_torchvision(name: str, layer: str, side: int, more: dict[str, Any]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(torchvision.models, name)(weights=None, **more)
    check(model, layer, (side, side + 5))


@pytest.mark.parametrize(
    ("name", "layer", "size", "jump", "start"),
    [("alexnet", "features.10", 163, 16, -66), ("vgg16", "features.28", 196, 16, -90), ("resnet18", "layer4", 435, 32, -217)],
)
def test_published_sizes(name: str, layer: str, size: int, jump: int, start: int) -> None:
    model = getattr(torchvision.models, name)(weights=None).eval()
    field = receptive_fields(model, torch.rand(1, 3, 224, 224), [layer])[layer]
    assert (field.status, field.size, field.jump, field.start) == ("EXACT", (size, size), (jump, jump), (start, start))


class Kept(nn.Module):
    """The same maps three times: channels first, channels last, and as tokens in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 4, 3, stride=2), conv(4, 5, 5, padding=2, dilation=1))
        self.first, self.last, self.tokens = nn.Identity(), nn.Linear(5, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.first(self.stem(x)).permute(0, 2, 3, 1))
        return self.tokens(x.flatten(1, 2)).mean(1)


def test_channels_last_and_tokens_have_the_places_of_their_maps() -> None:
    fields = receptive_fields(Kept().eval(), torch.rand(1, 3, 29, 33), ["first", "last", "tokens"])
    assert [f.status for f in fields.values()] == ["EXACT"] * 3
    assert fields["first"].box(0, 0) == (0, 7, 0, 7)
    for field in fields.values():
        assert (len(field.rows), len(field.columns)) == (14, 16)
        assert np.array_equal(field.rows, fields["first"].rows)
        assert np.array_equal(field.columns, fields["first"].columns)
