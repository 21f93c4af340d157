"""A convolution by the cheapest way that is the same up to rounding; what is made of its weight is made once a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from auditor.methods.incremental.work import Work
from auditor.ops.winograd import Kernel, fits, pays

LEAST_CHANNELS = 16
"""Fewer than these going in are read as they lie."""


def convolved(
    work: Work,
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """`functional.conv2d`, up to rounding: by fewer multiplications where that pays (`ops.winograd`).

    A batch of small windows of 512 channels spends a fifth of its time on laying out the weight, which the CPU's kernels want in
    blocks; they take it laid out, too, by the operation that compiled models call.
    """
    how = (stride, padding, dilation, groups)
    if fits(weight, stride, dilation, groups) and pays(maps, weight, padding):
        kernel: Kernel = work.of_weights.once("winograd", (weight,), lambda: Kernel(weight))
        return kernel(maps, bias, padding)
    if packs(maps, weight):
        laid = work.of_weights.once("packed", (weight, *how), lambda: packed(weight, tuple(maps.shape), *how))
        if laid is not None:
            found: Tensor = torch.ops.mkldnn._convolution_pointwise(
                maps, laid, bias, padding, stride, dilation, groups, "none", [], ""
            )
            return found
    return functional.conv2d(maps, work.laid_out(weight), bias, stride, padding, dilation, groups)


def packs(maps: Tensor, weight: Tensor) -> bool:
    """Whether the CPU's kernels take this convolution laid out."""
    alike = maps.dtype == weight.dtype == torch.float32 and maps.device.type == weight.device.type == "cpu"
    able = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    return alike and able and not torch.is_autocast_enabled("cpu") and weight.shape[1] >= LEAST_CHANNELS


def packed(weight: Tensor, shape: tuple[int, ...], *how: Any) -> Tensor | None:
    """The weight (O,I,kh,kw) laid out for maps of `shape`; maps of another are taken, too. None where this torch cannot."""
    stride, padding, dilation, groups = how
    try:
        assert torch.ops.mkldnn._convolution_pointwise is not None
        lay_out: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
        found: Tensor = lay_out(weight.to_mkldnn(), padding, stride, dilation, groups, shape)
    except (AttributeError, RuntimeError):
        return None
    return found
