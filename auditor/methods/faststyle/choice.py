"""Which images of a data set would make a style, where none is given: those that are alike everywhere, and not blank."""

from __future__ import annotations

import torch
from torch import Tensor

from auditor.methods.gram import gram, gram_share
from auditor.ops.regularisers import total_variation


def unevenness(images: Tensor) -> Tensor:
    """(n,) how far the quarters of images (n,C,H,W) in [0,1] are from the whole: the mean of |G_q - G|^2 / |G|^2.

    G is the Gram matrix of the colours, less their means, and of their slopes: no model is asked.
    """
    centred = images - images.mean((2, 3), keepdim=True)
    across = centred[..., :-1, 1:] - centred[..., :-1, :-1]
    down = centred[..., 1:, :-1] - centred[..., :-1, :-1]
    maps = torch.cat([centred[..., :-1, :-1], across, down], 1)
    whole, (high, wide) = gram(maps), maps.shape[2:]
    middle = (max(1, high // 2), max(1, wide // 2))
    rows, columns = (slice(0, middle[0]), slice(-middle[0], None)), (slice(0, middle[1]), slice(-middle[1], None))
    return torch.stack([gram_share(gram(maps[..., r, c]), whole) for r in rows for c in columns]).mean(0)


def stylish(images: Tensor, count: int) -> list[int]:
    """Indices of the `count` most even of images (n,C,H,W), among the half of them that varies more."""
    rich = total_variation(images)
    most = max(count, (len(images) + 1) // 2)
    among = torch.argsort(rich, descending=True, stable=True)[:most]
    order = torch.argsort(unevenness(images)[among], stable=True)[:count]
    return [int(i) for i in among[order]]
