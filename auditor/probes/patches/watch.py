"""The probe's share of the pass, and the fields of its layers as rows of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self, cast

import numpy as np

from auditor.fold import Batch, Fold, Item, State
from auditor.methods.topk import Tops
from auditor.ops.reach.reach import Status
from auditor.ops.receptive_field import Field, receptive_fields
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.target import Target

SAMPLED = 16
"""The minimum of a layer is read on every 16th image: enough to tell a rectified layer, at a sixteenth of the reading."""


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

    def merge(self, other: Seen) -> None:
        """Take in what was seen of other images."""
        self.tops.merge(other.tops)
        self.fired = self.fired + other.fired
        self.lowest = np.minimum(self.lowest, other.lowest)

    def save(self) -> State:
        """As arrays."""
        tops = self.tops
        return {"values": tops.values, "positions": tops.positions, "places": tops.places, "fired": self.fired,
                "lowest": self.lowest, "grid": self.grid}  # fmt: skip

    @classmethod
    def of(cls, state: Mapping[str, Array]) -> Seen:
        """From what `save` gave."""
        channels, k = state["values"].shape
        seen = cls(channels, (int(state["grid"][0]), int(state["grid"][1])), k)
        seen.tops = Tops(state["values"].copy(), state["positions"].copy(), state["places"].copy())
        seen.fired, seen.lowest = state["fired"], state["lowest"]
        return seen


class Watch(Fold):
    """The k strongest images of every channel of some layers, exactly, for any split of the data."""

    def __init__(self, layers: Sequence[str], k: int) -> None:
        self.layers = tuple(layers)
        self.k = k
        self.seen: dict[str, Seen] = {}

    def see(self, batch: Batch) -> None:
        for layer in self.layers:
            maps = batch.activations[layer]
            if layer not in self.seen:
                self.seen[layer] = Seen(maps.shape[1], (maps.shape[2], maps.shape[3]), self.k)
            seen = self.seen[layer]
            peaks = seen.tops.see(maps, batch.positions)
            seen.fired = seen.fired + (peaks > 0).sum(axis=0)
            sampled = np.flatnonzero(batch.positions % SAMPLED == 0)
            if len(sampled):
                seen.lowest = np.minimum(seen.lowest, np.float64(maps[sampled.tolist()].amin().item()))

    def merge(self, other: Self) -> None:
        for layer, seen in other.seen.items():
            if layer in self.seen:
                self.seen[layer].merge(seen)
            else:
                self.seen[layer] = seen

    def save(self) -> State:
        numbered = ((i, self.seen[layer]) for i, layer in enumerate(self.layers) if layer in self.seen)
        return {f"{i}.{name}": array for i, seen in numbered for name, array in seen.save().items()}

    def load(self, state: Mapping[str, Array]) -> None:
        names = ("values", "positions", "places", "fired", "lowest", "grid")
        parts = {layer: {n: state[f"{i}.{n}"] for n in names} for i, layer in enumerate(self.layers) if f"{i}.values" in state}
        self.seen = {layer: Seen.of(part) for layer, part in parts.items()}


def find_fields(target: Target, dataset: Dataset, items: Sequence[Item], *, layers: tuple[str, ...]) -> State:
    """One row an item (position,): the fields of all layers, from one forward of that image."""
    rows: dict[str, list[Array]] = {}
    for (position,) in items:
        fields = receptive_fields(target.model, dataset.load([position], target.device), layers)
        for i, layer in enumerate(layers):
            for name, array in saved(fields[layer]).items():
                rows.setdefault(f"{i}.{name}", []).append(array)
    return {name: np.stack(arrays) for name, arrays in rows.items()}


def saved(field: Field) -> State:
    """A field as arrays."""
    return {
        "words": np.array([field.status, field.reason]), "image": np.array(field.image), "size": np.array(field.size),
        "pace": np.array([field.jump, field.start]), "rows": field.rows, "columns": field.columns,
    }  # fmt: skip


def loaded(rows: Mapping[str, Array], number: int) -> Field:
    """The field of layer `number` from the study's first row."""
    part = {name: rows[f"{number}.{name}"][0] for name in ("words", "image", "size", "pace", "rows", "columns")}
    high, wide = (int(side) for side in part["image"])
    down, across = (int(side) for side in part["size"])
    jump, start = part["pace"].tolist()
    status = cast(Status, str(part["words"][0]))
    return Field(
        status, str(part["words"][1]), (high, wide), (down, across), (jump[0], jump[1]), (start[0], start[1]), part["rows"],
        part["columns"],
    )  # fmt: skip
