"""Facts that more than one probe reads, each made once, on first use."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from auditor.dataset import Dataset
from auditor.evidence.asked import Asked, asked, rivals
from auditor.evidence.chosen import order
from auditor.evidence.graph import Graph, graph
from auditor.evidence.pca import Pca, pca
from auditor.evidence.predictions import Outputs, Predictions
from auditor.evidence.training import Features, Training
from auditor.ops.room import Room, in_memory
from auditor.types import Array

__all__ = ["Asked", "Evidence", "Features", "Graph", "Outputs", "Pca", "Predictions", "Training", "asked", "rivals"]


class Evidence:
    """What the pass brought, and what follows from it by arithmetic. N samples, D features, K classes."""

    def __init__(
        self, dataset: Dataset, outputs: Outputs, *, seed: int, train: Training | None = None, room: Room = in_memory
    ) -> None:
        self.dataset = dataset
        self.seed = seed
        self.room = room
        """Where large tables with a row an image are kept."""
        self.train = train
        """The training set; None where none was given, or no probe of this audit reads it."""
        state = outputs.save()
        self.features: Array = state["features"]
        """(N,D) float32: what the classifier head is given."""
        self._scores = state.get("scores")

    @cached_property
    def predictions(self) -> Predictions | None:
        """None under `--task features`."""
        return None if self._scores is None else Predictions(self._scores, np.asarray(self.dataset.labels))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Class names in the order of the logits, their numbers where there are no names."""
        if self.dataset.classes:
            return tuple(self.dataset.classes)
        return tuple(str(k) for k in range(0 if self._scores is None else self._scores.shape[1]))

    @cached_property
    def pca(self) -> Pca:
        """Of all features, at most 50 components."""
        return pca(self.features)

    @cached_property
    def graph(self) -> Graph:
        """Exact, of the features."""
        return graph(self.features, room=self.room)

    @cached_property
    def _order(self) -> Array:
        return order([s.key for s in self.dataset.samples], np.asarray(self.dataset.labels), self.seed)

    def chosen(self, count: int) -> Array:
        """(min(count, N),) positions, proportional by class; a smaller choice is the start of a larger one."""
        return self._order[: max(count, 0)]
