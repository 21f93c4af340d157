"""Whether the model's confidence can be believed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.bounds import clopper_pearson, proportion, statistic
from auditor.bounds.statistics import BINS
from auditor.evidence.gallery import judged_images
from auditor.evidence.labelled import Labelled, distinct, labelled
from auditor.methods.calibration import Temperature, crossed, reliability, softened, temperature
from auditor.methods.standing import RATE, confidence_off
from auditor.methods.units import discoveries
from auditor.ops.columns import spread_out
from auditor.probe import Needs, Probe, Results
from auditor.types import Array, Figure, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.evidence import Evidence
    from auditor.target import Target

SURE = 0.9
"""Confidence from which a mistake is a confident one."""
MOST_BARS, FEW = 30, 10


@dataclass(frozen=True)
class Calibration(Probe):
    """Asks: When the model says 90 %, is it right nine times in ten, and if not, would one number mend it?
    Formula: ECE = sum over 15 equal bins of confidence of n_b / n |accuracy_b - mean confidence_b|. over_confidence = mean of
    confidence - right. temperature = the T that makes the mean of -log softmax(scores / T) of the label least. ece_after: the
    labelled images are split in two by a hash; each half is judged under the temperature of the other.
    Read: A curve under the diagonal is over-confident. A temperature above 1 flattens such scores; it changes no prediction.
    Where ece_after is much lower than ece, dividing the scores by the temperature is worth it. Look at the confident errors: they
    are what the model does not understand, or wrong labels.
    Misleads: It holds for images like these; under a shift confidence is worth less. ECE depends on the bins, is never below 0,
    and is too high where there are few images. One temperature cannot mend classes that err in opposite ways: see the bars.
    """

    title: ClassVar[str] = "Calibration"
    cites: ClassVar[tuple[str, ...]] = (
        "Guo et al. 2017, On calibration of modern neural networks",
        "Naeini, Cooper, Hauskrecht 2015, Obtaining well calibrated probabilities using Bayesian binning",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("ece", "Calibration error", "share", "lower", "Mean distance of confidence from accuracy, over 15 bins."),
        Measure("ece_after", "Calibration error, mended", "share", "lower", "The same after the temperature of the other half."),
        Measure("over_confidence", "Over-confidence", "share", "none", "Mean confidence minus the share right."),
        Measure("confident_errors", "Confident errors", "share", "lower", "Share of images wrong with at least 90 % confidence."),
        Measure("temperature", "Temperature", "", "none", "What the scores are best divided by; above 1 they are too sharp."),
    )
    needs: ClassVar[Needs] = Needs(scores=True, labels=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {"quick": {"gallery": 8}, "standard": {}, "full": {"gallery": 24}}
    only_shown: ClassVar[frozenset[str]] = frozenset({"gallery"})

    gallery: int = 16
    """Confident errors that are shown."""

    def __post_init__(self) -> None:
        if not 0 <= self.gallery <= 64:
            raise ValueError(f"expected gallery from 0 to 64, got {self.gallery}")

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Arithmetic on the predictions."""
        seen = labelled(evidence)
        names = distinct(evidence.names)
        best = temperature(seen.scores, seen.labels)
        half = np.array([halved(evidence.dataset.samples[p].key, evidence.seed) for p in seen.positions], dtype=bool)
        after, own = softened(seen.scores, crossed(seen.scores, seen.labels, half), seen.labels)
        values, columns = values_of(evidence, seen, best, after)
        wrong = np.flatnonzero(~seen.right)
        errors, artifacts = judged_images(
            evidence, seen, wrong[np.argsort(-seen.confidence[wrong], kind="stable")][: self.gallery],
            named=("mistakes", "Wrong with the highest confidence"),
            caption=f"The highest confidences of {len(wrong)} wrong images.", names=names,
        )  # fmt: skip
        figures = (diagram(seen.confidence, after, seen.right), histogram(seen.confidence, seen.right), *by_class(seen, names))
        losses = (float(seen.loss.mean(dtype=np.float64)), float(-own.mean()))
        return Finding(
            "done", values=values, figures=(*figures, *errors), notes=notes(values, losses), artifacts=artifacts, columns=columns
        )


def values_of(evidence: Evidence, seen: Labelled, best: Temperature, after: Array) -> tuple[dict[str, Value], dict[str, Array]]:
    """The figures, and the columns behind them; `after` (n,): confidence under the temperature of the other half."""
    predictions = evidence.predictions
    assert predictions is not None, "needs.scores holds"
    sure = ~seen.right & (seen.confidence >= SURE)
    rows = {"mended": after, "over_confidence": seen.confidence.astype(np.float64) - seen.right, "confident_errors": sure}
    total = len(evidence.dataset)
    columns = {f"calibration.{name}": spread_out(row, seen.positions, total) for name, row in rows.items()}
    correct = spread_out(seen.right, seen.positions, total).astype(np.float32)

    def found(name: str, behind: Mapping[str, Array]) -> Value:
        return statistic(name, behind, unit="share", seed=evidence.seed)

    flags = () if best.inside else ("void: the best temperature lies beyond the range, or no image bounds it",)
    return {
        "ece": found("ece", {"confidence": predictions.confidence, "correct": correct}),
        "ece_after": found("ece", {"calibration.mended": columns["calibration.mended"], "correct": correct}),
        "over_confidence": found("mean", {"calibration.over_confidence": columns["calibration.over_confidence"]}),
        "confident_errors": proportion(int(sure.sum()), len(seen.right), columns=("calibration.confident_errors",)),
        "temperature": Value(best.value, "statistic", "", n=len(seen.right), low=best.low, high=best.high, flags=flags),
    }, columns


def halved(key: str, seed: int) -> bool:
    """Which half an image belongs to, by its key alone."""
    return bool(hashlib.sha256(f"{seed}:calibration:{key}".encode()).digest()[0] & 1)


def notes(values: Mapping[str, Value], losses: tuple[float, float]) -> tuple[str, ...]:
    """What it comes to."""
    gap, best = values["over_confidence"], values["temperature"]
    said = []
    if gap.value is not None and gap.low is not None and gap.high is not None and (gap.low > 0 or gap.high < 0):
        said.append(f"It is {'over' if gap.value > 0 else 'under'}-confident by {100 * abs(gap.value):.1f} points on average.")
    else:
        said.append("On average its confidence is not shown to be off.")
    if best.flags:
        said.append("No temperature can be told from these images: nearly all are right, or none.")
    elif best.low is not None and best.high is not None and best.low <= 1 <= best.high:
        said.append(
            f"The best temperature is {best.value:.2f}, and 1 lies within its interval ({best.low:.2f} to {best.high:.2f}): "
            "nothing is shown to be gained by another one."
        )
    else:
        before, after = values["ece"].value, values["ece_after"].value
        said.append(
            f"Dividing the scores by {best.value:.2f} takes the calibration error from {before:.1%} to {after:.1%} and "
            f"the loss from {losses[0]:.3f} to {losses[1]:.3f} nats, each half judged under the temperature of "
            "the other; no prediction changes."
        )
    return tuple(said)


def diagram(before: Array, after: Array, right: Array) -> Figure:
    """The reliability diagram, as it is and mended."""
    series = []
    for name, confidence in (("model", before), ("under the temperature", after)):
        bins = reliability(confidence, right)
        ends = [clopper_pearson(int(k), int(m), 0.95) for k, m in zip(bins.right, bins.n, strict=True)]
        line = {"name": name, "x": bins.confidence.tolist(), "y": (bins.right / bins.n).tolist()}
        if name == "model":
            line |= {"low": [float(low) for low, _ in ends], "high": [float(high) for _, high in ends]}
            counts = bins.n.tolist()
        series.append(line)
    series.append({"name": "confidence kept", "x": [0.0, 1.0], "y": [0.0, 1.0], "dashed": True})
    caption = (
        f"{len(counts)} of {BINS} equal bins hold images of the model as it is, "
        f"{', '.join(map(str, counts))} from left to right. "
        "Band: exact 90 % interval of each bin. Under the dashed line it is over-confident."
    )
    data = {"x_label": "confidence", "y_label": "share right", "series": series}
    return Figure("reliability", "lines", "Reliability diagram", caption, data)


def histogram(confidence: Array, right: Array) -> Figure:
    """Confidence of right and wrong."""
    edges = np.linspace(0, 1, 21)
    counts = [
        {"name": name, "edges": edges.tolist(), "counts": np.histogram(confidence[which], edges)[0].tolist()}
        for name, which in (("right", right), ("wrong", ~right))
    ]
    told = f"{int(right.sum())} right and {int((~right).sum())} wrong images."
    data = {"x_label": "confidence", "y_label": "images", "series": counts}
    return Figure("confidence", "histogram", "Confidence when right and when wrong", told, data)


def by_class(seen: Labelled, names: Sequence[str]) -> tuple[Figure, ...]:
    """Mean confidence minus share right, by predicted class, the most over-confident first."""
    classes, place, n = np.unique(seen.predicted, return_inverse=True, return_counts=True)
    held = np.flatnonzero(n >= FEW)
    if len(held) < 2:
        return ()
    sure = np.bincount(place, weights=seen.confidence) / n
    k = np.bincount(place, weights=seen.right).astype(int)
    off = np.zeros(len(classes), dtype=bool)
    off[held] = discoveries(confidence_off(seen.confidence.astype(np.float64), seen.right, place, len(classes))[held], share=RATE)
    order = held[np.argsort(-(sure - k / n)[held], kind="stable")][:MOST_BARS]
    ends = [clopper_pearson(int(k[i]), int(n[i]), 0.95) for i in order]
    data = {
        "labels": [names[int(classes[i])] for i in order],
        "values": [float(sure[i] - k[i] / n[i]) for i in order],
        "low": [float(sure[i] - high) for i, (_, high) in zip(order, ends, strict=True)],
        "high": [float(sure[i] - low) for i, (low, _) in zip(order, ends, strict=True)],
        "n": [int(n[i]) for i in order],
        "x_label": "mean confidence minus share right",
        "y_label": "predicted class",
        "horizontal": True,
        "format": "percent",
        "highlight": np.flatnonzero(off[order]).tolist(),
    }
    named = f" Highlighted: {int(off.sum())} of {len(held)} whose confidence is off beyond chance, one in twenty of them perhaps"
    told = f"{named} falsely (normal approximation, Benjamini and Hochberg 1995)." if off.any() else ""
    cut = f" {len(order)} of {len(classes)} classes: those with at least {FEW} images, {MOST_BARS} at most."
    caption = f"Above 0 the model is too sure when it says this class. Exact 90 % intervals of the share right.{cut}{told}"
    return (Figure("classes", "bars", "Over-confidence by predicted class", caption, data),)
