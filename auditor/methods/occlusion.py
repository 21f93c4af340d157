"""Occlusion (Zeiler & Fergus 2014): cover a window, and see how far the class score falls.

The windows are those of captum's `Occlusion`: the first lies in the corner, one every `stride` pixels until the image is
covered, the last cut off at the border; a pixel's value is the mean over the windows that cover it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.covered import covered_scores
from auditor.methods.incremental.order import MOST
from auditor.methods.inputs import TargetClass, checked, judged
from auditor.ops.batching import images_at_once

Size = int | tuple[int, int]
"""One number for both sides, or (rows, columns)."""


@dataclass(frozen=True)
class Occluded:
    """What occlusion brought for N images of H x W, R x S windows each."""

    score: Tensor
    """(N,) pre-softmax score of the class, or difference of the two of a contrast, nothing covered."""
    probability: Tensor
    """(N,) its softmax probability, for a contrast (a, b) p_a / (p_a + p_b)."""
    drops: Tensor
    """(N,R,S) score minus the score with that window covered."""
    covered: Tensor
    """(N,R,S) probability with that window covered."""
    drop_map: Tensor
    """(N,H,W) mean of `drops` over the windows that cover a pixel: captum's attribution, of any one channel."""
    covered_map: Tensor
    """(N,H,W) mean of `covered`, likewise."""


def spans(length: int, window: int, stride: int) -> list[tuple[int, int]]:
    """(begin, end) of each window along one side of `length` pixels. Raises UsageError for a window that does not fit."""
    if not 1 <= window <= length:
        raise UsageError(f"expected an occlusion window of 1..{length} px, got {window}: choose one within the image")
    if stride < 1 or (stride > window and window < length):
        raise UsageError(f"expected an occlusion stride of 1..{window} px (the window), got {stride}: leave no pixel uncovered")
    steps = -(-(length - window) // stride) + 1
    return [(i * stride, min(i * stride + window, length)) for i in range(steps)]


def boxes(shape: tuple[int, int], window: Size, stride: Size) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Spans of the R rows and of the S columns of windows over an image of `shape` (H,W)."""
    (wy, wx), (sy, sx) = pair(window), pair(stride)
    return spans(shape[0], wy, sy), spans(shape[1], wx, sx)


def pair(size: Size) -> tuple[int, int]:
    """(rows, columns)."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def spread(grid: Tensor, shape: tuple[int, int], window: Size, stride: Size) -> Tensor:
    """(N,H,W) mean over the windows that cover each pixel, of (N,R,S) values a window."""
    rows, columns = boxes(shape, window, stride)
    if grid.shape[1:] != (len(rows), len(columns)):
        raise UsageError(f"expected a grid of {len(rows)} x {len(columns)} windows, got {tuple(grid.shape[1:])}")
    along = [membership(spans_, side, grid) for spans_, side in zip((rows, columns), shape, strict=True)]
    total = torch.einsum("nrs,rh,sw->nhw", grid, *along)
    return total / (along[0].sum(0)[:, None] * along[1].sum(0)[None, :])


def membership(spans_: list[tuple[int, int]], side: int, like: Tensor) -> Tensor:
    """(R,side) 1 where a window covers a pixel of one side, else 0; device and type of `like`."""
    place = torch.arange(side, device=like.device)
    limits = torch.tensor(spans_, device=like.device)
    return ((place >= limits[:, :1]) & (place < limits[:, 1:])).to(like.dtype)


def filling(fill: float | Tensor, inputs: Tensor) -> Tensor:
    """`fill` as something that broadcasts to `inputs` (N,C,H,W): a number, (C,), (C,H,W) or (N,C,H,W)."""
    value = torch.as_tensor(fill, dtype=inputs.dtype, device=inputs.device)
    if value.ndim == 1:
        value = value[:, None, None]
    try:
        return value.expand_as(inputs)
    except RuntimeError:
        raise UsageError(
            f"expected fill as a number, (C,), (C,H,W) or (N,C,H,W) for inputs {tuple(inputs.shape)}, got {tuple(value.shape)}"
        ) from None


def occlusion(
    model: nn.Module,
    inputs: Tensor,
    target: TargetClass,
    *,
    window: Size = 16,
    stride: Size = 8,
    fill: float | Tensor = 0.0,
    batch: int | None = None,
) -> Occluded:
    """Cover every window of `inputs` (N,C,H,W) with `fill`, in all channels, and score the rest of the image.

    `model` gives (N,K) pre-softmax scores; `target` is a class, (N,) classes, or a pair of these (the drop of S_a - S_b);
    `window` and `stride` are in pixels; `fill` is in the units of `inputs` (0 is the mean pixel of normalised ones): a number,
    (C,), (C,H,W) or (N,C,H,W). At most `batch` images (by their size, where None) go through the model at once, so memory does
    not grow with the number of windows. Where it saves work, only what a window can change is computed (methods/incremental):
    the same values but for the last bits; where no `batch` is given, of up to MOST times as many windows at once. A window that
    changes nothing has the drop 0, exactly. Raises UsageError for windows that do not fit.
    """
    images, classes = checked(inputs, target)
    cover = filling(fill, images)
    shape = (images.shape[2], images.shape[3])
    rows, columns = boxes(shape, window, stride)
    size = batch or images_at_once(images.shape[1:], images.device)
    with torch.no_grad():
        base = [judged(model, images[i : i + size], classes[i : i + size]) for i in range(0, len(images), size)]
        if not base:
            raise UsageError("expected at least one image to occlude, got none")
        score, probability = (torch.cat(part) for part in zip(*base, strict=True))
        most = batch or MOST * size
        own, covered = covered_scores(model, images, classes, cover, (rows, columns), (score, probability), size, most)
    drops = score[:, None, None] - own
    maps = [spread(grid, shape, window, stride) for grid in (drops, covered)]
    return Occluded(score, probability, drops, covered, *maps)
