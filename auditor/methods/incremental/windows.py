"""Where changed windows lie, before and after an operation that reads a neighbourhood. One side at a time; n windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auditor.types import Array


@dataclass(frozen=True)
class Side:
    """n windows of one width along one side of a map."""

    starts: Array
    """(n,) int64."""
    width: int
    length: int
    """Of the map."""
    changed: tuple[Array, Array] | None = None
    """(n,) first and last place of each that can differ from the base; the whole windows where None."""

    @property
    def limits(self) -> tuple[Array, Array]:
        """(n,) first and last place of each that can differ."""
        return self.changed or (self.starts, self.starts + self.width - 1)

    @property
    def extent(self) -> Array:
        """(n,) places of each that can differ: the width of its window, were it alone."""
        first, last = self.limits
        return np.asarray(last - first + 1)

    def after(self, length: int, kernel: int, stride: int, padding: int, dilation: int) -> Side:
        """The windows of an output of `length` that these can change.

        Window [a, a+w) touches outputs ceil((a+p-k+1)/s) .. floor((a+w-1+p)/s). All are given one width, the largest, and are
        shifted rather than clipped at the end, so that a batch keeps one shape.
        """
        reach = (kernel - 1) * dilation + 1
        first, last = self.limits
        first = np.clip(-((-(first + padding - reach + 1)) // stride), 0, length - 1)
        last = np.clip((last + padding) // stride, first, length - 1)
        return around(first, last, length)

    def union(self, other: Side) -> Side:
        """Windows that hold both."""
        (first, last), (begin, end) = self.limits, other.limits
        return around(np.minimum(first, begin), np.maximum(last, end), self.length)


def around(first: Array, last: Array, length: int) -> Side:
    """Windows of one width about (n,) first and last places."""
    width = int((last - first + 1).max())
    return Side(np.minimum(first, length - width), width, length, (first, last))


def read(base: Tensor, starts: tuple[Array, Array], size: tuple[int, int]) -> Tensor:
    """(n,C,h,w) channels-last copies of the windows of `size` that start at (rows, columns) of the map `base` (1,C,H,W)."""
    rows, columns = (
        torch.from_numpy(start[:, None] + np.arange(width)).to(base.device) for start, width in zip(starts, size, strict=True)
    )
    pixels = base[0].permute(1, 2, 0).reshape(-1, base.shape[1])  # a view where the map is channels-last: C numbers a copy
    at = rows[:, :, None] * base.shape[3] + columns[:, None, :]
    return pixels.index_select(0, at.reshape(-1)).view(*at.shape, base.shape[1]).permute(0, 3, 1, 2)


def lay(under: Tensor, windows: Tensor, shifts: tuple[Array, Array]) -> None:
    """Lay `windows` (n,C,h,w) into `under` (n,C,H,W), each at its shift (rows, columns); what stands out is cut off."""
    groups: dict[tuple[int, int], list[int]] = {}
    for i, shift in enumerate(zip(shifts[0].tolist(), shifts[1].tolist(), strict=True)):
        groups.setdefault(shift, []).append(i)
    for (down, right), which in groups.items():
        (y0, y1, v0), (x0, x1, u0) = cut(down, windows.shape[2], under.shape[2]), cut(right, windows.shape[3], under.shape[3])
        if y1 <= y0 or x1 <= x0:
            continue
        part: slice | Tensor = slice(None) if len(which) == len(under) else torch.tensor(which, device=under.device)
        under[part, :, y0:y1, x0:x1] = windows[part, :, v0 : v0 + y1 - y0, u0 : u0 + x1 - x0]


def cut(shift: int, width: int, length: int) -> tuple[int, int, int]:
    """(begin, end) in what lies under, and where the window's own part begins."""
    begin, end = max(0, shift), min(length, shift + width)
    return begin, end, begin - shift
