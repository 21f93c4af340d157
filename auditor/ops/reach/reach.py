"""What the positions of one tensor see, and how its dimensions carry the image's rows and columns."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from auditor.ops.reach.span import LostError, Span, collapsed, taken, union
from auditor.types import Array

Status = Literal["EXACT", "UPPER_BOUND", "UNKNOWN"]
RANK: dict[Status, int] = {"EXACT": 0, "UPPER_BOUND": 1, "UNKNOWN": 2}

PLAIN = -1
"""The axis of a factor that is no place in the image; 0 is the image's rows, 1 its columns."""
PARTLY = "only some channels of a concatenation are read on, and they may see less"
RAGGED = "some positions see less than others: parts with fields of their own stand side by side"
GATED = "a global gate (squeeze-and-excitation) lets the whole image in; the box is that of the local path"


class Factor(NamedTuple):
    """A part of a dimension: its length, and the image axis that it runs along."""

    size: int
    axis: int


Dim = tuple[Factor, ...]
"""A dimension as the row-major product of its factors; () has length 1."""


@dataclass(frozen=True, eq=False)
class Reach:
    """What the positions of one tensor see. `dims` describe its shape, `spans` the image's rows and columns."""

    dims: tuple[Dim, ...]
    spans: tuple[Span, Span]
    status: Status = "EXACT"
    reason: str = ""
    mixed: bool = False
    """Channels see different boxes (a concatenation); `spans` are those of all channels together."""

    def axes(self, dim: int) -> tuple[int, ...]:
        """The image axes within a dimension."""
        return tuple(f.axis for f in self.dims[dim] if f.axis != PLAIN)

    def alone(self, dim: int, what: str) -> int | None:
        """The one image axis that a dimension is, None where it is plain. Raises LostError where it holds more."""
        axes = self.axes(dim)
        if axes and len(self.dims[dim]) > 1:
            raise LostError(f"{what} over flattened positions (tokens)")
        return axes[0] if axes else None

    @property
    def places(self) -> frozenset[int]:
        """The image axes that the tensor still has."""
        return frozenset(f.axis for dim in self.dims for f in dim if f.axis != PLAIN)

    def size(self, dim: int) -> int:
        """The length of a dimension."""
        return length(self.dims[dim])

    def along(self, dim: int, span: Span | None, size: int) -> Reach:
        """With dimension `dim` of length `size`, and `span` as that of its axis where it has one."""
        axes = self.axes(dim)
        axis = axes[0] if axes and span is not None else PLAIN
        spans = tuple(span if a == axis and span is not None else s for a, s in enumerate(self.spans))
        return replace(self, dims=tidy(self.dims[:dim], (Factor(size, axis),), self.dims[dim + 1 :]), spans=(spans[0], spans[1]))

    def without(self, axes: Collection[int]) -> tuple[Span, Span]:
        """The spans with these axes collapsed."""
        rows, columns = (collapsed(s) if a in axes else s for a, s in enumerate(self.spans))
        return rows, columns

    def told(self, status: Status, reason: str) -> Reach:
        """With a status that is at least as bad; the reason of the worst is kept."""
        return self if RANK[status] <= RANK[self.status] else replace(self, status=status, reason=reason)

    def sees_as(self, other: Reach) -> bool:
        """Whether the positions see the same pixels."""
        return all(a.same(b) for a, b in zip(self.spans, other.spans, strict=True))

    def same(self, other: Reach) -> bool:
        """Whether both say the same of the same shape."""
        return self.dims == other.dims and self.status == other.status and self.sees_as(other)


def tidy(before: Sequence[Dim], dim: Dim, after: Sequence[Dim]) -> tuple[Dim, ...]:
    """Dimensions with one of them replaced; factors of length 1 are left out."""
    return (*before, tuple(f for f in dim if f.size != 1), *after)


def plain(size: int) -> Dim:
    """A dimension without a place in the image."""
    return () if size == 1 else (Factor(size, PLAIN),)


def length(dim: Dim) -> int:
    """The length of a dimension."""
    return math.prod(f.size for f in dim)


def relayout(dims: Sequence[Dim], shape: Sequence[int]) -> tuple[Dim, ...]:
    """The dimensions after a view as `shape`. Raises LostError where an image axis is cut into pieces (windows)."""
    left = [f for dim in dims for f in dim][::-1]
    out: list[Dim] = []
    for size in shape:
        dim: list[Factor] = []
        while size > 1:
            if not left:
                raise LostError("a view that does not keep the number of elements")
            factor = left.pop()
            if size % factor.size == 0:
                dim.append(factor)
                size //= factor.size
            elif factor.axis == PLAIN and factor.size % size == 0:
                left.append(Factor(factor.size // size, PLAIN))
                dim.append(Factor(size, PLAIN))
                size = 1
            else:
                raise LostError("positions are cut into windows")
        out.append(tuple(dim))
    return tuple(out)


def picked(reach: Reach, dim: int, index: Array, first: float | None = None, step: float = 1.0) -> Reach:
    """Positions `index` of a dimension, -1 for one from elsewhere; nominally from `first` on, `step` apart."""
    if np.array_equal(index, np.arange(reach.size(dim))):
        return reach
    axis = reach.alone(dim, "a selection")
    if axis is not None:
        return reach.along(dim, taken(reach.spans[axis], index, first, step), len(index))
    return (reach.told("UPPER_BOUND", PARTLY) if reach.mixed else reach).along(dim, None, len(index))


def joined(reaches: Sequence[Reach], shape: Sequence[int], *, gate: bool = False) -> Reach:
    """The union of broadcast operands, for a result of `shape`.

    With `gate` (a product), an operand of one spatial position scales the whole map: the others' box is kept, as UNKNOWN.
    """
    padded = [replace(r, dims=((),) * (len(shape) - len(r.dims)) + r.dims) for r in reaches]
    placed = [d for d in range(len(shape)) if any(r.axes(d) for r in padded)]
    gates = [r for r in padded if not r.places and all(length(r.dims[d]) == 1 for d in placed)] if gate and placed else []
    found = [r for r in padded if r not in gates]
    dims: list[Dim] = []
    for d, size in enumerate(shape):
        kinds = {r.dims[d] for r in found if r.axes(d)}
        dim = kinds.pop() if kinds else plain(size)
        if kinds or length(dim) != size:
            raise LostError("positions that are laid out differently meet")
        dims.append(dim)
    axes = [f.axis for dim in dims for f in dim if f.axis != PLAIN]
    if len(set(axes)) < len(axes):
        raise LostError("every position meets every other")
    worst = max(padded, key=lambda r: RANK[r.status])
    both = union([r.spans[0] for r in found]), union([r.spans[1] for r in found])
    result = Reach(tuple(dims), both, worst.status, worst.reason, any(r.mixed for r in found))
    if gates:
        return result.told("UNKNOWN", GATED)
    return result.told("UPPER_BOUND", RAGGED) if len(found) > 1 and any(ragged(r, found) for r in found) else result


def ragged(reach: Reach, beside: Sequence[Reach]) -> bool:
    """Whether an operand sees nothing at some rows (or columns) and yet widens the columns (or rows) of the union there."""
    for axis in (0, 1):
        if (reach.spans[axis].high <= reach.spans[axis].low).any():
            others = union([r.spans[1 - axis] for r in beside if r is not reach])
            if not union([others, reach.spans[1 - axis]]).same(others):
                return True
    return False
