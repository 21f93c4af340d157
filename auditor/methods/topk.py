"""The k strongest images of every channel, over any split of a data set. C channels; at most one entry an image a channel.

The order is total, so ties cannot fall differently in another split: by value, then by how many places of the map have it (of
values above 0), then by a hash of the position in the data set. Saturated units (ReLU6) tie in hundreds of images: those that
saturate at most places come first. A hash, because in order of position all that still tie would be of the first class; so they
are a fair draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from auditor.ops.maxima import maxima
from auditor.types import Array

NOWHERE = np.iinfo(np.int64).max
"""The position of an empty entry, after all others."""
MIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
"""The constants of splitmix64 (Steele, Lea, Flood 2014), a bijection of 64 bits."""
WAIT = 4
"""Entries a channel, in the mean, that wait before they are sorted in."""
AT_ONCE = 1 << 22
"""Numbers of the maps of hits that are held together."""


class Tops:
    """k entries a channel, best first; empty ones last, with value -inf.

    What is seen waits, and is sorted in once much of it has gathered: a sort costs about as much for few entries as for many.
    """

    def __init__(self, values: Array, positions: Array, places: Array, areas: Array) -> None:
        """(C,k) each, as the properties of these names give them."""
        self.entries: tuple[Array, Array, Array, Array] = (values, positions, places, areas)
        """As of the last `settle`."""
        self.waiting: list[tuple[Array, Array, Array, Array, Array]] = []
        """Channels, then values, positions, places and areas (r,) that may belong among them."""
        self.gathered = 0
        """How many wait."""
        self.floor: Array | None = None
        """(C,) values below which nothing need be entered; None where all may be wanted."""

    @classmethod
    def empty(cls, channels: int, k: int) -> Tops:
        """The unit of `merge`."""
        shape = (channels, k)
        numbers = (np.full(shape, value, np.int64) for value in (NOWHERE, -1, 0))
        return cls(np.full(shape, -np.inf, np.float32), *numbers)

    @property
    def last(self) -> Array:
        """(C,) the k-th values as of the last `settle`; what is below has no room."""
        return self.entries[0][:, -1]

    @property
    def parts(self) -> tuple[Array, Array, Array, Array]:
        """Values, positions, places, areas."""
        self.settle()
        return self.entries

    @property
    def values(self) -> Array:
        """(C,k) float32: the maximum over the map."""
        return self.parts[0]

    @property
    def positions(self) -> Array:
        """(C,k) int64: which image."""
        return self.parts[1]

    @property
    def places(self) -> Array:
        """(C,k) int64: where in the map, row-major; of several equal places the one nearest to their centre, the first of those
        equally near; -1 where empty.
        """
        return self.parts[2]

    @property
    def areas(self) -> Array:
        """(C,k) int64: at how many places of the map it is; 0 for values that are not above 0, which fire nowhere."""
        return self.parts[3]

    def see(self, maps: Tensor, positions: Array) -> Array:
        """Take in `maps` (n,C,H,W) of the images at `positions` (n,). Returns their maxima (n,C) float32.

        A NaN never wins; a map of nothing else has the maximum -inf and no entry. Places are looked for in hits alone.
        """
        peaks = maxima(maps)
        if bool(peaks.isnan().any()):
            maps = torch.where(maps.isnan(), -torch.inf, maps)
            peaks = maps.amax((2, 3))
        found: Array = peaks.float().cpu().numpy()
        images, channels = np.nonzero(self.hits(found, positions))
        if len(images):
            values = found[images, channels]
            areas, places = summits(maps, images, channels)
            areas[values <= 0] = 0
            self.waiting.append((channels, values, positions[images], places, areas))
            self.gathered += len(images)
            if self.gathered >= len(self.last) * WAIT:
                self.settle()
        return found

    def hits(self, peaks: Array, positions: Array) -> Array:
        """(n,C) which of some maxima may belong among the entries: all that do, and few others."""
        k = self.entries[0].shape[1]
        wanted = peaks if self.floor is None else np.where(peaks >= self.floor, peaks, np.float32(-np.inf))
        hits, level = wanted > self.last, (wanted == self.last) & (wanted > -np.inf)
        if level.any():  # above 0 the area decides first, else whose turn it is
            hits |= level & ((wanted > 0) | (turn(positions)[:, None] < turn(self.entries[1][:, -1])[None]))
        crowded = np.flatnonzero(hits.sum(axis=0) > k)
        if len(crowded):
            own = np.where(hits[:, crowded], wanted[:, crowded], np.float32(-np.inf))
            least = -np.partition(-own, k - 1, axis=0)[k - 1]
            room = own >= least
            level = room & (own <= 0)
            if level.any():  # no area: the first k in turn
                turns = np.broadcast_to(turn(positions)[:, None], own.shape)
                first = np.zeros_like(room)
                np.put_along_axis(first, np.lexsort((turns, -own), axis=0)[:k], True, axis=0)
                room &= (own > 0) | first
            hits[:, crowded] &= room
        return hits

    def settle(self) -> None:
        """Sort in what waits."""
        if not self.waiting:
            return
        channels, *new = (np.concatenate(parts) for parts in zip(*self.waiting, strict=True))
        self.waiting, self.gathered = [], 0
        order = np.argsort(channels, kind="stable")
        found, begin, counts = np.unique(channels[order], return_index=True, return_counts=True)
        rows = np.repeat(np.arange(len(found)), counts)
        slots = np.arange(len(order)) - begin[rows]
        both = []
        for old, more, nothing in zip(self.entries, new, (-np.inf, NOWHERE, -1, 0), strict=True):
            beside = np.full((len(found), int(counts.max())), nothing, old.dtype)
            beside[rows, slots] = more[order]
            both.append(np.concatenate([old[found], beside], axis=1))
        self.take(found, both)

    def beside(self, other: Tops) -> None:
        """Enter nothing that could not stand beside the entries of `other`: `merge` with these gives the same as before."""
        self.floor = other.values[:, -1].copy()

    def take(self, channels: Array, parts: Sequence[Array]) -> None:
        """Replace the entries of some channels (R,) by the best of these (R,m)."""
        best = ordered(*parts)[:, : self.entries[0].shape[1]]
        for own, given in zip(self.entries, parts, strict=True):
            own[channels] = np.take_along_axis(given, best, axis=1)

    def merge(self, other: Tops) -> None:
        """Take in the entries over other images."""
        both = [np.concatenate(pair, axis=1) for pair in zip(self.parts, other.parts, strict=True)]
        self.take(np.arange(len(self.last)), both)


def ordered(values: Array, positions: Array, _places: Array, areas: Array) -> Array:
    """(R,m) indices that sort each row: highest value, then largest area, then by turn."""
    return np.lexsort((turn(positions), -areas, -values), axis=1)


def turn(positions: Array) -> Array:
    """uint64 in the shape of `positions`: whose turn it is among ties, no two alike; that of NOWHERE is last."""
    mixed = positions.astype(np.uint64) * np.uint64(MIX[0])
    for shift, factor in ((30, MIX[1]), (27, MIX[2])):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return np.where(positions == NOWHERE, np.iinfo(np.uint64).max, mixed)


def summits(maps: Tensor, images: Array, channels: Array) -> tuple[Array, Array]:
    """((r,) at how many places maps[images[i], channels[i]] has its maximum, (r,) which of them is nearest to their centre,
    row-major, the first of those equally near). In whole numbers, so exact.
    """
    areas, places = np.empty(len(images), np.int64), np.empty(len(images), np.int64)
    step = max(1, AT_ONCE // (maps.shape[2] * maps.shape[3]))
    for begin in range(0, len(images), step):
        part = slice(begin, begin + step)
        index = [torch.from_numpy(np.ascontiguousarray(a[part])).to(maps.device) for a in (images, channels)]
        own = maps[index[0], index[1]].flatten(1)
        place = highest(own)
        peak, count = own.gather(1, place[:, None]), torch.ones_like(place)
        several = own.scatter_(1, place[:, None], -torch.inf).amax(1) == peak[:, 0]  # without the first one
        if bool(several.any()):
            own, peak = own[several].scatter_(1, place[several][:, None], peak[several]), peak[several]
            tied = (own == peak).unflatten(1, maps.shape[2:])
            count[several] = tied.sum((1, 2))
            place[several] = middle(tied, count[several])
        areas[part], places[part] = count.cpu().numpy(), place.cpu().numpy()
    return areas, places


def highest(rows: Tensor) -> Tensor:
    """(r,) a place of the maximum of each row (r,P)."""
    if rows.device.type == "cpu" and rows.dtype in (torch.float32, torch.float64):
        return torch.from_numpy(rows.numpy().argmax(1))  # an eighth of the time of argmax
    return rows.argmax(1)


def middle(tied: Tensor, count: Tensor) -> Tensor:
    """(r,) the row-major place in masks `tied` (r,h,w) of `count` (r,) places that is nearest to their centre, the first of equal
    ones on every device.
    """
    high, wide = tied.shape[1:]
    down, across = (torch.arange(n, device=tied.device) for n in (high, wide))
    rows, columns = (tied.sum(2) * down).sum(1), (tied.sum(1) * across).sum(1)
    off = (count[:, None] * down - rows[:, None]) ** 2, (count[:, None] * across - columns[:, None]) ** 2
    far = torch.iinfo(torch.int64).max
    apart = torch.where(tied, off[0][:, :, None] + off[1][:, None], far).flatten(1)
    places = torch.arange(high * wide, device=tied.device)
    return torch.where(apart == apart.amin(1, keepdim=True), places, far).amin(1)
