"""How strongly the images of the data set fire the units that are visualised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np

from auditor.fold import Batch, Fold, State
from auditor.methods.ascent.objectives import by_unit
from auditor.types import Array

if TYPE_CHECKING:
    from torch import Tensor

    from auditor.target import Target

NOWHERE = np.iinfo(np.int64).max


def spread(total: int, count: int) -> tuple[int, ...]:
    """At most `count` of `total` units, at equal distances from the first on."""
    kept = min(count, total)
    return tuple(i * total // kept for i in range(kept))


def chosen_units(target: Target, layers: int, units: int) -> dict[str, tuple[int, ...]]:
    """Layer -> its units, from shallow to deep: layers with maps, or, in a model without any, layers of (n,K)."""
    if layers < 1 or units < 1:
        return {}
    calls = {call.name: call for call in target.trace}
    names = target.choose("spatial", layers)
    if not names:
        flat = [name for name in target.choose("any", len(calls)) if name != target.head and len(calls[name].shape or ()) == 2]
        names = tuple(flat[-layers:])
    out = {}
    for name in names:
        shape, layout = calls[name].shape, calls[name].layout
        assert shape is not None, "choose gives layers of one tensor"
        out[name] = spread(shape[1] if layout is not None and layout.order == "first" else shape[-1], units)
    return out


class Strongest(Fold):
    """The largest activation of each chosen unit over the data set, and the image that has it (the first of several).

    A unit's activation is what is raised: the mean over its map.
    """

    by_layer = True

    def __init__(self, units: Mapping[str, Sequence[int]]) -> None:
        self.layers = tuple(units)
        self.units = {layer: tuple(numbers) for layer, numbers in units.items()}
        self.values: dict[str, Array] = {layer: np.full(len(numbers), -np.inf, np.float32) for layer, numbers in units.items()}
        """Layer -> (U,)."""
        self.positions: dict[str, Array] = {layer: np.full(len(numbers), NOWHERE, np.int64) for layer, numbers in units.items()}

    def see(self, batch: Batch) -> None:
        for layer in self.units:
            self.see_layer(layer, batch.activations[layer], batch.positions)

    def see_layer(self, layer: str, output: Tensor, positions: Array) -> None:
        numbers = list(self.units[layer])
        found = by_unit(output, "mean")[:, numbers].float().cpu().numpy()
        best = np.where(np.isnan(found), -np.inf, found).argmax(axis=0)
        self.enter(layer, found[best, np.arange(len(numbers))], positions[best])

    def enter(self, layer: str, values: Array, positions: Array) -> None:
        """Take in a maximum (U,) and its image for each unit."""
        held, at = self.values[layer], self.positions[layer]
        better = (values > held) | ((values == held) & (positions < at) & (values > -np.inf))
        self.values[layer], self.positions[layer] = np.where(better, values, held), np.where(better, positions, at)

    def merge(self, other: Self) -> None:
        for layer in self.layers:
            self.enter(layer, other.values[layer], other.positions[layer])

    def save(self) -> State:
        pairs = ((i, layer) for i, layer in enumerate(self.layers))
        return {f"{i}.{name}": part[layer] for i, layer in pairs for name, part in self.parts()}

    def load(self, state: Mapping[str, Array]) -> None:
        for i, layer in enumerate(self.layers):
            for name, part in self.parts():
                part[layer] = state[f"{i}.{name}"].copy()

    def parts(self) -> tuple[tuple[str, dict[str, Array]], ...]:
        """What is kept, by name."""
        return ("values", self.values), ("positions", self.positions)
