"""Maps (n,C,h,w) of what a layer gives, whether it keeps channels first, channels last, or tokens in a row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from auditor.errors import TargetError

Shape = tuple[int, ...]
Order = Literal["first", "last", "tokens"]
MOST_PREFIX = 16
"""Class and register tokens that may stand before a grid of tokens."""


@dataclass(frozen=True)
class Layout:
    """How an output holds maps of `grid` (h,w) positions."""

    order: Order
    """"first" (n,C,h,w), "last" (n,h,w,C), "tokens" (n,prefix + h w,C)."""
    grid: tuple[int, int]
    prefix: int = 0
    """Class and register tokens, which come first and have no place in the image."""


def layout_of(shape: Shape, side: tuple[int, int], grids: Iterable[tuple[int, int]] = ()) -> Layout | None:
    """The layout of an output of `shape` for images of `side` (H,W); None where it holds no maps.

    A map has the aspect ratio of the image, more than one position and more than one channel. Tokens stand for a grid that was
    seen as a map before (`grids`: the patch embedding's), or for half, a quarter, ... of one, behind at most MOST_PREFIX others;
    where no map was seen before, for any grid of the aspect ratio.
    """
    if len(shape) == 4:
        found = [Layout("first", (shape[2], shape[3])), Layout("last", (shape[1], shape[2]))]
        channels = {"first": shape[1], "last": shape[3]}
        fit = [f for f in found if channels[f.order] > 1 and f.grid[0] * f.grid[1] > 1 and off(f.grid, side) <= 2 * max(side)]
        return min(fit, key=lambda f: off(f.grid, side), default=None)
    if len(shape) != 3 or shape[1] < 4 or shape[2] < 2:
        return None
    known = {(h >> k, w >> k) for h, w in grids for k in range(8) if (h >> k) * (w >> k) > 1}
    behind = [(shape[1] - h * w, (h, w)) for h, w in known if 0 <= shape[1] - h * w <= MOST_PREFIX]
    if behind:
        prefix, grid = min(behind)
        return Layout("tokens", grid, prefix)
    if known:
        return None
    exact = [
        (h, shape[1] // h) for h in range(1, shape[1] + 1)
        if shape[1] % h == 0 and off((h, shape[1] // h), side) == 0
    ]  # fmt: skip
    return Layout("tokens", exact[0]) if exact else None


def off(grid: tuple[int, int], side: tuple[int, int]) -> int:
    """How far a grid is from the aspect ratio of the image; 0 where it has it."""
    return abs(grid[0] * side[1] - grid[1] * side[0])


def as_maps(value: Tensor, layout: Layout) -> Tensor:
    """(n,C,h,w) of a layer's output, differentiable; class and register tokens are left out.

    Raises TargetError where the output is not of the layout (an image of another size).
    """
    high, wide = layout.grid
    if layout.order == "tokens":
        if value.ndim != 3 or value.shape[1] != layout.prefix + high * wide:
            raise TargetError(
                f"expected tokens (n,{layout.prefix + high * wide},C), got {tuple(value.shape)}: keep the image size"
            )
        tokens = value[:, layout.prefix :].transpose(1, 2)
        return tokens.reshape(*tokens.shape[:2], high, wide)
    if value.ndim != 4:
        raise TargetError(f"expected maps of four axes, got {tuple(value.shape)}: choose another layer")
    return value if layout.order == "first" else value.permute(0, 3, 1, 2)
