"""A convolution by the cheapest way that is the same up to rounding; what is made of its weight is made once a model."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from auditor.methods.incremental.work import Work
from auditor.ops import packed
from auditor.ops.packed import Pair
from auditor.ops.winograd import Kernel, fits, pays


def convolved(
    work: Work, maps: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Tensor:
    """`functional.conv2d`, up to rounding: by fewer multiplications where that pays (`ops.winograd`).

    A batch of small windows of 512 channels spends a fifth of its time on laying out the weight, which the CPU's kernels want in
    blocks; they take it laid out, too.
    """
    how = (stride, padding, dilation, groups)
    if fits(weight, stride, dilation, groups) and pays(maps, weight, padding):
        kernel: Kernel = work.keeper(weight).once("winograd", (weight,), lambda: Kernel(weight))
        return kernel(maps, bias, padding)
    if packed.packs(maps, weight):
        laid = work.keeper(weight).once("packed", (weight, *how), lambda: packed.packed(weight, tuple(maps.shape), *how))
        if laid is not None:
            return packed.convolved(maps, laid, bias, *how)
    return functional.conv2d(maps, work.laid_out(weight), bias, *how)
