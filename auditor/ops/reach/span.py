"""Along one image axis, what each position of a tensor sees: interval arithmetic.

Intervals, not size and stride alone, so that borders, uneven bins and unequal branches come out exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.types import Array

NOTHING = 1 << 40
"""low = NOTHING and high = -NOTHING: an interval that sees nothing, neutral in a union."""


class LostError(Exception):
    """An operation that cannot be followed; its words become the reason of the field."""


@dataclass(frozen=True, eq=False)
class Span:
    """Along one image axis, what n positions see. n = 1 also where the tensor has no such axis (any more)."""

    low: Array
    """(n,) int64: the first pixel that each sees."""
    high: Array
    """(n,) int64: one past the last."""
    size: float
    """Nominal extent in pixels, as if the image had no border."""
    jump: float
    """Nominal pixels from one position to the next."""
    start: float
    """Nominal first pixel of position 0; negative where it lies outside."""

    def __len__(self) -> int:
        return len(self.low)

    def same(self, other: Span) -> bool:
        """Whether both see the same pixels."""
        return np.array_equal(self.low, other.low) and np.array_equal(self.high, other.high)


def pixels(side: int) -> Span:
    """The image itself: each position sees its own pixel."""
    return Span(np.arange(side), np.arange(side) + 1, 1.0, 1.0, 0.0)


def whole(side: int) -> Span:
    """One position that may see everything."""
    return Span(np.array([0]), np.array([side]), float(side), float(side), 0.0)


def gathered(span: Span, taps: Array) -> tuple[Array, Array]:
    """(low, high) of new positions, each the union of the `taps` (m,k) it reads; a tap outside 0..n-1 reads nothing."""
    outside = (taps < 0) | (taps >= len(span))
    index = np.where(outside, 0, taps)
    low = np.where(outside, NOTHING, span.low[index]).min(axis=1, initial=NOTHING)
    high = np.where(outside, -NOTHING, span.high[index]).max(axis=1, initial=-NOTHING)
    return low, high


def window(span: Span, count: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> Span:
    """`count` positions of a convolution or pooling: position i reads i * stride - padding + t * dilation, t < kernel."""
    taps = np.arange(count)[:, None] * stride - padding + np.arange(kernel)[None] * dilation
    low, high = gathered(span, taps)
    size = span.size + (kernel - 1) * dilation * span.jump
    return Span(low, high, size, span.jump * stride, span.start - padding * span.jump)


def transposed(span: Span, count: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> Span:
    """`count` positions of a transposed convolution: position i reads m where m * stride - padding + t * dilation = i."""
    reached = np.arange(count)[:, None] + padding - np.arange(kernel)[None] * dilation
    low, high = gathered(span, np.where(reached % stride == 0, reached // stride, -1))
    first = math.ceil((padding - (kernel - 1) * dilation) / stride)
    most = math.floor((kernel - 1) * dilation / stride)
    return Span(low, high, span.size + most * span.jump, span.jump / stride, span.start + first * span.jump)


def bins(span: Span, taps: Array, jump: float) -> Span:
    """Positions that read uneven sets of neighbours: `taps` (m,k), -1 for none; `jump` in positions read."""
    low, high = gathered(span, taps)
    valid = np.where(taps < 0, NOTHING, taps)
    most = int((taps.max(axis=1) - valid.min(axis=1)).max())
    return Span(low, high, span.size + max(most, 0) * span.jump, span.jump * jump, span.start + float(valid[0].min()) * span.jump)


def taken(span: Span, index: Array, first: float | None = None, step: float = 1.0) -> Span:
    """The positions `index` (m,), -1 for one that sees nothing; nominally position 0 is `first` and the pace is `step`."""
    low, high = gathered(span, index[:, None])
    begin = float(index[0]) if first is None else first
    return Span(low, high, span.size, span.jump * step, span.start + begin * span.jump)


def collapsed(span: Span) -> Span:
    """One position that sees what all of them see."""
    low, high = int(span.low.min()), int(span.high.max())
    if high <= low:
        return Span(np.array([NOTHING]), np.array([-NOTHING]), 0.0, span.jump, span.start)
    return Span(np.array([low]), np.array([high]), float(high - low), float(high - low), float(low))


def union(spans: Sequence[Span]) -> Span:
    """Position by position what any of them sees; one of length 1 stands beside every position."""
    longest = max(spans, key=len)
    if any(len(s) not in (1, len(longest)) for s in spans):
        raise LostError(f"axes of unequal length meet: {sorted({len(s) for s in spans})}")
    if all(s is spans[0] for s in spans):
        return spans[0]
    low, high = spans[0].low, spans[0].high
    for span in spans[1:]:
        low, high = np.minimum(low, span.low), np.maximum(high, span.high)
    start, end = min(s.start for s in spans), max(s.start + s.size for s in spans)
    return Span(low, high, end - start, longest.jump, start)
