"""What every channel of some layers does over the whole data set: its range, how often it fires, how much is at a ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from auditor.fold import LayerFold, State
from auditor.ops.maxima import maxima
from auditor.types import Array

SAMPLED = 8
"""Positions at a ceiling are counted on every 8th image: counting costs a second reading of the maps."""


@dataclass
class End:
    """One end of a layer's range, and how much of each of C channels lies there."""

    value: float
    """The largest value of the layer so far (of the negated maps: the smallest)."""
    reached: Array
    """(C,) int64 images whose map has it somewhere."""
    held: Array
    """(C,) float64 sum over the sampled images of the share of positions that have it."""

    def see(self, peaks: Array, maps: Tensor, sampled: Array, *, sign: int = 1) -> None:
        """`peaks` (n,C) of `sign` times `maps` (n,C,h,w); `sampled` (s,) indices of images to be read."""
        top = float(np.nanmax(peaks, initial=-np.inf))
        if top > self.value:
            self.value, self.reached, self.held = top, np.zeros_like(self.reached), np.zeros_like(self.held)
        if top < self.value:
            return
        at_top = peaks == self.value
        self.reached = self.reached + at_top.sum(axis=0)
        rows = [i for i in sampled.tolist() if at_top[i].any()]
        if rows:
            self.held = self.held + (maps[rows] == sign * self.value).double().mean((2, 3)).sum(0).cpu().numpy()

    def merge(self, other: End) -> None:
        """Take in what was seen of other images."""
        if other.value > self.value:
            self.value, self.reached, self.held = other.value, other.reached, other.held
        elif other.value == self.value:
            self.reached, self.held = self.reached + other.reached, self.held + other.held


class Range:
    """What was seen of one layer's C channels."""

    def __init__(self, channels: int) -> None:
        def none() -> Array:
            return np.zeros(channels, np.int64)

        self.images = 0
        self.sampled = 0
        self.high: Array = np.full(channels, -np.inf)
        self.low: Array = np.full(channels, np.inf)
        self.fired = none()
        """(C,) images in which the channel is above 0 somewhere."""
        self.top = End(-np.inf, none(), np.zeros(channels))
        self.bottom = End(-np.inf, none(), np.zeros(channels))
        """Of the negated maps."""

    def see(self, maps: Tensor, positions: Array) -> None:
        """(n,C,h,w) of the images at `positions` (n,)."""
        low, high = (side.double().cpu().numpy() for side in (maps.amin((2, 3)), maxima(maps)))  # aminmax takes 20 times as long
        sampled = np.flatnonzero(positions % SAMPLED == 0)
        self.images += len(maps)
        self.sampled += len(sampled)
        self.high, self.low = np.fmax(self.high, high.max(axis=0)), np.fmin(self.low, low.min(axis=0))
        self.fired = self.fired + (high > 0).sum(axis=0)
        self.top.see(high, maps, sampled)
        if self.bottom.value > 0 or (low < 0).any():  # nothing is saturated at 0: there a unit is silent
            self.bottom.see(-low, maps, sampled, sign=-1)

    def merge(self, other: Range) -> None:
        """Take in what was seen of other images."""
        self.images, self.sampled = self.images + other.images, self.sampled + other.sampled
        self.high, self.low = np.fmax(self.high, other.high), np.fmin(self.low, other.low)
        self.fired = self.fired + other.fired
        self.top.merge(other.top)
        self.bottom.merge(other.bottom)

    def save(self) -> State:
        """As arrays."""
        return {
            "counts": np.array([self.images, self.sampled]), "high": self.high, "low": self.low, "fired": self.fired,
            "ends": np.array([self.top.value, self.bottom.value]),
            "reached": np.stack([self.top.reached, self.bottom.reached]), "held": np.stack([self.top.held, self.bottom.held]),
        }  # fmt: skip

    @classmethod
    def of(cls, state: Mapping[str, Array]) -> Range:
        """From what `save` gave."""
        made = cls(len(state["high"]))
        made.images, made.sampled = (int(n) for n in state["counts"])
        made.high, made.low, made.fired = state["high"].copy(), state["low"].copy(), state["fired"].copy()
        ends = (
            End(float(v), r.copy(), h.copy()) for v, r, h in zip(*(state[k] for k in ("ends", "reached", "held")), strict=True)
        )
        made.top, made.bottom = ends
        return made


class Watch(LayerFold[Range]):
    """A Range for each of some layers, the same for any split of the data."""

    by_layer = True

    def __init__(self, layers: Sequence[str]) -> None:
        super().__init__(layers, Range.of)

    def see_layer(self, layer: str, output: Tensor, positions: Array) -> None:
        self.seen.setdefault(layer, Range(output.shape[1])).see(output, positions)
