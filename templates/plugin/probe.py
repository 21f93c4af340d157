"""Probe `NOUN`: one question put to a trained model, one section of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from auditor.bounds import statistic
from auditor.fold import Batch, Fold, State
from auditor.probe import Needs, Probe, Results
from auditor.types import Array, Figure, Finding, Json, Measure

if TYPE_CHECKING:
    from auditor.evidence import Evidence
    from auditor.target import Target


class Means(Fold):
    """What the probe keeps of every image of the one pass: here its mean. Any split of the data must give the same."""

    def __init__(self) -> None:
        self.means: list[Array] = []

    def see(self, batch: Batch) -> None:
        self.means.append(batch.images.double().mean((1, 2, 3)).cpu().numpy())

    def merge(self, other: Self) -> None:
        self.means += other.means

    def save(self) -> State:
        return {"means": np.concatenate(self.means)} if self.means else {}

    def load(self, state: Mapping[str, Array]) -> None:
        self.means = [state["means"]] if "means" in state else []


@dataclass(frozen=True)
class CLASS(Probe):
    """Asks: How bright are the images as the model sees them?
    Formula: brightness = mean over the images of the mean of all normalised values, 0 being the mean of the preprocessing.
    Read: Far from 0 the data differ from those that the preprocessing was made for.
    Misleads: Images of a dark scene are dark; that alone is no fault.
    """

    title: ClassVar[str] = "TITLE"
    cites: ClassVar[tuple[str, ...]] = ("the paper that the method comes from, by year",)
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("brightness", "Brightness", "", "none", "Mean of the normalised values of an image, mean over the images."),
    )
    needs: ClassVar[Needs] = Needs()
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {"quick": {"bins": 10}}

    bins: int = 20
    """Parameters are the fields; audit.toml sets them under [probes.NOUN]."""

    def look(self, target: Target) -> Fold | None:
        """Its share of the pass. Work that needs more forwards or gradients goes into `study`."""
        return Means()

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Arithmetic only: figures with their interval, pictures, sentences."""
        assert isinstance(results.look, Means)
        means = results.look.save()["means"]
        column = {"NOUN.brightness": means}
        value = statistic("mean", column, unit="", seed=evidence.seed)
        counts, edges = np.histogram(means, bins=self.bins)
        series = [{"name": "images", "edges": edges.tolist(), "counts": counts.tolist()}]
        figure = Figure(
            "brightness", "histogram", "How bright the images are", f"{len(means):,} images.",
            {"x_label": "mean of the normalised values", "y_label": "images", "series": series},
        )  # fmt: skip
        note = f"The brightest of {len(means):,} images is {evidence.dataset.samples[int(means.argmax())].name}."
        return Finding("done", values={"brightness": value}, figures=(figure,), notes=(note,), columns=column)
