"""Weights of a convolution as pictures and figures. F filters of C channels and (h,w) positions."""

from __future__ import annotations

import numpy as np

from auditor.types import Array

MIDDLE = 127.5
"""The grey of weight 0."""
DEAD = 1e-3
"""Share of the median norm under which a filter is dead."""
ALIKE = 0.99
SMALLEST = 3
"""Below this many positions either way a kernel's frequencies cannot be told apart."""


def norms(weights: Array) -> Array:
    """(F,) float64 Euclidean norms of (F,C,h,w)."""
    return np.asarray(np.sqrt((weights.astype(np.float64) ** 2).sum(axis=(1, 2, 3))))


def dead(weights: Array) -> Array:
    """(F,) bool: a norm of 0, or under a thousandth of the median norm."""
    length = norms(weights)
    return np.asarray((length == 0) | (length < DEAD * np.median(length)))


def cosines(weights: Array) -> Array:
    """(F,F) float64 cosine of every two filters of (F,C,h,w); 0 where one of them is 0."""
    flat = weights.reshape(len(weights), -1).astype(np.float64)
    length = norms(weights)[:, None]
    unit = np.divide(flat, length, out=np.zeros_like(flat), where=length > 0)
    return np.asarray(unit @ unit.T)


def duplicates(weights: Array) -> Array:
    """(F,) int64: the first earlier filter with |cos| > 0.99, -1 without one. Dead filters neither have nor are one."""
    alive = ~dead(weights)
    alike = np.tril(np.abs(cosines(weights)) > ALIKE, k=-1) & alive[:, None] & alive[None]
    return np.where(alike.any(axis=1), alike.argmax(axis=1), -1).astype(np.int64)


def low_pass(size: int) -> Array:
    """(size,size) S such that w S w is the energy of a sequence w within half the Nyquist frequency: sin(pi d / 2) / (pi d)."""
    apart = np.arange(size)[:, None] - np.arange(size)[None]
    return np.asarray(np.sinc(apart / 2) / 2)


def high_share(weights: Array) -> Array:
    """(F,) share of each filter's energy above half the Nyquist frequency in either direction; NaN where a filter is 0.

    The integral of the kernel's spectrum, exact for any size; 3/4 is what white noise has, whatever the size, since its energy
    is spread evenly and the square of low frequencies is a quarter of all.
    """
    data = weights.astype(np.float64)
    down, across = low_pass(data.shape[2]), low_pass(data.shape[3])
    low = np.einsum("fchw,hi,wj,fcij->f", data, down, across, data, optimize=True)
    whole = (data**2).sum(axis=(1, 2, 3))
    return np.asarray(1 - np.divide(low, whole, out=np.full(len(data), np.nan), where=whole > 0))


def slices(weights: Array) -> Array:
    """(F,h,w,3) for three channels, (F,h,C w,1) with the channels side by side else."""
    if weights.shape[1] == 3:
        return weights.transpose(0, 2, 3, 1)
    count, channels, high, wide = weights.shape
    return weights.transpose(0, 2, 1, 3).reshape(count, high, channels * wide, 1)


def display(pictures: Array, limits: Array) -> Array:
    """uint8 of signed (F,h,w,c): 0 is mid-grey, +limit 255 and -limit 0, limits (F,) or a number; all grey where a limit is 0.

    It inverts to the weights within 1/255 of the limit.
    """
    limit = np.broadcast_to(np.asarray(limits, dtype=np.float64), (len(pictures),))[:, None, None, None]
    scaled = np.divide(pictures, limit, out=np.zeros(pictures.shape), where=limit > 0)
    return np.clip(np.rint(MIDDLE + MIDDLE * scaled), 0, 255).astype(np.uint8)


def sheet(tiles: Array, *, columns: int, scale: int, gap: int = 2) -> tuple[Array, tuple[int, int]]:
    """One picture of tiles (n,h,w,c), row by row, each enlarged `scale` times to squares, `gap` white pixels below and right.

    Returns it and the (height, width) of a tile with its gap.
    """
    big = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    count, high, wide, channels = big.shape
    rows = -(-count // columns)
    padded = np.full((rows * columns, high + gap, wide + gap, channels), 255, dtype=np.uint8)
    padded[:count, :high, :wide] = big
    grid = padded.reshape(rows, columns, high + gap, wide + gap, channels).transpose(0, 2, 1, 3, 4)
    return grid.reshape(rows * (high + gap), columns * (wide + gap), channels), (high + gap, wide + gap)
