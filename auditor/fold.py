"""Fold and Study: the two shapes that all model-heavy work takes, so that it shards, resumes and reports progress."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeAlias, TypeVar

import numpy as np

from auditor.types import Array

if TYPE_CHECKING:
    from torch import Tensor

State: TypeAlias = dict[str, Array]
Item: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Batch:
    """What one forward pass gives to every fold. n images; nothing here carries a gradient."""

    positions: Array
    """(n,) int64: where the images stand in the data set."""
    labels: Array
    """(n,) int64 class of the logits, -1 where unlabelled."""
    images: Tensor
    """(n,C,H,W) float32, normalised, on the device."""
    scores: Tensor | None
    """(n,K) logits in float32; None under `--task features`."""
    features: Tensor
    """(n,D) penultimate features in float32."""
    activations: Mapping[str, Tensor] = field(default_factory=dict)
    """Layer name -> its output, for each layer that some fold asked for."""


class Fold(ABC):
    """A monoid over the data set, and the only thing that holds state.

    A fresh fold is the unit; `merge` is associative in shard order, so any split of the data gives the same result
    (integers and top-k exactly, floats within 1e-6).
    """

    layers: tuple[str, ...] = ()
    """The layers whose outputs `see` reads."""
    by_layer: ClassVar[bool] = False
    """Whether `see_layer` is called, in place of `see`, as soon as a layer has been computed: its maps are then still in the
    cache, and need not be kept until the forward ends."""

    @abstractmethod
    def see(self, batch: Batch) -> None:
        """Take in one batch."""

    def see_layer(self, layer: str, output: Tensor, positions: Array) -> None:
        """Take in what one of `layers` gave for the images at `positions` (n,); a later operation may overwrite `output`."""
        raise NotImplementedError(f"{type(self).__name__} does not see layer by layer")

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take in the state of a fold that saw later samples."""

    def beside(self, others: Self) -> None:  # noqa: B027 - nothing, where a fold has no use for it
        """Told, while fresh, what some other samples of the pass gave: it need not keep what merging with them leaves out."""

    @abstractmethod
    def save(self) -> State:
        """The state as arrays: what a checkpoint, a worker and a resume exchange."""

    @abstractmethod
    def load(self, state: Mapping[str, Array]) -> None:
        """Replace the state by a saved one."""


class Rows(Fold):
    """Tables with a row an image, in the order of the data set. A pass keeps what it merges of them in files."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Array]] = {}
        """Name -> rows of successive images."""

    @abstractmethod
    def rows(self, batch: Batch) -> Mapping[str, Array]:
        """Name -> (n,...) of one batch."""

    def see(self, batch: Batch) -> None:
        for name, rows in self.rows(batch).items():
            self.tables.setdefault(name, []).append(rows)

    def merge(self, other: Self) -> None:
        for name, parts in other.tables.items():
            self.tables.setdefault(name, []).extend(parts)

    def save(self) -> State:
        return {name: parts[0] if len(parts) == 1 else np.concatenate(parts) for name, parts in self.tables.items()}

    def load(self, state: Mapping[str, Array]) -> None:
        self.tables = {name: [rows] for name, rows in state.items()}


class Part(Protocol):
    """What was seen of one layer: mergeable, and savable as arrays."""

    def merge(self, other: Self) -> None:
        """Take in what was seen of other images."""

    def save(self) -> State:
        """As arrays."""


P = TypeVar("P", bound=Part)


class LayerFold(Fold, Generic[P]):
    """One part for each of some layers, made when the layer is first seen; `see_layer` is left to the one who knows the part, and
    with it whether `by_layer` holds.
    """

    def __init__(self, layers: Sequence[str], restored: Callable[[State], P]) -> None:
        """`restored` makes a part of what its `save` gave."""
        self.layers = tuple(layers)
        self.restored = restored
        self.seen: dict[str, P] = {}

    def see(self, batch: Batch) -> None:
        """Layer by layer."""
        for layer in self.layers:
            self.see_layer(layer, batch.activations[layer], batch.positions)

    def merge(self, other: Self) -> None:
        """Layer by layer."""
        for layer, seen in other.seen.items():
            if layer in self.seen:
                self.seen[layer].merge(seen)
            else:
                self.seen[layer] = seen

    def save(self) -> State:
        """ "<number of the layer>.<name>" -> array."""
        numbered = ((i, self.seen[layer]) for i, layer in enumerate(self.layers) if layer in self.seen)
        return {f"{i}.{name}": array for i, seen in numbered for name, array in seen.save().items()}

    def load(self, state: Mapping[str, Array]) -> None:
        """From what `save` gave."""
        states: dict[int, State] = {}
        for key, array in state.items():
            number, _, name = key.partition(".")
            states.setdefault(int(number), {})[name] = array
        self.seen = {layer: self.restored(states[i]) for i, layer in enumerate(self.layers) if i in states}


Work: TypeAlias = Callable[[Any, Any, Sequence[Item]], Mapping[str, Array]]
"""(target, dataset, items) -> rows: name -> array with one row an item."""


@dataclass(frozen=True)
class Cost:
    """Work with the model, in images through the whole network: what a plan promises and a section states."""

    forwards: float = 0.0
    gradients: float = 0.0
    """Forward passes with the gradient of the input behind them."""
    batch: float = 8.0
    """About how many images one call of the model takes: a small network spends more on the call than on an image."""
    seconds: float = 0.0
    """About how long what is done without the model takes, on one core."""
    operations: float = 0.0
    """Small operations on tensors around each call of the model, such as those of an optimiser's or an attack's step."""
    multiplications: float = 0.0
    """Of a helper net, forwards and backwards."""


@dataclass(frozen=True)
class Study:
    """Work after the pass: `work` turns items into rows, `chunk` items at a time.

    The rows of all chunks are concatenated in the order of the items, whoever computed them. A row depends on its item
    alone (seeds come from the item, never from its place in the chunk).
    """

    items: tuple[Item, ...]
    work: Work
    chunk: int


def concatenate(chunks: Sequence[Mapping[str, Array]]) -> State:
    """Rows of successive chunks as one table; every chunk must have the same names."""
    if not chunks:
        return {}
    return {name: np.concatenate([np.asarray(c[name]) for c in chunks]) for name in chunks[0]}
