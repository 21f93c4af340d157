"""Images at another size."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional


def resized(images: Tensor, size: Sequence[int]) -> Tensor:
    """(n,C,H,W) at `size` (H,W): bilinear, over the area of a pixel where they shrink; the images themselves at that size."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return functional.interpolate(images, size=(size[0], size[1]), mode="bilinear", antialias=True, align_corners=False)
