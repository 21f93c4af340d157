"""Small pictures: for showing, and for comparing pixels by area means."""

from __future__ import annotations

import numpy as np
from PIL import Image

from auditor.ops.colour import three
from auditor.types import Array


def thumbnail(picture: Array, side: int) -> Array:
    """uint8 (h,w,3) of a picture (H,W), (H,W,1) or (H,W,3): its longer side at most `side`; never enlarged."""
    whole = three(picture)
    high, wide = whole.shape[:2]
    scale = side / max(high, wide)
    if scale >= 1:
        return np.ascontiguousarray(whole)
    size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    return np.asarray(Image.fromarray(whole).resize(size, Image.Resampling.BOX))


def suffix(picture: Array, lossless: int = 64) -> str:
    """The file type that suits a picture: photographs as jpg, tiny images as png."""
    return "png" if max(picture.shape[:2]) <= lossless else "jpg"


def area_weights(size: int, side: int) -> Array:
    """(side,size): row i holds the share of each of `size` pixels in the i-th of `side` equal stretches; rows sum to 1."""
    edges = np.linspace(0, size, side + 1)
    starts = np.arange(size)
    overlap = np.minimum(edges[1:, None], starts[None] + 1) - np.maximum(edges[:-1, None], starts[None])
    return np.asarray(np.maximum(overlap, 0) * (side / size))


def area_means(pictures: Array, side: int) -> Array:
    """(n,side,side,C) float32: pictures (n,H,W,C), averaged over side x side equal areas."""
    down = area_weights(pictures.shape[1], side).astype(np.float32)
    across = area_weights(pictures.shape[2], side).astype(np.float32)
    rows = np.tensordot(pictures.astype(np.float32), down, axes=(1, 1))  # (n,W,C,side)
    return np.ascontiguousarray(np.tensordot(rows, across, axes=(1, 1)).transpose(0, 2, 3, 1))
