"""Probe `neighbours`: what the model holds to be alike, what stands twice in the data, what leaked from the training set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.bounds import statistic
from auditor.fold import Cost
from auditor.methods.generator import width_of
from auditor.methods.votes import agreement, ceiling, has_company, occurrences
from auditor.probe import Probe, Results
from auditor.probes.neighbours.leaks import leaks
from auditor.probes.neighbours.pictures import Pictures, gallery, thumbnails
from auditor.probes.neighbours.twice import duplicates
from auditor.types import Finding, Json, Measure

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

AGREEMENT = "neighbours.label_agreement"
HUB = 5.0
"""An image that is a neighbour so many times as often as the average one is a hub."""

PAIR, PAIRED, IMAGE, NUMBER = 1.2e-8, 3e-11, 1e-4, 8e-9
"""Seconds on one core: a pair of images, and each of their features; an image, and each of its numbers."""


@dataclass(frozen=True)
class Neighbours(Probe):
    """Asks: What does the model hold to be alike, and was it tested on what it was trained on?
    Formula: Euclidean distance of the features that the classifier head is given, no cosine. label_agreement = mean over the
    labelled images of the share of their 5 nearest labelled others with the same label. Near duplicates: features at most
    `share` median distances to the 10th neighbour apart, AND 16 x 16 thumbnails whose mean difference is at most `pixels`/255
    and a tenth of the image's own contrast. near_duplicates = images that have one. leaked_images (with --train) = share of the
    audited images that have a near duplicate among the training images by the same rule, or are the very same file (sha256).
    Read: Neighbours by features should share the thing, not the background or the photographer; neighbours by pixels, beside
    them, show what mere colour would have found. Near duplicates with two labels are suspected wrong labels; within one set they
    count one image twice. Leaks make an accuracy too good: compare top1_without_leaks with top1_of_leaks.
    Misleads: Agreement is bounded by the classes' sizes, and high where an object was photographed several times. Duplicates
    that were cropped, mirrored or much brightened are not found, so leaked_images is at least this; icons and digits can be
    alike without being copies.
    """

    title: ClassVar[str] = "Nearest neighbours"
    cites: ClassVar[tuple[str, ...]] = (
        "Cover, Hart 1967, Nearest neighbor pattern classification",
        "Krizhevsky, Sutskever, Hinton 2012, ImageNet classification with deep convolutional neural networks",
        "Radovanovic, Nanopoulos, Ivanovic 2010, Hubs in space: popular nearest neighbors in high-dimensional data",
        "Barz, Denzler 2020, Do we train on test data? Purging CIFAR of near-duplicates",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "label_agreement", "Label agreement", "share", "higher", "Share of the 5 nearest neighbours with an image's label."
        ),
        Measure("near_duplicates", "Near duplicates", "images", "lower", "Images that are all but copies of another one."),
        Measure("leaked_images", "Leaked images", "share", "lower", "Audited images that are in the training set too."),
        Measure(
            "top1_without_leaks", "Top-1 without leaks", "share", "higher", "Accuracy on images that are not in the training set."
        ),
        Measure("top1_of_leaks", "Top-1 of leaks", "share", "none", "Accuracy on images that are in the training set."),
    )
    reads_train: ClassVar[bool] = True
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {"quick": {"queries": 8}, "standard": {}, "full": {"queries": 16}}
    only_shown: ClassVar[frozenset[str]] = frozenset({"queries", "neighbours"})

    queries: int = 12
    neighbours: int = 6
    """Shown beside each query."""
    agreeing: int = 5
    """Neighbours that label_agreement looks at."""
    share: float = 0.75
    pixels: float = 2.0

    def __post_init__(self) -> None:
        if not (0 <= self.queries <= 32 and 1 <= self.neighbours <= 16 and 1 <= self.agreeing <= 50):
            raise ValueError("expected queries from 0 to 32, neighbours from 1 to 16 and agreeing from 1 to 50")
        if not (self.share >= 0 and self.pixels >= 0):
            raise ValueError(f"expected share >= 0 and pixels >= 0, got {self.share} and {self.pixels}")

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """About, without the model: the graph of the features, and the thumbnails."""
        count, numbers = len(dataset), math.prod(target.input_shape)
        return Cost(seconds=count**2 * (PAIR + PAIRED * width_of(target)) + count * (IMAGE + numbers * NUMBER))

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Arithmetic on the graph of the features and on the pixels."""
        count = len(evidence.dataset)
        if count < 2:
            return Finding("not_applicable", f"it needs two images to compare, and the data set has {count}")
        thumbs, pictures = thumbnails(evidence.dataset, range(count), evidence.room), Pictures(evidence)
        agreed, rule = self.agreement(evidence), {"share": self.share, "pixels": self.pixels}
        parts = [agreed, duplicates(pictures, thumbs, **rule), leaks(pictures, thumbs, **rule)]
        nearest = [gallery(pictures, thumbs, queries=self.queries, neighbours=self.neighbours)] if self.queries else []
        return Finding(
            "done",
            values={name: value for part in parts for name, value in part.values.items()},
            figures=(*nearest, *(figure for part in reversed(parts) for figure in part.figures)),
            notes=(*(note for part in parts for note in part.notes), *self.hub(evidence)),
            artifacts=pictures.artifacts,
            columns={name: column for part in parts for name, column in part.columns.items()},
        )

    def agreement(self, evidence: Evidence) -> Finding:
        """label_agreement with its column, and the sentences on it."""
        labels, k = np.asarray(evidence.dataset.labels), self.agreeing
        if not (labels >= 0).any():
            return Finding("done", notes=("label_agreement is left out: no image has a label.",))
        column = agreement(evidence.graph.indices, labels, k)
        n = int(np.isfinite(column).sum())
        if not n:
            return Finding("done", notes=("label_agreement is left out: no class has two labelled images.",))
        value = statistic("mean", {AGREEMENT: column}, unit="share", seed=evidence.seed)
        most = ceiling(labels, k)
        if most < 1:
            value = replace(
                value, flags=(*value.flags, f"at most {most:.1%} is possible: some classes have under {k + 1} images")
            )
        _, sizes = np.unique(labels[labels >= 0], return_counts=True)
        chance = float(np.sum(sizes * (sizes - 1)) / (sizes[sizes > 1].sum() * (sizes.sum() - 1)))
        shared = f"{np.nanmean(column):.1%} have the same label; chance: {chance:.1%}"
        told = [f"Of the {k} nearest neighbours of {n} labelled images {shared}."]
        alone = int(np.sum((labels >= 0) & ~has_company(labels)))
        if alone:
            told.append(f"Images that are the only one of their class do not count there: {alone}.")
        return Finding("done", values={"label_agreement": value}, notes=tuple(told), columns={AGREEMENT: column})

    def hub(self, evidence: Evidence) -> tuple[str, ...]:
        """The image that is the nearest of far more others than it should be, if there is one."""
        indices = evidence.graph.indices[:, : self.neighbours]
        often = occurrences(indices)
        most = int(often.argmax())
        if often[most] < HUB * indices.shape[1] or often[most] < len(often) / 10:
            return ()
        name = evidence.dataset.samples[most].name
        return (
            f"{name} is among the {indices.shape[1]} nearest of {often[most]} of the {len(often)} images: a hub, as spaces of "
            "many dimensions have them; that it is near says little.",
        )
