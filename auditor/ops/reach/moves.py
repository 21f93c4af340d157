"""Operations that move values about without mixing positions: element-wise ones, views, slices, joins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from auditor.ops.reach.op import Op, Result
from auditor.ops.reach.reach import RAGGED, Reach, joined, picked, plain, relayout, tidy
from auditor.ops.reach.span import NOTHING, LostError
from auditor.types import Array


def pointwise(op: Op) -> Result:
    """Element by element, broadcast."""
    return joined(op.tracked(), op.shapes[0], gate=op.name in ("mul", "div"))


def fresh(op: Op) -> Result:
    """Values that do not come from the argument."""
    return None


def copied(op: Op) -> Result:
    """copy_: what is written over says nothing any more."""
    source = op.reach(op.args["src"])
    return None if source is None else joined([source], op.shapes[0])


def view(op: Op) -> Result:
    """The same elements in another shape."""
    return replace(op.only(), dims=relayout(op.only().dims, op.shapes[0]))


def strided(op: Op) -> Result:
    """as_strided may do anything; without positions there is nothing to lose."""
    if op.only().places:
        raise LostError("as_strided over positions")
    return replace(op.only(), dims=tuple(plain(size) for size in op.shapes[0]))


def permute(op: Op) -> Result:
    """Dimensions in another order."""
    reach = op.only()
    order = list(range(len(reach.dims)))
    if op.name == "permute":
        order = [int(d) % len(order) for d in op.args["dims"]]
    elif len(order) > 1:
        a, b = (0, 1) if op.name == "t" else (op.dim("dim0"), op.dim("dim1"))
        order[a], order[b] = order[b], order[a]
    return replace(reach, dims=tuple(reach.dims[d] for d in order))


def select(op: Op) -> Result:
    """One position of a dimension."""
    return at(op.only(), op.dim(), int(op.args["index"]))


def at(reach: Reach, dim: int, index: int) -> Reach:
    """Position `index` of dimension `dim`, which goes."""
    one = picked(reach, dim, np.array([index % reach.size(dim)]))
    return replace(one, dims=one.dims[:dim] + one.dims[dim + 1 :])


def slices(op: Op) -> Result:
    """Every step-th position from start to end."""
    reach, dim, step = op.only(), op.dim(), int(op.args["step"])
    index = np.arange(reach.size(dim))[slice(op.args["start"], op.args["end"], step)]
    if not len(index):
        raise LostError("an empty slice")
    return picked(reach, dim, index, None, step)


def indexed(op: Op) -> Result:
    """index_select, and advanced indexing along one dimension."""
    reach = op.only()
    if op.name == "index_select":
        dim, index = op.dim(), op.args["index"]
    else:
        given = [(d, t) for d, t in enumerate(op.args["indices"]) if t is not None]
        if len(given) != 1 or given[0][1].ndim != 1:
            raise LostError("positions are picked by several indices")
        dim, index = given[0]
    index = index.nonzero()[:, 0] if index.dtype in (torch.bool, torch.uint8) else index
    return picked(reach, dim, index.cpu().numpy().astype(np.int64) % reach.size(dim))


def reordered(op: Op) -> Result:
    """flip and roll: each position moves as a whole."""
    reach = op.only()
    shifts = op.ints("shifts", 1, [0] * len(op.args["dims"]))
    if len(shifts) != len(op.args["dims"]):
        raise LostError("a roll over flattened positions")
    for given, shift in zip(op.args["dims"], shifts, strict=True):
        dim = int(given) % len(reach.dims)
        index = np.arange(reach.size(dim))
        reach = picked(reach, dim, index[::-1].copy() if op.name == "flip" else np.roll(index, shift), 0.0)
    return reach


def repeat(op: Op) -> Result:
    """Tiled copies."""
    reach, times = op.only(), list(op.args["repeats"])
    reach = replace(reach, dims=((),) * (len(times) - len(reach.dims)) + reach.dims)
    for d, count in enumerate(times):
        reach = picked(reach, d, np.tile(np.arange(reach.size(d)), count), 0.0)
    return reach


def parts(op: Op) -> Result:
    """split, chunk and unbind: one reach an output."""
    reach, dim, begin = op.only(), op.dim(), 0
    out: list[Reach] = []
    for number, shape in enumerate(op.shapes):
        if op.name == "unbind":
            out.append(at(reach, dim, number))
        else:
            out.append(picked(reach, dim, np.arange(begin, begin + shape[dim])))
            begin += shape[dim]
    return out


def concatenated(op: Op) -> Result:
    """cat and stack: the union where channels are joined, one after the other where positions are."""
    shape, tensors = op.shapes[0], [t for t in op.args["tensors"] if t.numel()]
    dim = int(op.args["dim"]) % len(shape)
    found = [op.reach(t) for t in tensors]
    if op.name == "stack":
        found = [r and replace(r, dims=(*r.dims[:dim], (), *r.dims[dim:])) for r in found]
    members = [r for r in found if r is not None]
    axes = {r.alone(dim, "a concatenation") if r.axes(dim) else None for r in members}
    if len(axes) > 1:
        raise LostError("positions and other things are joined into one row (tokens)")
    axis = axes.pop()
    flat = [replace(r, dims=tidy(r.dims[:dim], plain(shape[dim]), r.dims[dim + 1 :])) for r in members]
    if axis is None:
        whole = joined(flat, shape)
        differ = len(members) < len(found) or any(not r.sees_as(whole) for r in members)
        return replace(whole, mixed=whole.mixed or differ)
    other = joined([replace(r, spans=r.without({axis})) for r in flat], shape)
    if not all(r.spans[1 - axis].same(other.spans[1 - axis]) for r in members):
        other = other.told("UPPER_BOUND", RAGGED)
    runs = [(r.spans[axis].low, r.spans[axis].high) if r else nothing(t.shape[dim]) for r, t in zip(found, tensors, strict=True)]
    low, high = (np.concatenate([run[side] for run in runs]) for side in (0, 1))
    row = replace(members[0].spans[axis], low=low, high=high, size=max(r.spans[axis].size for r in members))
    ends = (row, other.spans[1]) if axis == 0 else (other.spans[0], row)
    return replace(other, dims=members[0].along(dim, row, shape[dim]).dims, spans=ends)


def nothing(count: int) -> tuple[Array, Array]:
    """(low, high) of `count` positions that see nothing."""
    return np.full(count, NOTHING), np.full(count, -NOTHING)
