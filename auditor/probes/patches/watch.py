"""The probe's share of the pass: the strongest images of every unit, and the maxima of some images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from auditor.fold import LayerFold, State
from auditor.methods.topk import Tops, turn
from auditor.ops.receptive_field import Field
from auditor.types import Array

SAMPLED = 16
"""The minimum of a layer is read on every 16th image: enough to tell a rectified layer, at a sixteenth of the reading."""
COMPARED = 512
"""Images whose maxima are kept: enough to tell units that rise and fall together, whatever the size of the data."""


class Seen:
    """What was seen of one layer's C channels."""

    def __init__(self, channels: int, grid: tuple[int, int], k: int) -> None:
        self.tops = Tops.empty(channels, k)
        self.fired: Array = np.zeros(channels, np.int64)
        """(C,) images with a maximum above 0."""
        self.lowest: Array = np.full((), np.inf)
        """() the minimum over every 16th image; NaN where one of them has a NaN."""
        self.grid: Array = np.array(grid, np.int64)
        """(2,) rows and columns of its maps."""
        self.drawn: tuple[Array, Array] = (np.zeros(0, np.int64), np.zeros((0, channels), np.float32))
        """(S,) the images of lowest turn, in its order: a fair draw, the same for any split; (S,C) their maxima."""
        self.waiting: list[tuple[Array, Array]] = []
        """More of these, to be drawn from once they are as many."""
        self.bar: Array | None = None
        """(1,) the turn of the last image that is drawn, once COMPARED are."""

    def keep(self, positions: Array, peaks: Array) -> None:
        """Take in the maxima (n,C) of the images at `positions` (n,), as far as they are among the first in turn."""
        if self.bar is not None:
            early = turn(positions) < self.bar
            if not early.any():
                return
            positions, peaks = positions[early], peaks[early]
        self.waiting.append((positions, peaks))
        if sum(len(images) for images, _ in self.waiting) >= COMPARED:
            self.draw()

    def draw(self) -> tuple[Array, Array]:
        """`drawn`, with what waited."""
        if self.waiting:
            images, peaks = (np.concatenate(parts) for parts in zip(self.drawn, *self.waiting, strict=True))
            turns = turn(images)
            order = np.argsort(turns)[:COMPARED]
            self.drawn, self.waiting = (images[order], peaks[order]), []
            self.bar = turns[order[-1:]] if len(order) == COMPARED else None
        return self.drawn

    @property
    def some(self) -> Array:
        """(S,) the images that are drawn."""
        return self.draw()[0]

    @property
    def peaks(self) -> Array:
        """(S,C) their maxima."""
        return self.draw()[1]

    def merge(self, other: Seen) -> None:
        """Take in what was seen of other images."""
        self.tops.merge(other.tops)
        self.fired = self.fired + other.fired
        self.lowest = np.minimum(self.lowest, other.lowest)
        self.keep(other.some, other.peaks)

    def save(self) -> State:
        """As arrays."""
        tops = self.tops
        return {
            "values": tops.values, "positions": tops.positions, "places": tops.places, "areas": tops.areas,
            "fired": self.fired, "lowest": self.lowest, "grid": self.grid, "some": self.some, "peaks": self.peaks,
        }  # fmt: skip

    @classmethod
    def of(cls, state: Mapping[str, Array]) -> Seen:
        """From what `save` gave."""
        channels, k = state["values"].shape
        seen = cls(channels, (int(state["grid"][0]), int(state["grid"][1])), k)
        seen.tops = Tops(*(state[name].copy() for name in ("values", "positions", "places", "areas")))
        seen.fired, seen.lowest = state["fired"], state["lowest"]
        seen.keep(state["some"], state["peaks"])
        return seen


class Watch(LayerFold[Seen]):
    """The k strongest images of every channel of some layers, exactly, for any split of the data."""

    by_layer = True

    def __init__(self, fields: Mapping[str, Field], k: int) -> None:
        super().__init__(tuple(fields), Seen.of)
        self.fields = dict(fields)
        """What the positions of each layer see: of the network alone, so it is no part of the state."""
        self.k = k
        self.others: dict[str, Tops] = {}
        """Layer -> the entries beside which those of this fold will stand."""

    def beside(self, others: Watch) -> None:
        """Images that fire a channel less than k others need no entry."""
        self.others = {layer: seen.tops for layer, seen in others.seen.items()}

    def field(self, layer: str) -> Field:
        """What the places of a layer's maps see; the whole image where the positions of its output are not those of its maps."""
        field, (rows, columns) = self.fields[layer], self.seen[layer].grid.tolist()
        if len(field.rows) in (1, rows) and len(field.columns) in (1, columns):
            return field
        high, wide = field.image
        reason = f"its {len(field.rows)} x {len(field.columns)} positions are not those of its maps of {rows} x {columns}"
        ends = (np.array([[0, high]]), np.array([[0, wide]]))
        return Field("UNKNOWN", reason, field.image, field.image, (0.0, 0.0), (0.0, 0.0), *ends)

    def see_layer(self, layer: str, output: Tensor, positions: Array) -> None:
        if layer not in self.seen:
            self.seen[layer] = Seen(output.shape[1], (output.shape[2], output.shape[3]), self.k)
            if layer in self.others:
                self.seen[layer].tops.beside(self.others[layer])
        seen = self.seen[layer]
        peaks = seen.tops.see(output, positions)
        seen.fired = seen.fired + (peaks > 0).sum(axis=0)
        seen.keep(positions, peaks)
        sampled = np.flatnonzero(positions % SAMPLED == 0)
        if len(sampled):
            first = int(sampled[0])
            apart = np.array_equal(sampled, np.arange(first, len(positions), SAMPLED))
            some = output[first::SAMPLED] if apart else output[sampled.tolist()]  # successive images need no copy
            seen.lowest = np.minimum(seen.lowest, np.float64(some.amin().item()))
