"""Probe `performance`: how often the model is right, and for whom it is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.bounds import clopper_pearson, proportion, statistic
from auditor.evidence.gallery import judged_images
from auditor.evidence.labelled import Labelled, distinct, labelled
from auditor.methods.confusion import Recalls, confusions, recalls
from auditor.ops.columns import spread_out
from auditor.probe import Needs, Probe, Results
from auditor.probes.performance.figures import confusion_figures, recall_figure, slice_figures
from auditor.types import Array, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.evidence import Evidence
    from auditor.target import Target

TOP = 5
MOST_SCOPED = 100
"""Classes with samples up to which each gets a figure of its own."""
FEW = 10
"""A class with fewer samples says little about itself."""


@dataclass(frozen=True)
class Performance(Probe):
    """Asks: How often is the model right, and for whom is it wrong?
    Formula: top-k = share of labelled images whose label is among the k highest scores. Recall of a class = share of its images
    that are predicted as it; macro recall = mean over the classes that have images, worst-class recall = the lowest.
    Read: Look at the weakest classes before the mean. The hardest images are either what the model does not understand, or
    wrong labels. Whether it knows when it is wrong stands under calibration.
    Misleads: The figures hold for images like these, and labels count as the truth. The worst class of many is low by chance
    alone: look at its n and interval.
    """

    title: ClassVar[str] = "Performance"
    cites: ClassVar[tuple[str, ...]] = (
        "Clopper, Pearson 1934, The use of confidence or fiducial limits illustrated in the case of the binomial",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("top1", "Accuracy", "share", "higher", "Share of labelled images whose highest score is their label's."),
        Measure("top5", "Top-5 accuracy", "share", "higher", "Share whose label is among the five highest scores."),
        Measure("macro_recall", "Macro recall", "share", "higher", "Mean recall of the classes that have images."),
        Measure("worst_class_recall", "Worst-class recall", "share", "higher", "Recall of the weakest class."),
        Measure("recall", "Recall", "share", "higher", "Share of a class's images that are predicted as it."),
    )
    needs: ClassVar[Needs] = Needs(scores=True, labels=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {"quick": {"gallery": 8}, "standard": {}, "full": {"gallery": 24}}
    only_shown: ClassVar[frozenset[str]] = frozenset({"gallery"})

    gallery: int = 16
    """Pictures of the hardest images."""

    def __post_init__(self) -> None:
        if not 0 <= self.gallery <= 64:
            raise ValueError(f"expected gallery from 0 to 64, got {self.gallery}")

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Arithmetic on the predictions."""
        seen = labelled(evidence)
        names = distinct(evidence.names)
        by_class, pairs = recalls(seen.labels, seen.predicted), confusions(seen.labels, seen.predicted)
        values, columns = figures_of(evidence, seen, by_class, names)
        confused, artifacts = confusion_figures(seen, pairs, names)
        hardest = np.argsort(-seen.loss, kind="stable")[: self.gallery]
        told = f"The highest losses of {len(seen.loss)} labelled images."
        shown, pictures = judged_images(evidence, seen, hardest, named=("hardest", "Hardest images"), caption=told, names=names)
        figures = (recall_figure(by_class, names), *confused, *slice_figures(evidence, seen), *shown)
        said = notes(evidence, seen, by_class, pairs, names)
        return Finding("done", values=values, figures=figures, notes=said, artifacts=artifacts | pictures, columns=columns)


def figures_of(
    evidence: Evidence, seen: Labelled, by_class: Recalls, names: Sequence[str]
) -> tuple[dict[str, Value], dict[str, Array]]:
    """The values, and the columns that they rest on beside those that every audit has."""
    predictions = evidence.predictions
    assert predictions is not None, "needs.scores holds"
    n, total, columns = len(seen.labels), len(evidence.dataset), {}
    values = {"top1": proportion(int(seen.right.sum()), n, columns=("correct",))}
    if seen.outputs > TOP:
        columns["performance.top5"] = spread_out(seen.rank < TOP, seen.positions, total).astype(np.float32)
        values["top5"] = proportion(int(np.sum(seen.rank < TOP)), n, columns=("performance.top5",))
    classes = {"label": np.asarray(predictions.labels, dtype=np.int64), "predicted": predictions.predicted}
    for name in ("macro_recall", "worst_class_recall"):
        values[name] = statistic(name, classes, unit="share", seed=evidence.seed)
    if len(by_class.classes) <= MOST_SCOPED:
        for number, right, count in zip(by_class.classes.tolist(), by_class.right.tolist(), by_class.n.tolist(), strict=True):
            values[f"recall.{names[number]}"] = proportion(right, count)
    return values, columns


def notes(evidence: Evidence, seen: Labelled, by_class: Recalls, pairs: Array, names: Sequence[str]) -> tuple[str, ...]:
    """What stands out, with its figures."""
    told = [*weakest(by_class, names)]
    if len(pairs):
        a, b, count = (int(number) for number in pairs[0])
        most = f"{names[a]} is taken for {names[b]} {count} times"
        told.append(
            f"The most common confusion: {most} of {int(np.sum(seen.labels == a))}."
            if count > 1
            else "No confusion of two classes occurs twice."
        )
    if seen.outputs <= TOP:
        told.append(f"Top-5 accuracy is left out: with {seen.outputs} classes it says nothing.")
    unlabelled = len(evidence.dataset) - len(seen.labels)
    if unlabelled:
        told.append(f"Only the {len(seen.labels)} labelled images count; {unlabelled} have no label.")
    if len(by_class.classes) > MOST_SCOPED:
        told.append(
            f"Recall is given as a gated figure for up to {MOST_SCOPED} classes only; {len(by_class.classes)} have images here."
        )
    return tuple(told)


def weakest(by_class: Recalls, names: Sequence[str]) -> list[str]:
    """The two weakest classes by name."""
    if len(by_class.classes) < 2:
        return ["All labelled images are of one class: recall and confusions say nothing of the others."]
    order = by_class.weakest_first()
    said = []
    for i in order[:2]:
        right, n = int(by_class.right[i]), int(by_class.n[i])
        low, high = clopper_pearson(right, n, 0.95)
        said.append(f"{names[int(by_class.classes[i])]} ({right / n:.1%} of {n}, 90 % interval {low:.1%} to {high:.1%})")
    told = [f"The weakest of {len(order)} classes are {said[0]} and {said[1]}."]
    few = int(np.sum(by_class.n < FEW))
    if few:
        told.append(f"{few} of {len(order)} classes have fewer than {FEW} images: their recall by itself says little.")
    return told
