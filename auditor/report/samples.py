"""What the page knows of single samples: the card's table, kept to the samples that something on the page points at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from auditor.report.pictures import Sprite
from auditor.report.values import name
from auditor.types import Array, Json


@dataclass(frozen=True)
class Sample:
    """One sample for the page; `tile` is its (column, row) in the sprite."""

    position: int
    name: str
    label: str
    predicted: str
    confidence: float | None
    correct: bool | None
    tile: tuple[int, int] | None


@dataclass
class Samples:
    """Columns of predictions.parquet by position, with the samples that the page has mentioned so far."""

    columns: Mapping[str, Array]
    classes: tuple[str, ...]
    sprite: Sprite | None
    mentioned: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def mention(self, positions: Iterable[int]) -> None:
        """These samples get a card."""
        self.mentioned.update(int(p) for p in positions if 0 <= int(p) < len(self))

    def class_name(self, label: float | int | None) -> str:
        """A class's name; "" for no label."""
        if label is None or not math.isfinite(label) or label < 0:
            return ""
        return name(self.classes[int(label)]) if int(label) < len(self.classes) else str(int(label))

    def number(self, column: str, position: int) -> float | None:
        """A finite entry of a column, else None."""
        if column not in self.columns or not 0 <= position < len(self):
            return None
        value = float(self.columns[column][position])
        return value if math.isfinite(value) else None

    def __getitem__(self, position: int) -> Sample:
        self.mention((position,))
        correct = self.number("correct", position)
        named = (
            name(self.columns["name"][position]) if "name" in self.columns and 0 <= position < len(self) else f"sample {position}"
        )
        return Sample(
            position,
            named,
            self.class_name(self.number("label", position)),
            self.class_name(self.number("predicted", position)),
            self.number("confidence", position),
            None if correct is None else bool(correct),
            self.sprite.cell(position) if self.sprite else None,
        )

    def labels(self, positions: Array) -> Array:
        """(M,) int64 labels, -1 where there is none."""
        if "label" not in self.columns:
            return np.full(len(positions), -1, dtype=np.int64)
        found = np.asarray(self.columns["label"], dtype=float)[positions]
        return np.where(np.isfinite(found), found, -1).astype(np.int64)

    def table(self) -> Json:
        """The cards' data: parallel lists over the samples mentioned."""
        listed = [self[p] for p in sorted(self.mentioned)]
        return {
            "position": [s.position for s in listed],
            "name": [s.name for s in listed],
            "label": [s.label for s in listed],
            "predicted": [s.predicted for s in listed],
            "confidence": [None if s.confidence is None else round(s.confidence, 4) for s in listed],
            "correct": [s.correct for s in listed],
            "tile": [s.tile for s in listed],
        }
