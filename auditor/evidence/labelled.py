"""The labelled samples among the predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.ops.spans import spans
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.evidence import Evidence


@dataclass(frozen=True)
class Labelled:
    """The n labelled samples: all arrays but the scores are (n,)."""

    positions: Array
    scores: Array
    """(n,K)."""
    labels: Array
    predicted: Array
    right: Array
    confidence: Array
    loss: Array
    rank: Array
    """Scores above the label's own; equal scores of lower classes count as above, as in `predicted`."""

    @property
    def outputs(self) -> int:
        """K."""
        return int(self.scores.shape[1])


def labelled(evidence: Evidence) -> Labelled:
    """The labelled samples among the predictions, which `needs` promises. Raises ValueError for NaN or +infinity."""
    seen = evidence.predictions
    assert seen is not None, "needs.scores holds"
    at = np.flatnonzero(seen.labelled)
    scores, labels = seen.scores if len(at) == len(seen.labels) else seen.scores[at], seen.labels[at]
    broken, rank = 0, np.zeros(len(at), dtype=np.int64)
    for part in spans(*scores.shape):
        some, own = scores[part], labels[part, None]
        broken += int(np.count_nonzero((np.isnan(some) | (some == np.inf)).any(axis=1)))
        held = np.take_along_axis(some, own, axis=1)
        lower = np.arange(scores.shape[1])[None] < own
        rank[part] = np.count_nonzero((some > held) | ((some == held) & lower), axis=1)
    if broken:
        raise ValueError(f"expected finite scores, got NaN or +infinity on {broken} of {len(at)} labelled images")
    return Labelled(
        at, scores, labels, seen.predicted[at], seen.correct[at], seen.confidence[at], seen.loss[at], rank
    )  # fmt: skip


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Class names, those that occur twice with their number behind."""
    counts = Counter(names)
    return tuple(name if counts[name] == 1 else f"{name} ({number})" for number, name in enumerate(names))
