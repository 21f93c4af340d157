"""A field checked against the bounding box of the gradient's support, for positive weights and average pooling."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.ops.receptive_field import Field, receptive_fields


def averaging(pool: nn.MaxPool2d) -> nn.AvgPool2d:
    assert pool.dilation == 1
    return nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, ceil_mode=pool.ceil_mode)


def positive(model: nn.Module) -> nn.Module:
    """A copy in float64: all weights positive and of sum about 1, no biases, batch norm neutral, max-pool averaging."""
    twin = copy.deepcopy(model).double().eval()
    generator = torch.Generator().manual_seed(0)
    for module in list(twin.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                setattr(module, name, averaging(child))
    for module in twin.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            weight = torch.rand(module.weight.shape, generator=generator, dtype=torch.float64) + 0.5
            module.weight.data = weight / module.weight[0].numel()
            if module.bias is not None:
                module.bias.data.zero_()
    return twin


def support(model: nn.Module, layer: str, images: Tensor, row: int, column: int) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of where the image has a gradient from all channels at one position of a layer."""
    x = torch.full_like(images, 1e-3, dtype=torch.float64).requires_grad_()
    out: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _a, o: out.append(o.clone()))
    model(x)
    handle.remove()
    (gradient,) = torch.autograd.grad(out[0][0, :, row, column].sum(), x)
    seen = gradient[0].abs().sum(0).numpy() > 0
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def shape_of(model: nn.Module, layer: str, images: Tensor) -> tuple[int, int]:
    out: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _a, o: out.append(o))
    with torch.no_grad():
        model(images)
    handle.remove()
    return out[0].shape[-2], out[0].shape[-1]


def check(model: nn.Module, layer: str, shape: tuple[int, int], *, regular: bool = True, ragged: bool = False) -> Field:
    """Corners, borders and centre of one layer; the field must be EXACT, and `regular` ones within their nominal box.

    `ragged`: an upper bound will do, and then the box must hold the support.
    """
    model = model.eval().requires_grad_(False)
    images = torch.rand(1, 3, *shape)
    field = receptive_fields(model, images, [layer])[layer]
    assert field.status == "EXACT" or ragged, field.reason
    twin = positive(model)
    height, width = shape_of(model, layer, images)
    places = [
        (0, 0),
        (height - 1, width - 1),
        (height // 2, width // 2),
        (0, width // 2),
        (height // 2, 0),
        (height - 1, 1 % width),
    ]
    for row, column in dict.fromkeys(places):
        box = field.box(row, column)
        seen = support(twin, layer, images, row, column)
        if field.status == "UPPER_BOUND":
            seen = min(box[0], seen[0]), max(box[1], seen[1]), min(box[2], seen[2]), max(box[3], seen[3])
        assert box == seen, (layer, row, column)
        for axis, at in enumerate((row, column) if regular and box[1] and box[3] else ()):
            nominal = int(field.start[axis] + field.jump[axis] * at)
            assert max(nominal, 0) <= box[2 * axis]
            assert box[2 * axis + 1] <= min(nominal + field.size[axis], shape[axis])
    return field


def conv(c: int, d: int, k: Any, **kw: Any) -> nn.Module:
    return nn.Sequential(nn.Conv2d(c, d, k, **kw), nn.BatchNorm2d(d), nn.ReLU(inplace=True))


class Residual(nn.Module):
    def __init__(self, c: int, d: int, stride: int) -> None:
        super().__init__()
        self.a, self.b = conv(c, d, 3, stride=stride, padding=1), nn.Conv2d(d, d, 3, padding=1)
        self.short = nn.Conv2d(c, d, 1, stride=stride) if c != d else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out = self.b(self.a(x))
        out += self.short(x)
        return functional.relu(out)


class Then(nn.Module):
    """A stem, a function, a convolution."""

    def __init__(self, function: Callable[[Tensor], Tensor], channels: int = 4, stride: int = 1) -> None:
        super().__init__()
        self.stem, self.function = nn.Conv2d(3, 4, 3, stride, padding=1), function
        self.end = nn.Conv2d(channels, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.function(self.stem(x)))
