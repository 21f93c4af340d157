"""Operations that read a neighbourhood: convolution, pooling, padding, resizing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from auditor.ops.reach.op import Op, Result
from auditor.ops.reach.reach import Reach, picked
from auditor.ops.reach.span import LostError, Span, bins, taken, transposed, window
from auditor.types import Array


def windowed(reach: Reach, dim: int, count: int, rule: Callable[..., Span], form: tuple[int, int, int, int]) -> Reach:
    """One dimension of a convolution or pooling with (kernel, stride, padding, dilation) `form`."""
    if form[:3] == (1, 1, 0) and count == reach.size(dim):
        return reach
    axis = reach.alone(dim, "a window")
    return reach.along(dim, None if axis is None else rule(reach.spans[axis], count, *form), count)


def convolution(op: Op) -> Result:
    """Over the trailing dimensions; channels are summed up."""
    reach, weight = op.reach(op.args["input"]), op.args["weight"]
    if reach is None or op.reach(weight) is not None:
        raise LostError("a convolution whose kernel depends on the image")
    shape, rank = op.shapes[0], weight.ndim - 2
    reach = replace(reach, spans=reach.without(reach.axes(1))).along(1, None, shape[1])
    stride, padding, dilation = (op.ints(name, rank) for name in ("stride", "padding", "dilation"))
    for i in range(rank):
        form = (weight.shape[2 + i], stride[i], padding[i], dilation[i])
        reach = windowed(reach, 2 + i, shape[2 + i], transposed if op.args["transposed"] else window, form)
    return replace(reach, mixed=reach.mixed and op.args["groups"] > 1)


def pooled(op: Op) -> Result:
    """max_pool and avg_pool over the trailing dimensions."""
    reach, rank = op.only(), rank_of(op)
    kernel = op.ints("kernel_size", rank)
    stride, padding, dilation = op.ints("stride", rank, kernel), op.ints("padding", rank), op.ints("dilation", rank, (1,))
    for i in range(rank):
        dim = len(reach.dims) - rank + i
        reach = windowed(reach, dim, op.shapes[0][dim], window, (kernel[i], stride[i], padding[i], dilation[i]))
    return reach


def adaptive(op: Op) -> Result:
    """Adaptive pooling: bin i of m over n positions reads floor(i n / m) up to ceil((i + 1) n / m)."""
    reach, rank = op.only(), rank_of(op)
    for dim in range(len(reach.dims) - rank, len(reach.dims)):
        count, given = op.shapes[0][dim], reach.size(dim)
        begin, end = np.arange(count) * given // count, -(-(np.arange(1, count + 1) * given) // count)
        reach = mapped(reach, dim, begin[:, None] + np.arange((end - begin).max()), end)
    return reach


def mapped(reach: Reach, dim: int, taps: Array, end: Array | None = None) -> Reach:
    """New positions of a dimension that read `taps` (m,k), -1 for none; those from `end` (m,) on are left out."""
    axis, count = reach.alone(dim, "a resize"), len(taps)
    if axis is None:
        return reach.along(dim, None, count)
    kept = taps if end is None else np.where(taps < end[:, None], taps, -1)
    return reach.along(dim, bins(reach.spans[axis], kept, reach.size(dim) / count), count)


def rank_of(op: Op) -> int:
    """2 of max_pool2d."""
    return next(int(letter) for letter in op.name if letter.isdigit())


def upsampled(op: Op) -> Result:
    """Each output reads the inputs that it has a weight for, found by resizing the unit vectors."""
    reach, shape = op.only(), op.shapes[0]
    if rank_of(op) != 2:
        raise LostError(f"{op.name} has no rule")
    rest = list(op.args.values())[2:]
    for dim in (2, 3):
        given, count = reach.size(dim), shape[dim]
        if reach.alone(dim, "a resize") is None:
            reach = reach.along(dim, None, count)
            continue
        across = dim == 3
        unit = torch.eye(given).view((given, 1, 1, given) if across else (given, 1, given, 1))
        weights = op.call(unit, [1, count] if across else [count, 1], *rest).reshape(given, count).T.numpy() != 0
        most = int(weights.sum(axis=1).max())
        taps = np.argsort(~weights, axis=1, kind="stable")[:, :most]
        reach = mapped(reach, dim, np.where(np.take_along_axis(weights, taps, axis=1), taps, -1))
    return reach


def padded(op: Op) -> Result:
    """constant_pad_nd (which may crop), reflection and replication padding."""
    reach, pad = op.only(), list(op.args["pad" if op.name == "constant_pad_nd" else "padding"])
    for i, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True)):
        dim = len(reach.dims) - 1 - i
        index = np.arange(-before, reach.size(dim) + after)
        if op.name == "constant_pad_nd":
            index = np.where((index < 0) | (index >= reach.size(dim)), -1, index)
        else:
            mode = "reflect" if op.name.startswith("reflection") else "edge"
            index = np.pad(np.arange(reach.size(dim)), (before, after), mode=mode)  # type: ignore[call-overload]
        if before or after:
            reach = picked(reach, dim, index, -before)
    return reach


def shuffled(op: Op) -> Result:
    """pixel_shuffle and pixel_unshuffle."""
    reach, shape = op.only(), op.shapes[0]
    factor = int(op.args.get("upscale_factor") or op.args["downscale_factor"])
    reach = reach.along(len(shape) - 3, None, shape[-3])
    for dim in (len(shape) - 2, len(shape) - 1):
        axis = reach.alone(dim, "a shuffle")
        if op.name == "pixel_unshuffle":
            reach = windowed(reach, dim, shape[dim], window, (factor, factor, 0, 1))
        elif axis is None:
            reach = reach.along(dim, None, shape[dim])
        else:
            index = np.repeat(np.arange(reach.size(dim)), factor)
            reach = reach.along(dim, taken(reach.spans[axis], index, 0.0, 1 / factor), shape[dim])
    return reach
