"""Operations that read a neighbourhood: convolution with its batch norm, pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from auditor.methods.incremental.carry import pair, rule
from auditor.methods.incremental.packed import convolved
from auditor.methods.incremental.patch import Held, Patch, Todo
from auditor.methods.incremental.pointwise import pointwise
from auditor.methods.incremental.windows import lay, read
from auditor.methods.incremental.work import Work


@rule(functional.conv2d, torch.conv2d)
def convolution(
    _function: Any,
    x: Any,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Put off until its values are needed, so that a batch norm can be folded into it."""
    if not isinstance(x, Patch) or isinstance(weight, Patch):
        return NotImplemented
    kernel, steps, spread = (weight.shape[2], weight.shape[3]), pair(stride), pair(dilation)
    if isinstance(padding, str):
        if padding == "same" and any((k - 1) * d % 2 for k, d in zip(kernel, spread, strict=True)):
            return NotImplemented
        padding = [(k - 1) * d // 2 if padding == "same" else 0 for k, d in zip(kernel, spread, strict=True)]
    form = (kernel, steps, pair(padding), spread)
    sides = [out_length(x.shape[2 + i], *(part[i] for part in form)) for i in range(2)]
    work = x.work

    def run(held: Held, weight: Tensor, bias: Tensor | None) -> Held:
        def op(maps: Tensor, pads: Any) -> Tensor:
            return convolved(work, maps, weight, bias, steps, pads, spread, groups)

        found = neighbourhood(work, held, ("conv2d", weight, bias, *form, groups), op, form, 0.0)
        per_output = weight[0].numel() * len(weight)
        work.done += found.window.shape[2] * found.window.shape[3] * len(found.window) * per_output
        work.whole += sides[0] * sides[1] * len(found.window) * per_output
        if found.rows is not None and found.columns is not None:
            down, across = work.changed
            work.changed = (down + per_output * found.rows.extent, across + per_output * found.columns.extent)
        return found

    made = Patch(work, (len(x), len(weight), *sides), weight, todo=Todo(x, weight, bias, run))
    return x.await_by(made)


def out_length(length: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Outputs of a convolution along one side."""
    return (length + 2 * padding - (kernel - 1) * dilation - 1) // stride + 1


def neighbourhood(
    work: Work, held: Held, key: tuple[Any, ...], op: Callable[[Tensor, Any], Tensor], form: tuple[Any, ...], around: float
) -> Held:
    """`op(maps, padding)` on the windows and all that they can change; `around` is what lies beyond the border."""
    kernel, stride, padding, dilation = form
    if held.base is None:
        return Held(op(held.window, padding), None)
    assert held.rows is not None
    assert held.columns is not None
    base = held.base
    after: Tensor = work.once("map", (base, *key), lambda: op(base, padding))
    given = (held.rows, held.columns)
    sides = [given[i].after(after.shape[2 + i], kernel[i], stride[i], padding[i], dilation[i]) for i in range(2)]
    sizes = [(side.width - 1) * s + (k - 1) * d + 1 for side, s, k, d in zip(sides, stride, kernel, dilation, strict=True)]
    begins = [side.starts * s for side, s in zip(sides, stride, strict=True)]  # in the padded map
    # ceil_mode reads beyond the padding, so as much is added at the end as the last output needs
    more = [
        max(0, (after.shape[2 + i] - 1) * stride[i] + (kernel[i] - 1) * dilation[i] + 1 - base.shape[2 + i] - padding[i])
        for i in range(2)
    ]
    padded: Tensor = work.once(
        "pad",
        (base, padding, more, around),
        lambda: functional.pad(base, (padding[1], more[1], padding[0], more[0]), value=around).contiguous(
            memory_format=torch.channels_last
        ),
    )
    under = read(padded, (begins[0], begins[1]), (sizes[0], sizes[1]))
    lay(under, held.window, (given[0].starts + padding[0] - begins[0], given[1].starts + padding[1] - begins[1]))
    work.moved += under.numel() + held.window.numel()
    return Held(op(under, (0, 0)), after, sides[0], sides[1])


@rule(functional.batch_norm, torch.batch_norm)
def batch_norm(function: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """Folded into the convolution before it, where that is still to be carried out."""
    names = NORM if function is functional.batch_norm else NORM_OF_TORCH
    given = {"weight": None, "bias": None, "training": False, "eps": 1e-5, **dict(zip(names, args, strict=False)), **kwargs}
    norm = tuple(given[name] for name in ("running_mean", "running_var", "weight", "bias", "eps"))
    if not isinstance(x, Patch) or given["training"] or norm[0] is None or norm[1] is None:
        return NotImplemented
    todo = x.todo
    if todo is not None:
        folded = x.work.folded(todo.weight, todo.bias, norm)
        made = Patch(x.work, tuple(x.shape), todo.weight, todo=Todo(todo.source, *folded, todo.run))
        return todo.source.await_by(made)
    mean, variance, weight, bias, eps = norm

    def op(maps: Tensor) -> Tensor:
        return functional.batch_norm(maps, mean, variance, weight, bias, False, 0.0, eps)

    return Patch.of(x.work, pointwise(x, ("batch_norm", *norm), op))


NORM = ("running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
NORM_OF_TORCH = ("weight", "bias", "running_mean", "running_var", "training", "momentum", "eps", "cudnn_enabled")


@rule(functional.max_pool2d, torch.max_pool2d, torch._C._nn.avg_pool2d, functional.avg_pool2d)
def pool(function: Any, x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, *args: Any, **kwargs: Any) -> Any:
    """Highest or mean of a neighbourhood."""
    if not isinstance(x, Patch):
        return NotImplemented
    mean = function not in (torch.max_pool2d, functional.max_pool2d)
    names = ("ceil_mode", "count_include_pad", "divisor_override") if mean else ("dilation", "ceil_mode", "return_indices")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    if given.get("return_indices") or given.get("divisor_override"):
        return NotImplemented
    kernel, pads = pair(kernel_size), pair(padding)
    steps, spread = pair(stride, kernel), pair(given.get("dilation", 1))
    if mean and (given.get("ceil_mode") or (pads != (0, 0) and not given.get("count_include_pad", True))):
        return NotImplemented

    def op(maps: Tensor, padding: Any) -> Tensor:
        if mean:
            return functional.avg_pool2d(maps, kernel, steps, padding)
        # the windows' surroundings are padded already, and reach as far as ceil_mode reads
        rounded = bool(given.get("ceil_mode")) and padding is pads
        return functional.max_pool2d(maps, kernel, steps, padding, spread, ceil_mode=rounded)

    form = (kernel, steps, pads, spread)
    around = 0.0 if mean else -torch.inf
    key = ("avg" if mean else "max", *form, bool(given.get("ceil_mode")))
    return Patch.of(x.work, neighbourhood(x.work, x.held, key, op, form, around))
