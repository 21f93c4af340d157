"""Operations on each number alone, on two maps, on channels laid together; means of whole maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from auditor.methods.incremental.carry import pair, rule
from auditor.methods.incremental.patch import Held, Patch
from auditor.methods.incremental.windows import Side, read
from auditor.methods.incremental.work import Work


def pointwise(x: Patch, key: tuple[Any, ...], op: Callable[[Tensor], Tensor]) -> Held:
    """The same on windows and base; `op` must leave its argument as it is, and `key` names it."""
    held = x.held
    if held.base is None:
        return Held(op(held.window), None)
    base = held.base
    return Held(op(held.window), x.work.once("map", (base, *key), lambda: op(base)), held.rows, held.columns)


ACTIVATIONS = (
    "relu", "relu6", "hardtanh", "silu", "gelu", "leaky_relu", "hardswish", "hardsigmoid", "elu", "selu", "celu", "mish",
    "softplus", "softsign", "logsigmoid", "sigmoid", "tanh",
)  # fmt: skip
NUMBERS = ("relu", "relu_", "sigmoid", "tanh", "clamp", "clamp_min", "clamp_max", "abs", "exp", "sqrt", "square", "neg")
IN_PLACE = {
    "relu_": torch.relu, "clamp_": torch.clamp, "sigmoid_": torch.sigmoid, "mul_": torch.mul, "div_": torch.div,
}  # fmt: skip
UNARY = (
    *(getattr(functional, name) for name in ACTIVATIONS),
    *(getattr(torch, name) for name in NUMBERS),
    *(getattr(Tensor, name) for name in (*NUMBERS, *IN_PLACE)),
)


@rule(*dict.fromkeys(UNARY))
def unary(function: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """A function of each number alone, in place where asked."""
    if not isinstance(x, Patch) or any(isinstance(a, Tensor) for a in (*args, *kwargs.values())):
        return NotImplemented
    name = function.__name__
    inside = name.endswith("_") or bool(kwargs.get("inplace", False))
    kwargs = {key: value for key, value in kwargs.items() if key != "inplace"}
    plain = IN_PLACE.get(name, function)
    held = pointwise(x, (name, args, sorted(kwargs.items())), lambda maps: plain(maps, *args, **kwargs))
    return x.replace(held) if inside else Patch.of(x.work, held)


@rule(functional.dropout, functional.dropout2d, functional.alpha_dropout, functional.feature_alpha_dropout)
def dropout(_function: Any, x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Nothing, in evaluation."""
    return NotImplemented if training and p > 0 else x


@rule(functional.adaptive_avg_pool2d)
def adaptive(_function: Any, x: Any, output_size: Any) -> Any:
    """The mean of a map: the base's, and what the window adds to it."""
    sides = tuple(x.shape[2 + i] if s is None else s for i, s in enumerate(pair(output_size, output_size)))
    if not isinstance(x, Patch):
        return NotImplemented
    if sides == tuple(x.shape[2:]):
        return x
    return averaged(x)[:, :, None, None] if sides == (1, 1) else NotImplemented


@rule(Tensor.mean, torch.mean)
def mean(_function: Any, x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Over both sides of the map."""
    dims = {d % 4 for d in (dim if isinstance(dim, list | tuple) else [dim])} if dim is not None else set()
    if not isinstance(x, Patch) or dims != {2, 3} or dtype is not None:
        return NotImplemented
    found = averaged(x)
    return found[:, :, None, None] if keepdim else found


def averaged(x: Patch) -> Tensor:
    """(n,C) means of the maps."""
    held = x.held
    if held.base is None:
        return held.window.mean((2, 3))
    assert held.rows is not None
    assert held.columns is not None
    base = held.base
    covered = read(base, (held.rows.starts, held.columns.starts), (held.rows.width, held.columns.width))
    before: Tensor = x.work.once("mean", (base,), lambda: base.mean((2, 3)))
    return before + (held.window - covered).sum((2, 3)) / (base.shape[2] * base.shape[3])


@rule(
    torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, Tensor.add_, Tensor.__iadd__, torch.mul, Tensor.mul, Tensor.__mul__,
    Tensor.__rmul__, Tensor.__imul__, torch.sub, Tensor.sub, Tensor.__sub__, Tensor.__isub__, torch.div, Tensor.div,
    Tensor.__truediv__, Tensor.__itruediv__, torch.maximum,
)  # fmt: skip
def binary(function: Any, x: Any, y: Any, **kwargs: Any) -> Any:
    """Of two patches, or of a patch and a number or one value a channel."""
    name = function.__name__
    op = ARITHMETIC[name.strip("_").removeprefix("i").removeprefix("r")]
    if kwargs.get("alpha", 1) != 1 or set(kwargs) - {"alpha"}:
        return NotImplemented
    inside = name == "add_" or (name.startswith("__i") and name.endswith("__"))
    if name.startswith("__r"):
        x, y = y, x
    first = x if isinstance(x, Patch) else y
    held = joined(first.work, op, name, x, y)
    if held is NotImplemented:
        return NotImplemented
    return x.replace(held) if inside and isinstance(x, Patch) else Patch.of(first.work, held)


ARITHMETIC: dict[str, Callable[[Any, Any], Tensor]] = {
    "add": torch.add, "mul": torch.mul, "sub": torch.sub, "div": torch.div, "truediv": torch.div, "maximum": torch.maximum,
}  # fmt: skip


def joined(work: Work, op: Callable[[Any, Any], Tensor], name: str, x: Any, y: Any) -> Any:
    """The content of op(x, y); NotImplemented for shapes that are not followed."""
    if not (isinstance(x, Patch) and isinstance(y, Patch)):
        patch, other = (x, y) if isinstance(x, Patch) else (y, x)
        if isinstance(other, Tensor) and other.ndim > 0 and not per_channel(other, patch):
            return NotImplemented
        flipped = patch is y
        return pointwise(patch, (name, flipped, other), lambda maps: op(other, maps) if flipped else op(maps, other))
    if x.shape != y.shape:
        return NotImplemented
    a, b = x.held, y.held
    if a.base is None or b.base is None:
        return Held(op(a.whole(), b.whole()), None)
    rows, columns = union(a, b)
    windows = [h.window if same(h, rows, columns) else h.widened(rows, columns) for h in (a, b)]
    return Held(op(*windows), work.once("map", (a.base, b.base, name), lambda: op(a.base, b.base)), rows, columns)


def per_channel(value: Tensor, patch: Patch) -> bool:
    """Whether it has one number for all, or one a channel: (C,1,1) or (1,C,1,1)."""
    shape = tuple(value.shape)
    return value.numel() == 1 or shape in ((patch.shape[1], 1, 1), (1, patch.shape[1], 1, 1))


def union(a: Held, b: Held) -> tuple[Side, Side]:
    """Windows that hold those of both."""
    assert a.rows is not None
    assert a.columns is not None
    assert b.rows is not None
    assert b.columns is not None
    return a.rows.union(b.rows), a.columns.union(b.columns)


def same(held: Held, rows: Side, columns: Side) -> bool:
    """Whether its windows are these already."""
    assert held.rows is not None
    assert held.columns is not None
    pairs = ((held.rows, rows), (held.columns, columns))
    return all(a.width == b.width and bool((a.starts == b.starts).all()) for a, b in pairs)


@rule(torch.cat, torch.concat)
def concatenated(_function: Any, tensors: Any, dim: int = 0) -> Any:
    """Along the channels."""
    if dim % 4 != 1 or not all(isinstance(t, Patch) for t in tensors):
        return NotImplemented
    held = [t.held for t in tensors]
    if any(h.base is None for h in held):
        return Patch.of(tensors[0].work, Held(torch.cat([h.whole() for h in held], 1), None))
    rows, columns = union(held[0], held[0])
    for other in held[1:]:
        more = union(held[0], other)
        rows, columns = rows.union(more[0]), columns.union(more[1])
    windows = [h.window if same(h, rows, columns) else h.widened(rows, columns) for h in held]
    bases = tuple(h.base for h in held)
    base = tensors[0].work.once("cat", bases, lambda: torch.cat(bases, 1))
    return Patch.of(tensors[0].work, Held(torch.cat(windows, 1), base, rows, columns))
