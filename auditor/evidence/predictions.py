"""What the model says of every image: scores and the features under its head, taken in the one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from scipy.special import log_softmax

from auditor.fold import Batch, Fold, State
from auditor.types import Array


class Outputs(Fold):
    """Scores (N,K) and features (N,D), float32, in the order of the data set."""

    def __init__(self) -> None:
        self.scores: list[Array] = []
        self.features: list[Array] = []

    def see(self, batch: Batch) -> None:
        if batch.scores is not None:
            self.scores.append(batch.scores.detach().float().cpu().numpy())
        self.features.append(batch.features.detach().float().cpu().numpy())

    def merge(self, other: Self) -> None:
        self.scores += other.scores
        self.features += other.features

    def save(self) -> State:
        state = {"features": np.concatenate(self.features)} if self.features else {}
        return {**state, "scores": np.concatenate(self.scores)} if self.scores else state

    def load(self, state: Mapping[str, Array]) -> None:
        self.scores = [state["scores"]] if "scores" in state else []
        self.features = [state["features"]] if "features" in state else []


@dataclass(frozen=True)
class Predictions:
    """Scores beside labels. N samples, K classes."""

    scores: Array
    """(N,K) float32 logits."""
    labels: Array
    """(N,) int64, -1 where unlabelled."""

    @cached_property
    def log_probabilities(self) -> Array:
        """(N,K) float64."""
        return np.asarray(log_softmax(self.scores.astype(np.float64), axis=1))

    @cached_property
    def probabilities(self) -> Array:
        """(N,K) float32 softmax."""
        return np.exp(self.log_probabilities).astype(np.float32)

    @cached_property
    def predicted(self) -> Array:
        """(N,) int64: the highest score, the lowest class on a tie."""
        return np.asarray(np.argmax(self.scores, axis=1), dtype=np.int64)

    @cached_property
    def second(self) -> Array:
        """(N,) int64: the runner-up (the class itself where there is only one)."""
        if self.scores.shape[1] < 2:
            return self.predicted
        masked = self.scores.copy()
        masked[np.arange(len(masked)), self.predicted] = -np.inf
        return np.asarray(np.argmax(masked, axis=1), dtype=np.int64)

    @cached_property
    def confidence(self) -> Array:
        """(N,) float32 probability of the predicted class."""
        return self.probabilities[np.arange(len(self.scores)), self.predicted]

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
        rows = np.arange(len(self.labels))
        picked = -self.log_probabilities[rows, np.maximum(self.labels, 0)]
        return np.where(self.labelled, picked, np.nan).astype(np.float32)


def promised(predictions: Predictions | None) -> Predictions:
    """The predictions of a probe whose `needs.scores` holds."""
    assert predictions is not None, "needs.scores holds"
    return predictions
