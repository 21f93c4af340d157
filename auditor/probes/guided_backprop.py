"""Probe `guided_backprop`: what raises the predicted class through units that fire, and whether that is about the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.bounds import exact, statistic
from auditor.evidence import Asked, asked
from auditor.fold import Cost, Item, Study
from auditor.methods.guided import ruled
from auditor.methods.inputs import wanted_of
from auditor.methods.randomisation import LINE, in_words, randomise, spearman, top_count, weighted_layers
from auditor.methods.saliency import gradient
from auditor.ops.colour import is_small, rows_shown, signed, thinned, three
from auditor.ops.columns import spread_out
from auditor.probe import Needs, Probe, Results
from auditor.types import Array, Figure, Finding, Json, Measure

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

MAPS = ("gradient", "guided", "deconvnet", "control")
LIKENESS = ("guided_backprop.randomisation_spearman", "guided_backprop.gradient_spearman")


@dataclass(frozen=True)
class GuidedBackprop(Probe):
    """Guided backprop and deconvnet of a class score, with the control that they tend to fail.

    Asks: Which structures of the image raise the class score when only what raises it is passed back?
    Formula: at every rectifying operation of the forward (ReLU, ReLU6, SiLU, GELU, Hardswish, ..., as module or function, in
        place or used twice), R the gradient that reaches it and f its output: gradient R f'(x); deconvnet max(R, 0); guided
        max(R, 0) f'(x) where f > 0. For smooth rectifiers the rule is generalised: their own derivative stands for the step.
        randomisation_spearman = mean rank correlation of |map| with that of the same model whose top layers were given fresh
        weights; gradient_spearman the same of the plain gradient.
    Read: Sharp outlines are what excites the units on the way, and the colours are the direction in which a pixel raises the
        score (mid-grey is none). Use it to see what a unit or class is sensitive to, beside the plain gradient.
    Misleads: Guided backprop comes close to painting the edges of the image: where the control column looks alike, the map says
        little of what the model has learned (Adebayo 2018; Nie 2018). It is never gated. Deconvnet uses nothing of the
        forward but the switches of max-pooling: in a network without them its map is the same for every image. Every picture has
        its own scale.
    """

    title: ClassVar[str] = "Guided backprop"
    cites: ClassVar[tuple[str, ...]] = (
        "Zeiler and Fergus 2014, Visualizing and Understanding Convolutional Networks (deconvnet)",
        "Springenberg et al. 2015, Striving for Simplicity: The All Convolutional Net (guided backprop)",
        "Adebayo et al. 2018, Sanity Checks for Saliency Maps",
        "Nie, Zhang and Patel 2018, A Theoretical Explanation for Perplexing Behaviors of Backpropagation-based Visualizations",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("rectifiers_total", "Rectifiers", "rectifiers", "none", "Rectifying operations in one forward."),
        Measure("rectifiers_intercepted", "Intercepted", "rectifiers", "none", "Of these, those where the rule was applied."),
        Measure(
            "randomisation_spearman", "Likeness after randomisation", "correlation", "none",
            "Mean rank correlation of the guided map with that of the same model with its top layers randomised.",
        ),
        Measure(
            "gradient_spearman", "The same of the gradient", "correlation", "none",
            "Mean rank correlation of the plain gradient's map, on the same images and the same randomised model.",
        ),
    )  # fmt: skip
    needs: ClassVar[Needs] = Needs(scores=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json] | None]] = {
        "quick": {"images": 8}, "standard": {"images": 16}, "full": {"images": 64},
    }  # fmt: skip

    images: int = 16
    target: str = "predicted"
    """The class whose score is explained: predicted, true, runner_up, or one by name or number."""
    contrast: str = ""
    """The class whose score is taken off, likewise; none where empty."""
    fraction: float = 0.25
    """Share of the layers with weights, from the top, that the control randomises."""

    def asked(self, evidence: Evidence) -> Asked:
        """The images and their classes."""
        return asked(evidence, self.images, self.target, self.contrast)

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """The maps of the chosen images."""
        return Study(self.asked(evidence).items, partial(explain, fraction=self.fraction, seed=evidence.seed), chunk=8)

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        return Cost(forwards=1.0, gradients=5.0 * min(self.images, len(dataset)), batch=1.0)

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Counts, likeness, pictures."""
        rows, found = results.rows, self.asked(evidence)
        if not rows:
            return Finding("not_applicable", found.nothing)
        total, reached = (int(n) for n in rows["counts"][0])
        if not total:
            return Finding("not_applicable", "no rectifying operation is in the forward: the rules are the plain gradient")
        columns: dict[str, Array] = {}
        for name, row in zip(LIKENESS, ("likeness", "plain"), strict=True):
            columns[name] = spread_out(rows[row], found.positions, len(evidence.dataset))
        values = {
            "rectifiers_total": exact(float(total), "rectifiers"),
            "rectifiers_intercepted": exact(float(reached), "rectifiers"),
            **{
                name.partition(".")[2]: statistic("mean", {name: columns[name]}, unit="correlation", seed=evidence.seed)
                for name in LIKENESS
            },
        }
        figure, artifacts = self.pictures(target, evidence, rows, found)
        return Finding("done", values=values, figures=(figure,), notes=notes(rows), artifacts=artifacts, columns=columns)

    def pictures(
        self, target: Target, evidence: Evidence, rows: Mapping[str, Array], found: Asked
    ) -> tuple[Figure, dict[str, Array]]:
        """The gallery, and its artifacts."""
        small = is_small(target.input_shape)
        chosen = found.positions[: rows_shown(target.input_shape)]
        artifacts: dict[str, Array] = {}
        lines = []
        for i, position in enumerate(int(p) for p in chosen):
            pictures = {f"image-{i}.{'png' if small else 'jpg'}": three(evidence.dataset.pixels([position])[0])}
            for kind in MAPS:
                limit = float(np.quantile(np.abs(rows[kind][i]), 0.995))
                pictures[f"{kind}-{i}.{'png' if small else 'jpg'}"] = signed(rows[kind][i], limit)
            artifacts |= {file: thinned(picture) for file, picture in pictures.items()}
            note = f"{found.named(i, evidence.names)}; control likeness {rows['likeness'][i]:.2f}"
            cells = [{"file": file} for file in pictures]
            lines.append({"label": evidence.dataset.samples[position].name, "note": note, "sample": position, "cells": cells})
        data = {
            "columns": ["image", "gradient", "guided backprop", "deconvnet", "control: guided, top layers randomised"],
            "keys": [None, "saliency", "guided_backprop", "deconvnet", None],
            "rows": lines,
            "pixelated": small,
            "scale": "signed, each map by itself: mid-grey is 0, full colour its own 99.5 % quantile of |value|.",
        }
        top, layers = (int(n) for n in rows["layers"][0])
        caption = f"{len(chosen)} images, {found.what}; control: {in_words(top, layers)} with fresh weights."
        return Figure("maps", "gallery", "What raises the score, through units that fire", caption, data), artifacts


def explain(target: Target, dataset: Dataset, items: Sequence[Item], *, fraction: float, seed: int) -> dict[str, Array]:
    """Rows for items (position, class, other class or -1): four signed maps (C,H,W), two likenesses, counts."""
    model = target.module
    layers = weighted_layers(model, dataset.load(np.array([items[0][0]]), target.device))
    other = randomise(model, fraction=fraction, layers=layers, seed=seed)
    rows: dict[str, list[Array]] = {}
    for position, *classes in items:
        label = wanted_of(*classes)
        image = dataset.load(np.array([position]), target.device)
        guided, counts = ruled(model, image, label)
        plain, plain_after = gradient(model, image, label), gradient(other, image, label)
        control = ruled(other, image, label)[0]
        maps = {
            "gradient": plain,
            "guided": guided,
            "deconvnet": ruled(model, image, label, rule="deconvnet")[0],
            "control": control,
        }
        row = {name: found[0].float().cpu().numpy() for name, found in maps.items()}
        row["likeness"] = spearman(guided.abs().amax(1), control.abs().amax(1))[0]
        row["plain"] = spearman(plain.abs().amax(1), plain_after.abs().amax(1))[0]
        row["counts"] = np.array([counts.total, counts.reached], dtype=np.int64)
        row["layers"] = np.array([top_count(len(layers), fraction), len(layers)], dtype=np.int64)
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    return {name: np.stack(values) for name, values in rows.items()}


def notes(rows: Mapping[str, Array]) -> tuple[str, ...]:
    """How many rectifiers were reached, and what the control says of the maps."""
    total, reached = (int(n) for n in rows["counts"][0])
    told = [f"{reached} of {total} rectifiers of the forward were intercepted."]
    known = np.isfinite(rows["likeness"]) & np.isfinite(rows["plain"])
    if known.any():
        kept, plain = float(rows["likeness"][known].mean()), float(rows["plain"][known].mean())
        said = f"With {in_words(*(int(n) for n in rows['layers'][0]))} randomised"
        said += f" guided maps keep a rank correlation of {kept:.2f}, the gradient's {plain:.2f}"
        told.append(
            f"{said}: these maps show the image's edges more than what the model has learned."
            if kept >= LINE
            else f"{said}: here they depend on what the model has learned."
        )
    return tuple(told)
