"""Which class each map explains: the predicted, the true or a named one, or the contrast of two."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.errors import ConfigError
from auditor.evidence.predictions import Predictions, promised
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.evidence import Evidence

PREDICTED, RUNNER_UP, TRUE = "predicted", "runner_up", "true"
WORDS = {PREDICTED: "predicted class", RUNNER_UP: "runner-up", TRUE: "true class"}


@dataclass(frozen=True)
class Asked:
    """m images, and the class, or pair of classes, whose score their maps explain."""

    positions: Array
    """(m,) int64, in the order of `Evidence.chosen`."""
    classes: Array
    """(m,2) int64: the class, and the one that it is set against, -1 without one."""
    what: str
    """Of every map, in words: "predicted class against runner-up"."""
    left_out: int
    """Images that have no such class or pair."""

    @property
    def items(self) -> tuple[tuple[int, int, int], ...]:
        """(position, class, other class or -1) an image: the items of a study."""
        return tuple((int(p), int(a), int(b)) for p, (a, b) in zip(self.positions, self.classes, strict=True))

    def named(self, row: int, names: Sequence[str]) -> str:
        """The class, or "a against b", of one image."""
        first, other = (int(k) for k in self.classes[row])
        return names[first] if other < 0 else f"{names[first]} against {names[other]}"

    @property
    def nothing(self) -> str:
        """Why no image is left, for a section that does not apply."""
        if not self.left_out:
            return "no image was chosen: raise `images` to at least 1"
        return f"none of {self.left_out} images has the {self.what} asked for: choose another `target` or `contrast`"


def asked(evidence: Evidence, count: int, target: str = PREDICTED, contrast: str = "") -> Asked:
    """The first `count` chosen images that have such a class.

    `target`: "predicted", "true", "runner_up", or a class by name or number. `contrast`: likewise the class whose score is
    taken off; "" takes none off. An image without a label has no true class, and a class is not set against itself (the
    predicted against the true one are the images that the model gets wrong).
    Raises ConfigError for a class that is not known.
    """
    predictions, names = promised(evidence.predictions), evidence.names
    order = np.asarray(evidence.chosen(len(evidence.dataset)), dtype=np.int64)
    first = classes_of(predictions, names, target, len(evidence.dataset))[order]
    usable = first >= 0
    other = np.full(len(order), -1, dtype=np.int64)
    if contrast:
        other = classes_of(predictions, names, contrast, len(evidence.dataset))[order]
        usable &= (other >= 0) & (other != first)
    what = named(target) + (f" against {named(contrast)}" if contrast else "")
    kept = np.flatnonzero(usable)[: max(count, 0)]
    return Asked(order[kept], np.stack([first[kept], other[kept]], 1), what, int(np.sum(~usable)))


def rivals(evidence: Evidence, positions: Array) -> Array:
    """(m,2) int64 of images at `positions`: the predicted class, and the one to set it against: the true class where the model
    is wrong, else the runner-up, -1 where there is none.
    """
    predictions, count = promised(evidence.predictions), len(evidence.dataset)
    predicted, true = predictions.predicted[positions], predictions.labels[positions]
    second = classes_of(predictions, evidence.names, RUNNER_UP, count)[positions]
    return np.stack([predicted, np.where((true >= 0) & (true != predicted), true, second)], 1).astype(np.int64)


def named(asked_for: str) -> str:
    """What was asked for, in words."""
    return WORDS.get(asked_for, f"class {asked_for}")


def classes_of(predictions: Predictions, names: Sequence[str], asked_for: str, count: int) -> Array:
    """(N,) int64 class of each of `count` images, -1 where there is none. Raises ConfigError."""
    if asked_for == PREDICTED:
        return np.asarray(predictions.predicted)
    if asked_for == RUNNER_UP:
        return np.where(predictions.second == predictions.predicted, -1, predictions.second)
    if asked_for == TRUE:
        return np.asarray(predictions.labels)
    if asked_for in names:
        return np.full(count, list(names).index(asked_for), dtype=np.int64)
    if asked_for.isdecimal() and int(asked_for) < len(names):
        return np.full(count, int(asked_for), dtype=np.int64)
    near = difflib.get_close_matches(asked_for, names, 3, 0.4)
    hint = f"; near it: {', '.join(near)}" if near else ""
    raise ConfigError(
        f"target and contrast: expected predicted, true, runner_up or one of the {len(names)} classes by name or number, "
        f"got {asked_for!r}{hint}"
    )
