"""The set that the model was trained on, where it is given: its features, taken in a pass of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from auditor.fold import Batch, Fold, State
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset


class Features(Fold):
    """Features (T,D), float32, in the order of the data set; no scores, which nothing asks of training images."""

    def __init__(self) -> None:
        self.features: list[Array] = []

    def see(self, batch: Batch) -> None:
        self.features.append(batch.features.detach().float().cpu().numpy())

    def merge(self, other: Self) -> None:
        self.features += other.features

    def save(self) -> State:
        return {"features": np.concatenate(self.features)} if self.features else {}

    def load(self, state: Mapping[str, Array]) -> None:
        self.features = [state["features"]] if "features" in state else []


@dataclass(frozen=True)
class Training:
    """T training images, prepared as the audited ones are."""

    dataset: Dataset
    features: Array
    """(T,D) float32."""

    def class_name(self, position: int) -> str:
        """The class of an image in words, "" without a label."""
        label = int(self.dataset.labels[position])
        names = self.dataset.classes
        return "" if label < 0 else names[label] if label < len(names) else str(label)
