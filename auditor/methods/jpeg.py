"""JPEG's loss on batches (ITU-T T.81, JFIF), as libjpeg codes: without the entropy coding, which loses nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
)  # fmt: skip
"""Annex K's steps of brightness and colour, row by row."""

TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


def jpeg(images: Tensor, quality: float) -> Tensor:
    """Images (n,C,H,W) in [0,1], coded at a quality from 1 to 100: colour at half the size, other than 3 channels as brightness.

    Within about 1/255 of libjpeg's own result on the mean; its whole-number arithmetic rounds otherwise.
    """
    height, width = images.shape[2:]
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    padded = functional.pad(images * 255, (0, -width % 16, 0, -height % 16), mode="replicate")
    if images.shape[1] != 3:
        return quantised(padded.round(), LUMA, scale)[:, :, :height, :width] / 255
    ycc = turned(padded.round(), TO_YCC)
    ycc[:, 1:] += 128
    luma = quantised(ycc[:, :1].round(), LUMA, scale)
    chroma = quantised(functional.avg_pool2d(ycc[:, 1:].round(), 2).round(), CHROMA, scale) - 128
    chroma = functional.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    rgb = turned(torch.cat([luma, chroma], 1), TO_RGB)[:, :, :height, :width]
    return rgb.round().clamp(0, 255) / 255


def turned(images: Tensor, table: tuple[tuple[float, ...], ...]) -> Tensor:
    """Colours (n,3,H,W) by a table (3,3)."""
    return torch.einsum("dc,nchw->ndhw", torch.tensor(table, dtype=images.dtype, device=images.device), images)


def quantised(planes: Tensor, table: tuple[int, ...], scale: float) -> Tensor:
    """Planes (n,C,H,W) in 0..255, sides multiples of 8: the cosine coefficients of 8 x 8 blocks rounded to the table's steps."""
    n, channels, height, width = planes.shape
    steps = torch.tensor(table, dtype=planes.dtype, device=planes.device).view(8, 8) * scale
    steps = (steps + 0.5).floor().clamp(1, 255)
    k = torch.arange(8, dtype=planes.dtype, device=planes.device)
    cosine = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) / 2
    cosine[0] /= math.sqrt(2)
    blocks = (planes - 128).view(n, channels, height // 8, 8, width // 8, 8).permute(0, 1, 2, 4, 3, 5)
    kept = ((cosine @ blocks @ cosine.T) / steps).round() * steps
    back = (cosine.T @ kept @ cosine).permute(0, 1, 2, 4, 3, 5).reshape(planes.shape)
    return (back + 128).round().clamp(0, 255)
