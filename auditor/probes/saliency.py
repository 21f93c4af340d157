"""Probe `saliency`: what the gradient of the predicted class points at, and whether that has to do with what was learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor import bounds
from auditor.evidence.predictions import promised
from auditor.fold import Cost, Item, Study
from auditor.methods.integrated_gradients import completeness, integrated_gradients
from auditor.methods.randomisation import randomise, spearman, top_count, weighted_layers
from auditor.methods.saliency import saliency
from auditor.methods.smoothgrad import smoothgrad
from auditor.ops.colour import is_small, rows_shown, sequential, thinned, three
from auditor.probe import Needs, Probe, Results
from auditor.types import Array, Figure, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

MOST_BYTES = 3_000_000
"""Of raw maps kept as an artifact."""
HIGH = 0.5
"""A rank correlation from here on is called high."""
MAPS = ("gradient", "integrated", "smooth", "control")


@dataclass(frozen=True)
class Saliency(Probe):
    """Gradient saliency, integrated gradients and SmoothGrad of the predicted class, and their control.

    Asks: Which pixels would change the predicted class's score most, and is that a matter of what the model has learned?
    Formula: saliency = max over channels of |dS/dx|, S the pre-softmax score of the predicted class; integrated gradients =
        sum over channels of |(x - x') mean gradient on the line from x' to x|, x' the zero of the normalised input; SmoothGrad
        = max over channels of |mean gradient over noisy copies|. Control: saliency after the top layers were given fresh
        weights; randomisation_spearman is the rank correlation of the two maps.
    Read: Bright pixels are those that the score answers to. The control column should look different from the saliency
        column: the nearer randomisation_spearman is to 0, the more the map depends on what the top layers have learned.
    Misleads: A gradient says what a tiny change would do, not what the score rests on. Where the control looks alike, the
        map shows edges of the image rather than knowledge of the model. Each map has its own scale: brightness cannot be
        compared between pictures. The mean completeness_gap can be ruled by images whose score barely differs from the
        baseline's.
    """

    title: ClassVar[str] = "Saliency"
    cites: ClassVar[tuple[str, ...]] = (
        "Simonyan, Vedaldi and Zisserman 2014, Deep Inside Convolutional Networks",
        "Sundararajan, Taly and Yan 2017, Axiomatic Attribution for Deep Networks",
        "Smilkov et al. 2017, SmoothGrad: removing noise by adding noise",
        "Adebayo et al. 2018, Sanity Checks for Saliency Maps",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "randomisation_spearman",
            "Likeness after randomisation",
            "correlation",
            "lower",
            "Mean rank correlation of the saliency map with that of the same model with its top layers randomised.",
        ),
        Measure(
            "completeness_gap",
            "Completeness gap",
            "share",
            "lower",
            "How far integrated gradients are from summing to the change of score that they explain, relative to that change.",
        ),
    )
    needs: ClassVar[Needs] = Needs(scores=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {
        "quick": {"images": 8},
        "standard": {"images": 32},
        "full": {"images": 64},
    }

    images: int = 64
    steps: int = 32
    """Points of the integrated gradients."""
    samples: int = 16
    """Noisy copies of SmoothGrad."""
    sigma: float = 0.15
    """Noise of SmoothGrad as a share of the image's range."""
    fraction: float = 0.25
    """Share of the layers with weights, from the top, that the control randomises (the head is always among them)."""

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        classes = promised(evidence.predictions).predicted
        items = tuple((int(position), int(classes[position])) for position in evidence.chosen(self.images))
        work = partial(
            explain, steps=self.steps, samples=self.samples, sigma=self.sigma, fraction=self.fraction, seed=evidence.seed
        )
        return Study(items, work, chunk=8)

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        n = min(self.images, len(dataset))
        return Cost(forwards=4.0 * n, gradients=(2.0 + self.steps + self.samples) * n)

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        rows = results.rows
        if not rows:
            return Finding("not_applicable", "no image was chosen: raise `images` to at least 1")
        chosen = evidence.chosen(self.images)
        columns: dict[str, Array] = {}
        values: dict[str, Value] = {}
        for measure in self.measures:
            column = np.full(len(evidence.dataset), np.nan)
            column[chosen] = rows[measure.name]
            name = f"saliency.{measure.name}"
            columns[name] = column
            values[measure.name] = bounds.statistic("mean", {name: column}, unit=measure.unit, seed=evidence.seed)
        figure, artifacts = self.pictures(target, evidence, rows, chosen)
        return Finding("done", values=values, figures=(figure,), notes=notes(rows), artifacts=artifacts, columns=columns)

    def pictures(
        self, target: Target, evidence: Evidence, rows: Mapping[str, Array], chosen: Array
    ) -> tuple[Figure, dict[str, Array]]:
        """The gallery of maps, and its artifacts."""
        shown = min(rows_shown(target.input_shape), len(chosen))
        kept = min(shown, max(1, MOST_BYTES // rows["gradient"][0].nbytes))
        artifacts: dict[str, Array] = {"saliency.npy": rows["gradient"][:kept]}
        lines = []
        predictions = promised(evidence.predictions)
        for i, position in enumerate(int(p) for p in chosen[:shown]):
            pictures = {f"image-{i}.jpg": three(evidence.dataset.pixels([position])[0])}
            for kind in MAPS:
                pictures[f"{kind}-{i}.png"] = sequential(rows[kind][i], float(np.quantile(rows[kind][i], 0.995)))
            artifacts |= {file: thinned(picture) for file, picture in pictures.items()}
            label = evidence.names[predictions.predicted[position]]
            likeness = f"control likeness {rows['randomisation_spearman'][i]:.2f}"
            lines.append(
                {
                    "label": evidence.dataset.samples[position].name,
                    "note": f"{label}; {likeness}",
                    "sample": position,
                    "cells": [{"file": file} for file in pictures],
                }
            )
        top, layers = (int(number) for number in rows["layers"][0])
        data = {
            "columns": ["image", "saliency", "integrated gradients", "SmoothGrad", "control: saliency, top layers randomised"],
            "rows": lines,
            "pixelated": is_small(target.input_shape),
            "scale": "each map by itself: black is 0, pale yellow its own 99.5 % quantile and above. Brightness cannot be "
            "compared between pictures.",
        }
        caption = (
            f"Predicted class of {shown} of {len(chosen)} images. Integrated gradients: {self.steps} points from the zero of the "
            f"normalised input; SmoothGrad: {self.samples} copies, noise {self.sigma:g} of the range; control: the top {top} of "
            f"{layers} layers with weights randomised. Raw saliency of the first {kept}: saliency.npy."
        )
        return Figure("maps", "gallery", "What the score answers to", caption, data), artifacts


def explain(
    target: Target,
    dataset: Dataset,
    items: Sequence[Item],
    *,
    steps: int,
    samples: int,
    sigma: float,
    fraction: float,
    seed: int,
) -> dict[str, Array]:
    """Rows for items (position, class): four maps (H,W), the likeness of the control, the completeness gap."""
    model = target.module
    rows: dict[str, list[Array]] = {}
    layers = weighted_layers(model, dataset.load(np.array([items[0][0]]), target.device))
    control = randomise(model, fraction=fraction, layers=layers, seed=seed)
    for position, label in items:
        image = dataset.load(np.array([position]), target.device)
        attribution = integrated_gradients(model, image, label, steps=steps)
        maps = {
            "gradient": saliency(model, image, label),
            "integrated": attribution.abs().sum(1),
            "smooth": smoothgrad(model, image, label, samples=samples, sigma=sigma, seed=seed).abs().amax(1),
            "control": saliency(control, image, label),
        }
        row = {name: found[0].float().cpu().numpy() for name, found in maps.items()}
        row["randomisation_spearman"] = spearman(maps["gradient"], maps["control"])[0]
        row["completeness_gap"] = completeness(model, image, label, attribution).double().cpu().numpy()[0]
        row["layers"] = np.array([top_count(len(layers), fraction), len(layers)], dtype=np.int64)
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    return {name: np.stack(values) for name, values in rows.items()}


def notes(rows: Mapping[str, Array]) -> tuple[str, ...]:
    """Whether the maps earn their place, with the figures."""
    likeness, gap = rows["randomisation_spearman"], rows["completeness_gap"]
    told = []
    known = likeness[np.isfinite(likeness)]
    if len(known):
        top, layers = (int(number) for number in rows["layers"][0])
        what = f"With the top {top} of {layers} layers randomised the saliency maps keep a rank correlation of {known.mean():.2f}"
        high = int(np.sum(known >= HIGH))
        told.append(
            f"{what}: it stays high, so these maps show the images' edges more than what the model has learned."
            if known.mean() >= HIGH
            else f"{what}: they depend on what the model has learned; "
            f"it stays at {HIGH:g} or above on {high} of {len(known)} images."
        )
    if len(known) < len(likeness):
        flat = len(likeness) - len(known)
        told.append(f"On {flat} of {len(likeness)} images a map is constant (no gradient reaches the input).")
    if np.isfinite(gap).any() and np.nanmedian(gap) > 0.1:
        told.append(
            f"Integrated gradients miss a median of {np.nanmedian(gap):.0%} of the change of score: raise `steps` to trust them."
        )
    return tuple(told)
