"""The set that the model was trained on, where it is given: its features, taken in a pass of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.fold import Batch, Rows
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset


class Features(Rows):
    """Features (T,D), float32, in the order of the data set; no scores, which nothing asks of training images."""

    def rows(self, batch: Batch) -> dict[str, Array]:
        return {"features": batch.features.detach().float().cpu().numpy()}


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
