"""Rows, each by a matrix of its place that stays the same: on the CPU laid out for its kernels once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from auditor.ops.packed import Pair, convolved, packed, packs

MANY, FEW = 64, 16
"""Sets of rows that go through at once. A layout serves one number alone: the kernels choose it by that number, and would lay the
matrices out anew at every call of another."""

SPARE = 1 / 8
"""Share of all the sets that may be filled up, to do without a second layout."""


class Products:
    """P matrices (P,O,I), as `make` gives them, applied to sets of P rows.

    As one convolution of 1x1 in P groups, whose kernels come close to the processor's peak with few rows, where a batched product
    of matrices, which does not lay them out, comes to 0.5 (16 rows of 512) to 0.8 (64 of 512) of it.
    """

    def __init__(self, make: Callable[[], Tensor]) -> None:
        self.make = make
        self.laid: dict[int, Tensor | None] = {}
        self.plain: Tensor | None = None
        """The matrices as they are, where the kernels take none."""

    def of(self, rows: Tensor) -> Iterator[Tensor]:
        """(m,P,O) of m sets at a time of `rows` (n,P,I), contiguous; all n in turn."""
        begin = 0
        while begin < len(rows):
            count = call_size(len(rows) - begin, len(rows))
            laid = self.laid_out(rows, count)
            if laid is None:
                assert self.plain is not None
                yield torch.bmm(rows[begin:].transpose(0, 1), self.plain.transpose(1, 2)).transpose(0, 1)
                return
            yield by_groups(rows[begin : begin + count], laid, count)
            begin += count

    def laid_out(self, rows: Tensor, count: int) -> Tensor | None:
        """The matrices as the kernels want them for `count` sets of rows; None where they take none."""
        if count not in self.laid:
            matrices = self.make() if self.plain is None else self.plain
            places, outputs, inputs = matrices.shape
            filters = matrices.view(places * outputs, inputs, 1, 1)
            able = packs(rows, filters)
            self.laid[count] = packed(filters, (1, places * inputs, count, 1), *form(places)) if able else None
            if self.laid[count] is None:
                self.plain = matrices
        return self.laid[count]


def call_size(left: int, total: int) -> int:
    """Sets that the next call is for, with `left` of `total` to go: FEW where filling up MANY would cost more than it saves.

    Not where no more than MANY are to go at all: matrices that only ever meet few are not laid out twice.
    """
    return MANY if total <= MANY or left > MANY // 2 or MANY - left <= SPARE * total else FEW


def filled(total: int) -> int:
    """Sets that go through for `total`, those filled up counted."""
    done = 0
    while done < total:
        done += call_size(total - done, total)
    return done


def by_groups(rows: Tensor, laid: Tensor, count: int) -> Tensor:
    """(m,P,O) of m <= `count` sets of rows (m,P,I), by matrices that are laid out for `count`."""
    m, places, inputs = rows.shape
    given = rows if m == count else torch.cat([rows, rows.new_zeros((count - m, places, inputs))])
    found = convolved(given.view(1, count, 1, places * inputs).permute(0, 3, 1, 2), laid, None, *form(places))
    return found.permute(0, 2, 3, 1).reshape(count, places, -1)[:m]


def form(places: int) -> tuple[Pair, Pair, Pair, int]:
    """Stride, padding, dilation and groups."""
    return (1, 1), (0, 0), (1, 1), places
