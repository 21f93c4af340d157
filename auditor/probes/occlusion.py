"""Probe `occlusion`: which part of an image a class score rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from auditor import bounds
from auditor.evidence import Asked, asked
from auditor.evidence.fill import mean_pixel
from auditor.fold import Cost, Item, Study
from auditor.methods.deletion import area, cell_order, deletion, hidden_counts
from auditor.methods.inputs import seed_of, wanted_of
from auditor.methods.occlusion import boxes, occlusion, spread
from auditor.ops.batching import images_at_once
from auditor.ops.colour import diverging, is_small, overlay, rows_shown, sequential, thinned, three
from auditor.ops.columns import spread_out
from auditor.probe import Needs, Probe, Results
from auditor.types import Array, Figure, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target


@dataclass(frozen=True)
class Occlusion(Probe):
    """Covers a window of the image at every place, and sees how the predicted class fares.

    Asks: Which part of each image does the predicted class rest on, and does hiding that part really undo the prediction?
    Formula: drop(window) = S(x) - S(x with the window filled with the mean pixel of the chosen images), S the pre-softmax
        score of the predicted class (or as `target` and `contrast` say: S_a - S_b, with the probability p_a / (p_a + p_b)); a
        pixel's value is the mean over the windows that cover it. Deletion: disjoint cells are hidden in the order of the drop
        map; deletion_auc is the area under the probability against the share hidden.
    Read: Red areas carry the prediction, blue ones speak against it. Look for red outside the object: a watermark, a border,
        a background. The deletion curve of the map must lie well below that of a random order.
    Misleads: A filled window is itself an unusual input; evidence that is present twice shows no drop when one copy is
        covered; parts smaller than the window blur. A low deletion_auc may also come from a model that is unsure anyway:
        compare it with the random order, never with another model alone.
    """

    title: ClassVar[str] = "Occlusion"
    cites: ClassVar[tuple[str, ...]] = (
        "Zeiler and Fergus 2014, Visualizing and Understanding Convolutional Networks",
        "Petsiuk, Das and Saenko 2018, RISE: Randomized Input Sampling for Explanation (deletion)",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "deletion_auc",
            "Deletion area",
            "probability",
            "lower",
            "Mean probability of the predicted class while the image is hidden, the most important cells of its map first.",
        ),
        Measure(
            "deletion_auc_random",
            "Deletion area, random order",
            "probability",
            "none",
            "The same with the cells hidden in a random order: the control that the map has to beat.",
        ),
    )
    needs: ClassVar[Needs] = Needs(scores=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {
        "quick": {"images": 8, "stride": 1 / 8},
        "standard": {"images": 32},
        "full": {"images": 64},
    }

    images: int = 64
    target: str = "predicted"
    """The class whose score is explained: predicted, true, runner_up, or one by name or number."""
    contrast: str = ""
    """The class whose score is taken off, likewise; none where empty."""
    window: float = 1 / 8
    """Side of the window as a share of the image's side, at least 2 px."""
    stride: float = 1 / 16
    """Step of the window as a share of the image's side, at least 1 px and at most the window."""
    steps: int = 20
    """Points of the deletion curve."""

    def asked(self, evidence: Evidence) -> Asked:
        """The images and their classes."""
        return asked(evidence, self.images, self.target, self.contrast)

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        found = self.asked(evidence)
        window, stride = self.pixels(target.input_shape)
        work = partial(
            occlude,
            window=window,
            stride=stride,
            steps=self.steps,
            seed=evidence.seed,
            fill=mean_pixel(target, evidence.dataset, found.positions),
        )
        return Study(found.items, work, chunk=4)

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        rows, columns = boxes((target.input_shape[1], target.input_shape[2]), *self.pixels(target.input_shape))
        windows = 1.0 + len(rows) * len(columns) + 2 * (self.steps + 1)
        batch = images_at_once(target.input_shape, target.device)
        return Cost(forwards=min(self.images, len(dataset)) * windows, batch=batch)

    def pixels(self, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Window and stride in pixels, each (rows, columns), for an input of `shape` (C,H,W)."""
        window = [min(side, max(2, round(self.window * side))) for side in shape[1:]]
        stride = [max(1, min(w, round(self.stride * side))) for w, side in zip(window, shape[1:], strict=True)]
        return (window[0], window[1]), (stride[0], stride[1])

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        rows, found = results.rows, self.asked(evidence)
        if not rows:
            return Finding("not_applicable", found.nothing)
        values, columns = self.figures_for_gate(evidence, rows, found.positions)
        figures, artifacts = self.pictures(target, evidence, rows, found)
        return Finding(
            "done",
            values=values,
            columns=columns,
            artifacts=artifacts,
            figures=(figures, curves(rows)),
            notes=notes(rows),
        )

    def figures_for_gate(
        self, evidence: Evidence, rows: Mapping[str, Array], chosen: Array
    ) -> tuple[dict[str, Value], dict[str, Array]]:
        """deletion_auc and its control, with the columns behind them."""
        columns = {}
        for measure, curve in (("deletion_auc", "curve"), ("deletion_auc_random", "random_curve")):
            auc = area(rows[curve], rows["hidden"][0])
            columns[f"occlusion.{measure}"] = spread_out(auc, chosen, len(evidence.dataset))
        values = {
            name.partition(".")[2]: bounds.statistic("mean", {name: column}, unit="probability", seed=evidence.seed)
            for name, column in columns.items()
        }
        return values, columns

    def pictures(
        self, target: Target, evidence: Evidence, rows: Mapping[str, Array], found: Asked
    ) -> tuple[Figure, dict[str, Array]]:
        """The gallery of maps, and its artifacts."""
        shape, chosen = target.input_shape[1:], found.positions
        kind = "png" if is_small(shape) else "jpg"
        shown = min(rows_shown(shape), len(chosen))
        window, stride = self.pixels(target.input_shape)
        drops, covered = (
            spread(torch.from_numpy(rows[name][:shown]), (shape[0], shape[1]), window, stride).numpy()
            for name in ("drops", "covered")
        )
        limit = float(np.quantile(np.abs(drops), 0.995))
        artifacts: dict[str, Array] = {"score_drops.npy": rows["drops"], "probabilities.npy": rows["covered"]}
        lines = []
        for i, position in enumerate(int(p) for p in chosen[:shown]):
            image = three(evidence.dataset.pixels([position])[0])
            red = diverging(drops[i], limit)
            pictures = {
                f"image-{i}.{kind}": image,
                f"probability-{i}.png": sequential(covered[i], 1.0),
                f"drop-{i}.png": red,
                f"overlay-{i}.{kind}": overlay(image, red),
            }
            artifacts |= {file: thinned(picture) for file, picture in pictures.items()}
            note = f"{found.named(i, evidence.names)}, {rows['probability'][i]:.0%}"
            lines.append(
                {
                    "label": evidence.dataset.samples[position].name,
                    "note": note,
                    "sample": position,
                    "cells": [{"file": file} for file in pictures],
                }
            )
        scale = (
            "one scale for all images. Probability map: black is 0, pale yellow is 1. Score drop: red where covering lowers the "
            f"score, blue where it raises it, white at 0, full colour at {limit:.3g} (the 99.5 % quantile of the drops shown)."
        )
        data = {
            "columns": ["image", "probability when covered", "score drop", "score drop over the image"],
            "keys": [None, "occlusion", "occlusion", "occlusion"],
            "rows": lines,
            "scale": scale,
            "pixelated": is_small(shape),
        }
        caption = (
            f"{shown} of {len(chosen)} images, {found.what}; window {window[0]} x {window[1]} px, stride {stride[0]} x "
            f"{stride[1]} px, filled with the mean pixel of the {len(chosen)} images. Raw values a window: score_drops.npy, "
            "probabilities.npy."
        )
        return Figure("maps", "gallery", "What the prediction rests on", caption, data), artifacts


def occlude(
    target: Target,
    dataset: Dataset,
    items: Sequence[Item],
    *,
    window: tuple[int, int],
    stride: tuple[int, int],
    steps: int,
    fill: tuple[float, ...],
    seed: int,
) -> dict[str, Array]:
    """Rows for items (position, class, other class or -1): maps by window (R,S), and both deletion curves (steps+1,)."""
    rows: dict[str, list[Array]] = {}
    for position, *classes in items:
        label = wanted_of(*classes)
        image = dataset.load(np.array([position]), target.device)
        pixel = torch.tensor(fill, dtype=image.dtype, device=image.device)
        found = occlusion(target.module, image, label, window=window, stride=stride, fill=pixel)
        order = cell_order(found.drop_map, stride)
        mixed = np.random.default_rng(seed_of(seed, f"deletion:{position}")).permutation(order.shape[1])
        curve, control = (
            deletion(target.module, image, label, which, cell=stride, steps=steps, fill=pixel)[0]
            for which in (order, torch.from_numpy(mixed)[None])
        )
        row = {
            "drops": found.drops[0],
            "covered": found.covered[0],
            "score": found.score[0],
            "probability": found.probability[0],
            "curve": curve,
            "random_curve": control,
        }
        for name, value in row.items():
            rows.setdefault(name, []).append(value.float().cpu().numpy())
        rows.setdefault("hidden", []).append(hidden_counts(order.shape[1], steps))
    return {name: np.stack(values) for name, values in rows.items()}


def curves(rows: Mapping[str, Array]) -> Figure:
    """Mean deletion curves of both orders."""
    n = len(rows["curve"])
    share = (rows["hidden"][0] / rows["hidden"][0][-1]).tolist()
    series = []
    for name, curve, dashed in (("order of the map", rows["curve"], False), ("random order", rows["random_curve"], True)):
        mean = curve.mean(axis=0, dtype=np.float64)
        half = 1.645 * curve.std(axis=0, dtype=np.float64, ddof=1) / np.sqrt(n) if n > 1 else np.zeros_like(mean)
        series.append(
            {
                "name": f"{name} (n = {n})",
                "x": share,
                "y": mean.tolist(),
                "dashed": dashed,
                "low": np.maximum(mean - half, 0).tolist(),
                "high": np.minimum(mean + half, 1).tolist(),
            }
        )
    data = {"x_label": "share of the image hidden", "y_label": "mean probability of the class", "series": series}
    caption = (
        "Disjoint cells of one stride are filled with the mean pixel, the most important of the score-drop map first, against "
        "a random order of the same cells. Band: mean +- 1.645 standard errors (about 90 %)."
    )
    return Figure("deletion", "lines", "Hiding what the map calls important", caption, data)


def notes(rows: Mapping[str, Array]) -> tuple[str, ...]:
    """Whether the maps earn their place."""
    own, control = (area(rows[name], rows["hidden"][0]) for name in ("curve", "random_curve"))
    better = int(np.sum(own < control))
    told = (
        f"Hiding the most important cells first leaves a mean probability of {own.mean():.3f}, a random order "
        f"{control.mean():.3f}; the map's order is the better one on {better} of {len(own)} images."
    )
    if bounds.clopper_pearson(better, len(own), 0.95)[0] > 0.5:  # a sign test at 5 %
        return (told,)
    return (told, f"That is not shown to be better than chance (n = {len(own)}): do not read these maps as explanations.")
