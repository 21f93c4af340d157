"""A convolution whose weight is laid out for the processor once, and not anew at every call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LEAST_CHANNELS = 16
"""Fewer than these going in are read as they lie."""
Pair = tuple[int, int]


def packs(maps: Tensor, weight: Tensor, least: int = LEAST_CHANNELS) -> bool:
    """Whether the CPU's kernels take this convolution laid out."""
    alike = maps.dtype == weight.dtype == torch.float32 and maps.device.type == weight.device.type == "cpu"
    able = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    return alike and able and not torch.is_autocast_enabled("cpu") and weight.shape[1] >= least


def packed(weight: Tensor, shape: tuple[int, ...], *how: Any) -> Tensor | None:
    """The weight (O,I,kh,kw) laid out for maps of `shape`; maps of another are taken, too. None where this torch cannot.

    `how`: stride, padding, dilation and groups.
    """
    stride, padding, dilation, groups = how
    try:
        assert torch.ops.mkldnn._convolution_pointwise is not None
        lay_out: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
        found: Tensor = lay_out(weight.to_mkldnn(), padding, stride, dilation, groups, shape)
    except (AttributeError, RuntimeError):
        return None
    return found


def convolved(
    maps: Tensor,
    laid: Tensor,
    bias: Tensor | None,
    *how: Any,
    added: Tensor | None = None,
    over: bool = False,
    rectified: bool = False,
) -> Tensor:
    """relu(conv2d(maps) + added), each of both where asked for, with a weight that `packed` laid out, up to rounding.

    By the operations that compiled models call. `over`: into the room of `added`.
    """
    stride, padding, dilation, groups = how
    form, unary = (padding, stride, dilation, groups), "relu" if rectified else None
    able: Any = torch.ops.mkldnn
    if added is None:
        found: Tensor = able._convolution_pointwise(maps, laid, bias, *form, unary or "none", [], "")
    elif over:
        found = able._convolution_pointwise_.binary(added, maps, laid, bias, *form, "add", 1.0, unary, [], "")
    else:
        found = able._convolution_pointwise.binary(maps, added, laid, bias, *form, "add", 1.0, unary, [], "")
    return found
