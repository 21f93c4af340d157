"""What the model says of every image: scores and the features under its head, taken in the one pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from auditor.fold import Batch, Rows
from auditor.ops.spans import spans
from auditor.types import Array


class Outputs(Rows):
    """Scores (N,K), but for `--task features`, and features (N,D), float32, in the order of the data set."""

    def rows(self, batch: Batch) -> dict[str, Array]:
        found = {"features": batch.features.detach().float().cpu().numpy()}
        return found if batch.scores is None else {**found, "scores": batch.scores.detach().float().cpu().numpy()}


@dataclass(frozen=True)
class Predictions:
    """Scores beside labels. N samples, K classes. Scores may lie in a file: what is kept in memory is (N,)."""

    scores: Array
    """(N,K) float32 logits."""
    labels: Array
    """(N,) int64, -1 where unlabelled."""

    @cached_property
    def _normal(self) -> tuple[Array, Array]:
        """(N,) float64 the highest score of each sample, and the log of the sum of exp(score - highest)."""
        highest, logs = np.zeros(len(self.scores)), np.zeros(len(self.scores))
        for at in spans(*self.scores.shape):
            part = self.scores[at].astype(np.float64)
            top = part.max(axis=1, keepdims=True)
            highest[at] = np.where(np.isfinite(top), top, 0.0)[:, 0]
            with np.errstate(divide="ignore"):
                logs[at] = np.log(np.exp(part - highest[at, None]).sum(axis=1))
        return highest, logs

    def log_probability(self, classes: Array | int) -> Array:
        """(N,) float64 log of the softmax, of one class or of one for each sample (N,)."""
        highest, logs = self._normal
        picked = self.scores[np.arange(len(self.scores)), classes].astype(np.float64)
        return np.asarray(picked - highest - logs)

    @cached_property
    def predicted(self) -> Array:
        """(N,) int64: the highest score, the lowest class on a tie."""
        found = np.zeros(len(self.scores), dtype=np.int64)
        for at in spans(*self.scores.shape):  # of a table that may not be written to, argmax makes a copy
            found[at] = np.argmax(self.scores[at], axis=1)
        return found

    @cached_property
    def second(self) -> Array:
        """(N,) int64: the runner-up (the class itself where there is only one)."""
        if self.scores.shape[1] < 2:
            return self.predicted
        found = np.zeros(len(self.scores), dtype=np.int64)
        for at in spans(*self.scores.shape):
            masked = np.array(self.scores[at])
            masked[np.arange(len(masked)), self.predicted[at]] = -np.inf
            found[at] = np.argmax(masked, axis=1)
        return found

    @cached_property
    def confidence(self) -> Array:
        """(N,) float32 probability of the predicted class."""
        return np.exp(self.log_probability(self.predicted)).astype(np.float32)

    @cached_property
    def labelled(self) -> Array:
        """(N,) bool."""
        return self.labels >= 0

    @cached_property
    def correct(self) -> Array:
        """(N,) bool; False where unlabelled."""
        return np.asarray(self.labelled & (self.predicted == self.labels))

    @cached_property
    def loss(self) -> Array:
        """(N,) float32 cross-entropy in nats, NaN where unlabelled."""
        return np.where(self.labelled, -self.log_probability(np.maximum(self.labels, 0)), np.nan).astype(np.float32)


def promised(predictions: Predictions | None) -> Predictions:
    """The predictions of a probe whose `needs.scores` holds."""
    assert predictions is not None, "needs.scores holds"
    return predictions
