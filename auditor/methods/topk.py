"""The k strongest images of every channel, over any split of a data set. C channels; at most one entry an image a channel.

The order is total, so ties cannot fall differently in another split: by value, then by a hash of the position in the data set.
A hash, because saturated units (ReLU6) tie in hundreds of images, and in order of position all of them would be of the first
class; so the entries are a fair draw from the tied ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auditor.types import Array

NOWHERE = np.iinfo(np.int64).max
"""The position of an empty entry, after all others."""
MIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""The constants of splitmix64 (Steele, Lea, Flood 2014), a bijection of 64 bits."""
AT_ONCE = 1 << 22
"""Numbers of the maps of hits that are held together."""


@dataclass
class Tops:
    """k entries a channel, best first; empty ones last, with value -inf."""

    values: Array
    """(C,k) float32: the maximum over the map."""
    positions: Array
    """(C,k) int64: which image."""
    places: Array
    """(C,k) int64: where in the map, row-major; the first of several equal ones; -1 where empty."""

    @classmethod
    def empty(cls, channels: int, k: int) -> Tops:
        """The unit of `merge`."""
        shape = (channels, k)
        return cls(np.full(shape, -np.inf, np.float32), np.full(shape, NOWHERE, np.int64), np.full(shape, -1, np.int64))

    def see(self, maps: Tensor, positions: Array) -> Array:
        """Take in `maps` (n,C,H,W) of the images at `positions` (n,). Returns their maxima (n,C) float32.

        A NaN never wins; a map of nothing else has the maximum -inf and no entry. Places are looked for in hits alone.
        """
        peaks = maps.amax((2, 3))
        if bool(peaks.isnan().any()):
            maps = torch.where(maps.isnan(), -torch.inf, maps)
            peaks = maps.amax((2, 3))
        found: Array = peaks.float().cpu().numpy()
        last, held = self.values[:, -1], self.positions[:, -1]
        before = turn(positions)[:, None] < turn(held)[None]
        hits = (found > last) | ((found == last) & before & (found > -np.inf))
        channels = np.flatnonzero(hits.any(axis=0))
        if len(channels):
            self.enter(maps, found[:, channels].T, positions, channels)
        return found

    def enter(self, maps: Tensor, peaks: Array, positions: Array, channels: Array) -> None:
        """Merge the `peaks` (R,n) of some `channels` (R,) into their entries."""
        k = self.values.shape[1]
        values = np.concatenate([self.values[channels], peaks], axis=1)
        images = np.where(peaks > -np.inf, positions[None], NOWHERE)
        images = np.concatenate([self.positions[channels], images], axis=1)
        best = ordered(values, images)[:, :k]
        rows, slots = np.nonzero((best >= k) & (np.take_along_axis(images, best, axis=1) != NOWHERE))
        places = np.concatenate([self.places[channels], np.full(peaks.shape, -1)], axis=1)
        places[rows, best[rows, slots]] = arguments(maps, best[rows, slots] - k, channels[rows])
        self.take(channels, *(np.take_along_axis(part, best, axis=1) for part in (values, images, places)))

    def take(self, channels: Array, values: Array, positions: Array, places: Array) -> None:
        """Replace the entries of some channels."""
        self.values[channels], self.positions[channels], self.places[channels] = values, positions, places

    def merge(self, other: Tops) -> None:
        """Take in the entries over other images."""
        pairs = ((self.values, other.values), (self.positions, other.positions), (self.places, other.places))
        values, positions, places = (np.concatenate(pair, axis=1) for pair in pairs)
        best = ordered(values, positions)[:, : self.values.shape[1]]
        self.values, self.positions, self.places = (np.take_along_axis(a, best, axis=1) for a in (values, positions, places))


def ordered(values: Array, positions: Array) -> Array:
    """(R,m) indices that sort each row by value, highest first, then by turn."""
    return np.lexsort((turn(positions), -values), axis=1)


def turn(positions: Array) -> Array:
    """uint64 in the shape of `positions`: whose turn it is among ties, no two alike; that of NOWHERE is last."""
    mixed = positions.astype(np.uint64) * np.uint64(MIX[0])
    for shift, factor in ((30, MIX[1]), (27, MIX[2])):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return np.where(positions == NOWHERE, np.iinfo(np.uint64).max, mixed)


def arguments(maps: Tensor, images: Array, channels: Array) -> Array:
    """(r,) row-major place of the maximum of maps[images[i], channels[i]], the first of several."""
    out = np.empty(len(images), np.int64)
    step = max(1, AT_ONCE // (maps.shape[2] * maps.shape[3]))
    for begin in range(0, len(images), step):
        part = slice(begin, begin + step)
        index = [torch.from_numpy(np.ascontiguousarray(a[part])).to(maps.device) for a in (images, channels)]
        out[part] = maps[index[0], index[1]].flatten(1).argmax(1).cpu().numpy()
    return out
