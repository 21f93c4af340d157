"""Probe `corruptions`: how the model stands noise, blur, weather and codecs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from auditor.bounds import statistic
from auditor.fold import Cost, Item, State, Study
from auditor.methods.corruptions import KINDS, SEVERITIES, corrupt, of_images
from auditor.methods.unit import unit_images
from auditor.ops.columns import spread_out
from auditor.probe import Needs, Probe, Results
from auditor.probes.corruptions.figures import figures_of, notes
from auditor.probes.corruptions.pictures import kinds_gallery, lost_gallery
from auditor.probes.corruptions.seen import Seen, image_seed
from auditor.types import Array, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

CHUNK = 16
SECONDS = 1e-7
"""A number of an image, the mean of all kinds on one core."""
OWN = "corruptions"


@dataclass(frozen=True)
class Corruptions(Probe):
    """Asks: Does the model still see what is there under noise, blur, bad weather or a poor codec, and which of these breaks it?
    Formula: each of the chosen labelled images under each kind at each severity, in [0,1] before the model's normalisation, its
    noise drawn from a seed of its own. Accuracy of a kind = share right over images and severities; mean_corruption_accuracy =
    its mean over the kinds, worst_corruption_accuracy = the lowest of them, corruption_drop = accuracy of the same images
    unchanged, less the mean.
    Read: Look for the kind that falls first: a fall by noise speaks of reliance on fine texture, one by blur of reliance on
    edges. A model that was trained on such images falls later. The curves show at which severity it happens, and whether the
    model still says that it is sure: where confidence stays above the share right, it errs without a warning.
    Misleads: Made disturbances are not real ones: a foggy road differs from a photograph with fog laid over it. Severities are
    set by eye, so kinds compare only roughly. The kinds and most amounts follow Hendrycks and Dietterich (ImageNet-C, and for
    images up to 64 px CIFAR-10-C), but what is drawn is made here: the figures stand beside each other, not beside published
    ones. The worst of many is low by chance alone; its upper bound is corrected for that, its value is not.
    """

    title: ClassVar[str] = "Corruptions"
    cites: ClassVar[tuple[str, ...]] = (
        "Hendrycks, Dietterich 2019, Benchmarking neural network robustness to common corruptions and perturbations",
        "Berger 1982, Multiparameter hypothesis testing and acceptance sampling",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("mean_corruption_accuracy", "Accuracy under corruptions", "share", "higher", "Mean share right, over all kinds."),
        Measure("worst_corruption_accuracy", "Accuracy under the worst", "share", "higher", "Share right under the worst kind."),
        Measure("corruption_drop", "Lost by corruptions", "share", "lower", "Accuracy unchanged less that under corruptions."),
        Measure("accuracy", "Accuracy under", "share", "higher", "Share right under one kind, over its severities."),
    )
    needs: ClassVar[Needs] = Needs(scores=True, labels=True, pixels=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json] | None]] = {"quick": None, "standard": {}, "full": {"images": 400}}

    images: int = 50
    severities: tuple[int, ...] = SEVERITIES
    kinds: tuple[str, ...] = tuple(KINDS)

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds or len(set(self.kinds)) != len(self.kinds):
            raise ValueError(f"expected different kinds among {', '.join(KINDS)}, got {list(self.kinds)}; choose some of these")
        if not self.severities or list(self.severities) != sorted(set(self.severities) & set(SEVERITIES)):
            raise ValueError(f"expected rising severities from 1 to 5, got {self.severities}; 3 is the middle one")
        if self.images < 1:
            raise ValueError(f"expected images >= 1, got {self.images}; raise it")

    def shown_kinds(self, channels: int) -> tuple[str, ...]:
        """The kinds that change images of so many channels."""
        return of_images(self.kinds, channels)

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """One labelled image an item."""
        labels, kinds = np.asarray(evidence.dataset.labels), self.shown_kinds(target.input_shape[0])
        items: tuple[Item, ...] = tuple((int(p),) for p in evidence.chosen(self.images) if labels[p] >= 0)
        run = partial(work, kinds=kinds, severities=self.severities, seed=evidence.seed)
        return Study(items, run, CHUNK) if items and kinds else None

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """At most: one forward for each image, kind and severity."""
        chosen = min(self.images, int((np.asarray(dataset.labels) >= 0).sum()))
        made = float(chosen * len(self.shown_kinds(target.input_shape[0])) * len(self.severities))
        return Cost(forwards=made, batch=target.at_once, seconds=made * prod(target.input_shape) * SECONDS)

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Arithmetic on the rows of the study; the pictures are made again, without the model."""
        kinds = self.shown_kinds(target.input_shape[0])
        if not results.rows:
            why = "none of those chosen has a label" if kinds else "grey images have no colour to lose"
            return Finding("not_applicable", f"it found no image to corrupt: {why}")
        predictions = evidence.predictions
        assert predictions is not None, "needs.scores holds"
        rows, at = results.rows, results.rows["position"]
        seen = Seen(
            kinds, self.severities, at, predictions.correct[at], predictions.confidence[at], rows["told"], rows["sure"],
            rows["right"],
        )  # fmt: skip
        columns = columns_of(seen, len(evidence.dataset))
        values = values_of(seen, columns, evidence.seed)
        first, artifacts = kinds_gallery(evidence, seen)
        lost, pictures = lost_gallery(evidence, seen)
        return Finding(
            "done", values=values, figures=(*figures_of(seen, values), first, *lost), notes=notes(seen, values),
            artifacts=artifacts | pictures, columns=columns,
        )  # fmt: skip


def work(
    target: Target, dataset: Dataset, items: Sequence[Item], *, kinds: tuple[str, ...], severities: tuple[int, ...], seed: int
) -> State:
    """What each image is taken for, how surely, and whether that is right: (n,kinds,severities) each."""
    positions = [item[0] for item in items]
    labels = np.asarray(dataset.labels)[positions]
    images = unit_images(dataset, positions, target.device)
    seeds = [image_seed(seed, dataset.samples[p].key) for p in positions]
    size = target.at_once
    told = np.zeros((len(items), len(kinds), len(severities)), dtype=np.int64)
    sure = np.zeros(told.shape, dtype=np.float32)
    for k, kind in enumerate(kinds):
        for s, severity in enumerate(severities):
            changed = corrupt(images, kind, severity, seeds=seeds)
            scores = torch.cat([target.scores(target.preprocess.normalise(part)) for part in changed.split(size)])
            confidence, first = torch.softmax(scores, 1).max(1)
            told[:, k, s], sure[:, k, s] = first.cpu().numpy(), confidence.cpu().numpy()
    return {"position": np.array(positions, dtype=np.int64), "right": told == labels[:, None, None], "told": told, "sure": sure}


def columns_of(seen: Seen, total: int) -> dict[str, Array]:
    """(N,) columns, NaN where an image was not looked at."""
    share = seen.right.mean((1, 2))
    found = {f"{OWN}.mean_corruption_accuracy": share, f"{OWN}.corruption_drop": seen.clean - share}
    found |= {f"{OWN}.accuracy.{kind}": seen.right[:, k].mean(1) for k, kind in enumerate(seen.kinds)}
    return {name: spread_out(rows, seen.positions, total) for name, rows in found.items()}


def values_of(seen: Seen, columns: Mapping[str, Array], seed: int) -> dict[str, Value]:
    """The figures with their bounds over the images: the conditions of one image go together."""

    def named(name: str, *behind: str) -> Value:
        return statistic(name, {column: columns[column] for column in behind}, unit="share", seed=seed)

    by_kind = {kind: f"{OWN}.accuracy.{kind}" for kind in seen.kinds}
    return {
        "mean_corruption_accuracy": named("mean", f"{OWN}.mean_corruption_accuracy"),
        "worst_corruption_accuracy": named("lowest_mean", *by_kind.values()),
        "corruption_drop": named("mean", f"{OWN}.corruption_drop"),
        **{f"accuracy.{kind}": named("mean", column) for kind, column in by_kind.items()},
    }
