"""Operations that sum over a dimension: products, reductions, normalisation, softmax."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from auditor.ops.reach.op import Op, Result
from auditor.ops.reach.reach import Reach, joined, plain
from auditor.ops.reach.span import LostError


def product(op: Op) -> Result:
    """Matrix products with a weight: the inner dimension is summed up."""
    names = [name for name in ("mat1", "batch1", "self") if name in op.args]
    left, right = (op.reach(op.args[n]) for n in (names[0], "batch2" if "batch2" in op.args else "mat2"))
    if left is not None and right is not None:
        raise LostError("a product of two things that depend on the image (attention) lets the whole image in")
    shape, found = op.shapes[0], []
    if left is not None:
        spans = left.without(left.axes(len(left.dims) - 1))
        found.append(replace(left, dims=(*left.dims[:-1], plain(shape[-1])), spans=spans, mixed=False))
    if right is not None:
        spans = right.without(right.axes(len(right.dims) - 2))
        found.append(replace(right, dims=(*right.dims[:-2], plain(shape[-2]), right.dims[-1]), spans=spans))
    bias = op.reach(op.args["self"]) if names[0] != "self" else None
    return joined([*found, bias] if bias is not None else found, shape)


def reduced(op: Op) -> Result:
    """mean, sum, max, norm, ... over some dimensions, or all."""
    reach, given = op.only(), op.args.get("dim")
    rank = len(reach.dims)
    listed = list(given) if isinstance(given, list | tuple) else [] if given is None else [given]
    over = {int(d) % rank for d in listed} or set(range(rank))
    spans = reach.without({axis for d in over for axis in reach.axes(d)})
    keep = bool(op.args.get("keepdim", False))
    dims = tuple(() if d in over else dim for d, dim in enumerate(reach.dims) if keep or d not in over)
    return replace(reach, dims=dims, spans=spans)


def softmax(op: Op) -> Result:
    """Over channels it mixes no positions."""
    if op.only().axes(op.dim()):
        raise LostError(f"{op.name.strip('_')} over positions lets the whole image in")
    return op.only()


def batch_norm(op: Op) -> Result:
    """With running statistics a scale a channel; with those of the input (instance norm) the whole image has a say."""
    return statistics(op, op.only().places if op.args.get("training", False) else ())


def group_norm(op: Op) -> Result:
    """Statistics of the input, over channels and positions."""
    return statistics(op, op.only().places)


def layer_norm(op: Op) -> Result:
    """Statistics over the last dimensions: of the channels alone where the channels come last."""
    reach = op.only()
    count = len(op.args["normalized_shape"])
    return statistics(op, {axis for d in range(len(reach.dims) - count, len(reach.dims)) for axis in reach.axes(d)})


def statistics(op: Op, axes: Iterable[int]) -> Reach:
    """The same box, UNKNOWN where the statistics run over image axes."""
    if not list(axes):
        return op.only()
    kind = op.name.removeprefix("_").removeprefix("native_")
    return op.only().told("UNKNOWN", f"{kind} takes its statistics from the whole image; the box is that of the local path")


def glu(op: Op) -> Result:
    """One half of the channels gates the other."""
    reach, dim = op.only(), op.dim()
    if reach.axes(dim):
        raise LostError("glu over positions")
    return reach.along(dim, None, op.shapes[0][dim])
