"""A convolution by the cheapest way that is the same up to rounding; what is made of its weight is made once a model."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from auditor.methods.incremental.work import Work
from auditor.ops.frozen import by_laid_out
from auditor.ops.packed import Pair


def convolved(
    work: Work, maps: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """`functional.conv2d`, up to rounding."""
    how, keeper = (stride, padding, dilation, groups), work.keeper(weight)
    found = by_laid_out(lambda key, make: keeper.once("laid out", (weight, key), make), maps, weight, bias, *how)
    return functional.conv2d(maps, work.laid_out(weight), bias, *how) if found is None else found
