"""Convolutions whose weights do not change: on the CPU what is made of a weight is made once, for forwards and for gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from auditor.ops.packed import Pair, convolved, packed, packs
from auditor.ops.winograd import TILE, Kernel, fits, pays

LEAST_PAIRS = 64 * 128
"""Pairs of channels below which a convolution is left to torch: there is little to lay out, and a call from Python more costs
ResNet-20, of 16 to 64 channels, 5 %."""


Once = Callable[[Any, Callable[[], Any]], Any]
"""(key, make) -> `make()`, kept by the key."""


def by_laid_out(once: Once, maps: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor | None:
    """`functional.conv2d`, up to rounding, by fewer multiplications or a weight laid out; None where the direct way is as good.

    `how`: stride, padding, dilation and groups. What is made of the weight is kept by `once`. A batch of small windows of 512
    channels spends a fifth of its time on laying out the weight, which the CPU's kernels want in blocks.
    """
    stride, padding, dilation, groups = how
    if fits(weight, stride, dilation, groups) and pays(maps, weight, padding):
        kernel: Kernel = once("winograd", lambda: Kernel(weight))
        return kernel(maps, bias, padding)
    laid = once(("packed", *how), lambda: packed(weight, tuple(maps.shape), *how)) if packs(maps, weight) else None
    return None if laid is None else convolved(maps, laid, bias, *how)


class Weight:
    """A weight (O,I,kh,kw) at stride 1 without groups; called on maps (n,I,h,w), gives (n,O,h',w') by the cheapest way."""

    def __init__(self, values: Tensor, dilation: Pair) -> None:
        self.values, self.dilation = values, dilation
        self.made: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """`make()`, kept."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def __call__(self, maps: Tensor, bias: Tensor | None, padding: Pair) -> Tensor:
        """As `functional.conv2d(maps, values, bias, 1, padding, dilation)`, up to rounding; of the gradients that of the maps."""
        if torch.is_grad_enabled() and maps.requires_grad:
            found: Tensor = _Convolved.apply(maps, self, bias, padding)
            return found
        return self.convolved(maps, bias, padding)

    def convolved(self, maps: Tensor, bias: Tensor | None, padding: Pair) -> Tensor:
        """(n,O,h',w') without a gradient."""
        how = ((1, 1), padding, self.dilation, 1)
        found = by_laid_out(self.once, maps, self.values, bias, *how)
        return functional.conv2d(maps, self.values, bias, *how) if found is None else found

    @property
    def turned(self) -> Weight:
        """That of the gradient: what went out comes in, each filter turned about."""
        found: Weight = self.once("turned", lambda: Weight(self.values.detach().flip(2, 3).transpose(0, 1), self.dilation))
        return found

    def left_of(self, padding: Pair) -> Pair:
        """The padding of the gradient's convolution: what this one's has left of the filter's reach."""
        down, across = (d * (k - 1) for d, k in zip(self.dilation, self.values.shape[2:], strict=True))
        return down - padding[0], across - padding[1]


class _Convolved(torch.autograd.Function):
    """With the gradient of the maps; weight and bias are taken as frozen."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Weight, bias: Tensor | None, padding: Pair) -> Tensor:
        ctx.weight, ctx.padding = weight, padding
        return weight.convolved(maps, bias, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """The convolution of the gradient with the filters turned about."""
        found: Tensor = ctx.weight.turned.convolved(gradients[0], None, ctx.weight.left_of(ctx.padding))
        return found, None, None, None


class Convolution(nn.Conv2d):
    """A convolution with a frozen weight; where the weight learns after all, it is what it was. Made by `stand_in`.

    What is laid out is made anew where the weight is another one or was written to, but by way of `.data` within its own memory.
    """

    made: Weight | None = None
    state: tuple[Any, ...] = ()

    def forward(self, input: Tensor) -> Tensor:
        """(n,I,h,w) -> (n,O,h',w')."""
        learns = self.weight.requires_grad or (self.bias is not None and self.bias.requires_grad)
        if learns or input.ndim != 4 or input.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        state = state_of(self.weight)
        if self.made is None or self.made.values is not self.weight or self.state != state:
            self.made, self.state = Weight(self.weight, (self.dilation[0], self.dilation[1])), state
        assert not isinstance(self.padding, str)
        return self.made(input, self.bias, (self.padding[0], self.padding[1]))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "made"}  # what is laid out cannot be copied


def state_of(weight: Tensor) -> tuple[Any, ...]:
    """What changes where a weight is written to, moved, or turned into another type."""
    return 0 if weight.is_inference() else weight._version, weight.data_ptr(), weight.dtype


def takes(conv: nn.Module) -> bool:
    """Whether this module can be a `Convolution`."""
    return (
        type(conv) is nn.Conv2d
        and conv.stride == (1, 1)
        and conv.groups == 1
        and conv.in_channels * conv.out_channels >= LEAST_PAIRS
        and conv.padding_mode == "zeros"
        and not isinstance(conv.padding, str)
        and all(p <= d * (k - 1) for p, d, k in zip(conv.padding, conv.dilation, conv.kernel_size, strict=True))
    )


def stand_in(model: nn.Module) -> int:
    """Make every convolution of `model` that can be one a `Convolution`, in place; how many.

    A module stays the object that it is, with its names, hooks and whatever else was hung on it.
    """
    found = [module for module in model.modules() if takes(module)]
    for module in found:
        module.__class__ = Convolution
    return len(found)


def laid_out_bytes(model: nn.Module) -> int:
    """What the convolutions of `model` hold at most besides their weights, once all are laid out for forwards and gradients."""
    count = 0
    for module in model.modules():
        if takes(module) and isinstance(module, nn.Conv2d):
            weight = module.weight
            tiled = fits(weight, (1, 1), module.dilation, 1)
            laid = 2 * TILE**2 * weight[:, :, 0, 0].numel() * weight.element_size() if tiled else weight.nbytes
            # the gradient's filters are turned about, a weight of their own; few tiles and many are laid out each in its way
            count += 2 * laid + weight.nbytes * (3 if tiled else 1)
    return count
