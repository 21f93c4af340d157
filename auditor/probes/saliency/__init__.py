"""Probe `saliency`: what the gradient of a class score points at, and whether that has to do with what was learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor import bounds
from auditor.evidence import Asked, asked, rivals
from auditor.fold import Cost, Study
from auditor.methods.randomisation import LINE, in_words
from auditor.ops.columns import spread_out
from auditor.probe import Needs, Probe, Results
from auditor.probes.saliency.against import against
from auditor.probes.saliency.pictures import gallery, shown_of
from auditor.probes.saliency.work import Settings, explain
from auditor.types import Array, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

MOST_BYTES = 1_000_000
"""Of raw maps kept as an artifact."""
CHUNK = 8
"""Images for which the control is built once."""


@dataclass(frozen=True)
class Saliency(Probe):
    """Six gradient maps of a class score, the object that they cut out, and their control.

    Asks: Which pixels would change the class score most, and is that a matter of what the model has learned?
    Formula: S the pre-softmax score of the predicted class (or as `target` and `contrast` say: S_a - S_b). Saliency = max over
        channels of |dS/dx|; gradient x input = sum over channels of x dS/dx; integrated gradients = sum over channels of
        (x - x') mean gradient on the line from x' to x, x' the zero of the normalised input; SmoothGrad = max over channels of
        |mean gradient over noisy copies|; Grad-CAM = max(0, sum of w_c a_c), a the last maps, w_c the mean gradient in channel
        c. GrabCut: saliency, smoothed by 1/32 of the side, above its 95 % quantile seeds the object, below its 30 % quantile
        the background; colours decide the rest; the largest part is the object. Control: saliency after the top
        layers were given fresh weights; randomisation_spearman is the rank correlation of the two maps.
    Read: Bright pixels are those that the score answers to; red ones raise it, blue ones lower it. The control should look
        different from the saliency: the nearer randomisation_spearman is to 0, the more the map depends on what the top layers
        have learned. The cut-out is the model's object only as far as the saliency is. The section Sanity puts every method to
        the test; what it stamps is stamped here too.
    Misleads: A gradient says what a tiny change would do, not what the score rests on. Where the control looks alike, the
        map shows edges of the image rather than knowledge of the model. Each map has its own scale: brightness cannot be
        compared between pictures. The mean completeness_gap can be ruled by images whose score barely differs from the
        baseline's. GrabCut follows colours: a clean outline is the segmentation's doing, not the model's.
    """

    title: ClassVar[str] = "Saliency"
    cites: ClassVar[tuple[str, ...]] = (
        "Simonyan, Vedaldi and Zisserman 2014, Deep Inside Convolutional Networks",
        "Shrikumar et al. 2016, Not Just a Black Box: Interpretable Deep Learning (gradient x input)",
        "Sundararajan, Taly and Yan 2017, Axiomatic Attribution for Deep Networks",
        "Smilkov et al. 2017, SmoothGrad: removing noise by adding noise",
        "Selvaraju et al. 2017, Grad-CAM: Visual Explanations from Deep Networks",
        "Rother, Kolmogorov and Blake 2004, GrabCut",
        "Adebayo et al. 2018, Sanity Checks for Saliency Maps",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "randomisation_spearman", "Likeness after randomisation", "correlation", "lower",
            "Mean rank correlation of the saliency map with that of the same model with its top layers randomised.",
        ),
        Measure(
            "completeness_gap", "Completeness gap", "share", "lower",
            "How far integrated gradients are from summing to the change of score that they explain, relative to that change.",
        ),
        Measure(
            "object_iou", "Object found", "share", "higher",
            "Mean overlap (IoU) of the object that saliency cuts out with the mask in the data, or of their bounding boxes.",
        ),
    )  # fmt: skip
    needs: ClassVar[Needs] = Needs(scores=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {
        "quick": {"images": 8},
        "standard": {"images": 32},
        "full": {"images": 64},
    }

    images: int = 64
    target: str = "predicted"
    """The class whose score is explained: predicted, true, runner_up, or one by name or number."""
    contrast: str = ""
    """The class whose score is taken off, likewise; none where empty."""
    steps: int = 32
    """Points of the integrated gradients."""
    samples: int = 16
    """Noisy copies of SmoothGrad."""
    sigma: float = 0.15
    """Noise of SmoothGrad as a share of the image's range."""
    fraction: float = 0.25
    """Share of the layers with weights, from the top, that the control randomises (the head is always among them)."""

    def asked(self, evidence: Evidence) -> Asked:
        """The images and their classes."""
        return asked(evidence, self.images, self.target, self.contrast)

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """The maps of the chosen images."""
        settings = Settings(self.steps, self.samples, self.sigma, self.fraction, evidence.seed)
        found = self.asked(evidence)
        pairs = rivals(evidence, found.positions).tolist()
        items = tuple((*item, *pair) for item, pair in zip(found.items, pairs, strict=True))
        return Study(items, partial(explain, settings=settings), chunk=CHUNK)

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        n = min(self.images, len(dataset))
        return Cost(forwards=2.0 * n + -(-n // CHUNK), gradients=(6.0 + self.steps + self.samples) * n)

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Figures, gallery, and what the control says."""
        rows, found = results.rows, self.asked(evidence)
        if not rows:
            return Finding("not_applicable", found.nothing)
        values, columns = self.figures_for_gate(evidence, rows, found.positions)
        figure, artifacts = gallery(target.input_shape, evidence, found, rows, self.caption(rows, found, target.input_shape))
        kept = max(1, MOST_BYTES // rows["saliency"][0].nbytes)
        artifacts["saliency.npy"] = rows["saliency"][:kept]
        other, more = against(target.input_shape, evidence, found.positions, rows)
        artifacts |= more
        told = (*notes(rows), *missing(rows, found))
        return Finding("done", values=values, figures=(figure, *other), notes=told, artifacts=artifacts, columns=columns)

    def figures_for_gate(
        self, evidence: Evidence, rows: Mapping[str, Array], positions: Array
    ) -> tuple[dict[str, Value], dict[str, Array]]:
        """The measures with the columns behind them; object_iou only where the data say where an object is."""
        columns: dict[str, Array] = {}
        values: dict[str, Value] = {}
        for measure in self.measures:
            column = spread_out(rows[measure.name], positions, len(evidence.dataset))
            if measure.name == "object_iou" and not np.isfinite(column).any():
                continue
            name = f"saliency.{measure.name}"
            columns[name] = column
            values[measure.name] = bounds.statistic("mean", {name: column}, unit=measure.unit, seed=evidence.seed)
        return values, columns

    def caption(self, rows: Mapping[str, Array], found: Asked, shape: tuple[int, ...]) -> str:
        """What is shown of what."""
        top, layers = (int(number) for number in rows["layers"][0])
        shown = min(shown_of(shape), len(found.positions))
        return (
            f"{shown} of {len(found.positions)} images, {found.what}. Integrated gradients: {self.steps} points from the zero of "
            f"the normalised input; SmoothGrad: {self.samples} copies, noise {self.sigma:g} of the range; control: "
            f"{in_words(top, layers)} randomised. Raw saliency of the first ones: saliency.npy."
        )


def missing(rows: Mapping[str, Array], found: Asked) -> tuple[str, ...]:
    """What is not shown, and why."""
    told = []
    if np.isnan(rows["gradcam"]).any():
        without = int(np.isnan(rows["gradcam"]).any(axis=(1, 2)).sum())
        told.append(f"Grad-CAM is left out on {without} of {len(rows['gradcam'])} images: no layer has maps that the score uses.")
    if not np.isfinite(rows["object_iou"]).any():
        told.append(
            "object_iou is not measured: no boxes or masks come with these images (columns `box` and `mask` of a manifest)."
        )
    if found.left_out:
        told.append(f"{found.left_out} images of the data have no {found.what} and are passed over.")
    return tuple(told)


def notes(rows: Mapping[str, Array]) -> tuple[str, ...]:
    """Whether the maps earn their place, with the figures."""
    likeness, gap = rows["randomisation_spearman"], rows["completeness_gap"]
    told = []
    known = likeness[np.isfinite(likeness)]
    if len(known):
        top, layers = (int(number) for number in rows["layers"][0])
        what = f"With {in_words(top, layers)} randomised the saliency maps keep a rank correlation of {known.mean():.2f}"
        high = int(np.sum(known >= LINE))
        told.append(
            f"{what}: it stays high, so these maps show the images' edges more than what the model has learned."
            if known.mean() >= LINE
            else f"{what}: they depend on what the model has learned; "
            f"it stays at {LINE:g} or above on {high} of {len(known)} images."
        )
    if len(known) < len(likeness):
        flat = len(likeness) - len(known)
        told.append(f"On {flat} of {len(likeness)} images a map is constant (no gradient reaches the input).")
    if np.isfinite(gap).any() and np.nanmedian(gap) > 0.1:
        told.append(
            f"Integrated gradients miss a median of {np.nanmedian(gap):.0%} of the change of score: raise `steps` to trust them."
        )
    return tuple(told)
