"""How small a change makes the model err."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from auditor.bounds import clopper_pearson, exact, proportion
from auditor.fold import Cost, Item, State, Study, concatenate
from auditor.methods.attack import drawn, fooling
from auditor.methods.robustness import masking, sweep
from auditor.methods.unit import as_pixels, unit_images
from auditor.ops.batching import images_at_once
from auditor.probe import Needs, Probe, Results
from auditor.types import Array, Figure, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence, Predictions
    from auditor.target import Target

GROUP, CHUNK = 4, 4
"""Images an item of the robustness study holds, and items a chunk."""

ROBUST, FOOL = 0, 1
"""The two kinds of item: (ROBUST, position...) and (FOOL, position, target class)."""

GAIN = 10
"""By how much the shown difference is enlarged."""

LOSSLESS, SMALL = 256, 64
"""Pixels: up to the first side fooling pictures are PNG, so that what is shown is what fools; up to the second the others too."""

SWEPT = ("fgsm", "pgd", "fgsm_8bit", "pgd_8bit")


@dataclass(frozen=True)
class Adversarial(Probe):
    """Asks: How small a change of the pixels makes the model err, and can it be led to any class?
    Formula: FGSM: x + e sign(dL/dx). PGD: steps of 2.5 e / steps along that sign, projected into the L-inf ball of radius e
    and into [0,1] after each. robust_accuracy = share of the chosen labelled images that are right and stay right under
    both, at every epsilon of the curve up to the stated one. Fooling: from each image, small steps along sign(d log p(t)/dx)
    until a class t, drawn by a hash of the image, has the highest score in 8 bits.
    Read: The faster the curve falls, the smaller the change that breaks the model. A model that was not trained against
    such changes falls to near 0 by 2/255; that is usual, and matters where someone gains by fooling it. In the pictures mid-grey
    is no change.
    Misleads: These are attacks, not proofs: a stronger one can only lower the figure. Masked gradients make a model look
    robust; where the signs are there the figure is void. Worst-case pixels say nothing about blur, noise or weather.
    """

    title: ClassVar[str] = "Fooling images and robustness"
    cites: ClassVar[tuple[str, ...]] = (
        "Szegedy et al. 2014, Intriguing properties of neural networks",
        "Goodfellow, Shlens, Szegedy 2015, Explaining and harnessing adversarial examples",
        "Madry et al. 2018, Towards deep learning models resistant to adversarial attacks",
        "Athalye, Carlini, Wagner 2018, Obfuscated gradients give a false sense of security",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("robust_accuracy", "Robust accuracy", "share", "higher", "Share right under FGSM and PGD at the stated epsilon."),
        Measure("robust_accuracy_8bit", "Robust accuracy, 8 bits", "share", "higher", "The same, with 8-bit images."),
        Measure("fooling_rate", "Fooling rate", "share", "lower", "Share of images led to a class drawn at random."),
        Measure("median_iterations", "Iterations to fool", "iterations", "higher", "Median steps, of those fooled."),
    )
    needs: ClassVar[Needs] = Needs(scores=True, pixels=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {
        "quick": {"images": 32},
        "standard": {"images": 200},
        "full": {"images": 500},
    }

    images: int = 200
    epsilon: float = 2 / 255
    epsilons: tuple[float, ...] = (0.0, 0.5 / 255, 1 / 255, 2 / 255, 4 / 255, 8 / 255)
    steps: int = 10
    fooling_images: int = 8
    max_iterations: int = 200

    def __post_init__(self) -> None:
        if not all(0 <= e <= 1 for e in (self.epsilon, *self.epsilons)):
            raise ValueError(f"expected every epsilon in [0,1], got {self.epsilon} and {self.epsilons}; write 2/255 as 0.00784")
        if self.steps < 1 or self.max_iterations < 1 or self.images < 1 or self.fooling_images < 0:
            raise ValueError("expected images, steps, max_iterations >= 1 and fooling_images >= 0; raise them")

    def curve(self) -> tuple[float, ...]:
        """The epsilons that are tried, rising, from 0, the stated one among them."""
        return tuple(sorted({0.0, float(self.epsilon), *(float(e) for e in self.epsilons)}))

    def study(self, target: Target, evidence: Evidence) -> Study | None:
        """Labelled images in groups, then the fooling images."""
        seen = evidence.predictions
        chosen = evidence.chosen(self.images)
        if seen is None or not len(chosen):
            return None
        labelled = [int(p) for p in chosen if seen.labels[p] >= 0]
        items: list[Item] = [(ROBUST, *labelled[i : i + GROUP]) for i in range(0, len(labelled), GROUP)]
        if seen.scores.shape[1] > 1:
            for p in map(int, chosen[: self.fooling_images]):
                key = evidence.dataset.samples[p].key
                items.append((FOOL, p, drawn(key, int(seen.predicted[p]), seen.scores.shape[1], seed=evidence.seed)))
        run = partial(work, epsilons=self.curve(), steps=self.steps, max_iterations=self.max_iterations)
        return Study(tuple(items), run, CHUNK) if items else None

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """About: images leave the batch as they fall, so half of the steps are counted."""
        fooled = min(self.fooling_images, len(dataset))
        swept = min(self.images, int((np.asarray(dataset.labels) >= 0).sum()))
        tried = len(self.curve()) - 1
        gradients = swept * (1 + tried * self.steps / 2) + fooled * self.max_iterations / 4
        return Cost(forwards=2.0 * tried * swept, gradients=gradients)

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Arithmetic on the rows of the study."""
        if not results.rows or evidence.predictions is None:
            return Finding("not_applicable", "it found no image to attack: it needs a label, or two classes to be led between")
        robust = robustness(self, results.rows, len(evidence.dataset))
        fooled = fooled_images(results.rows, evidence)
        values, figures = {**robust.values, **fooled.values}, robust.figures + fooled.figures
        return replace(robust, values=values, figures=figures, notes=robust.notes + fooled.notes, artifacts=fooled.artifacts)


def work(
    target: Target, dataset: Dataset, items: Sequence[Item], *, epsilons: tuple[float, ...], steps: int, max_iterations: int
) -> State:
    """Rows of both kinds of item; the columns of the other kind hold -1 or 0."""
    rows, groups = len(items), [item[1:] if item[0] == ROBUST else () for item in items]
    flat = [position for group in groups for position in group]
    place = np.array([(i, j) for i, group in enumerate(groups) for j in range(len(group))], dtype=np.int64).reshape(-1, 2)
    shape = (rows, GROUP, len(epsilons))
    out: State = {
        "kind": np.array([item[0] for item in items]),
        "position": np.full((rows, GROUP), -1, dtype=np.int64),
        "silent": np.zeros((rows, GROUP), dtype=bool),
        **{name: np.zeros(shape, dtype=bool) for name in SWEPT},
    }
    if flat:
        at = (place[:, 0], place[:, 1])
        out["position"][at] = flat
        for name, column in attacked(target, dataset, flat, epsilons, steps).items():
            out[name][at] = column
    return {**out, **fooling_rows(target, dataset, items, max_iterations)}


def attacked(target: Target, dataset: Dataset, positions: list[int], epsilons: tuple[float, ...], steps: int) -> State:
    """The sweep of n images as arrays, by the names of `Fallen`."""
    size = images_at_once(target.input_shape, target.device, gradient=True)
    parts: list[State] = []
    for begin in range(0, len(positions), size):
        some = positions[begin : begin + size]
        images = unit_images(dataset, some, target.device)
        labels = torch.as_tensor(np.asarray(dataset.labels)[some], device=target.device)
        fallen = sweep(target.module, images, labels, epsilons, normalise=target.preprocess.normalise, steps=steps)
        parts.append({name: getattr(fallen, name).cpu().numpy() for name in ("silent", *SWEPT)})
    return concatenate(parts)


def fooling_rows(target: Target, dataset: Dataset, items: Sequence[Item], max_iterations: int) -> State:
    """What targeted ascent brought for the items of kind FOOL."""
    rows = len(items)
    out: State = {
        "source": np.full(rows, -1, dtype=np.int64),
        "class": np.full(rows, -1, dtype=np.int64),
        "fooled": np.zeros(rows, dtype=bool),
        "iterations": np.zeros(rows, dtype=np.int64),
        "confidence": np.zeros(rows, dtype=np.float32),
        "picture": np.zeros((rows, *dataset.pixels([0]).shape[1:]), dtype=np.uint8),
    }
    at = [i for i, item in enumerate(items) if item[0] == FOOL]
    if at:
        out["source"][at], out["class"][at] = [items[i][1] for i in at], [items[i][2] for i in at]
        images = unit_images(dataset, out["source"][at], target.device)
        classes = torch.as_tensor(out["class"][at], device=target.device)
        result = fooling(target.module, images, classes, normalise=target.preprocess.normalise, max_iterations=max_iterations)
        out["fooled"][at] = result.fooled.cpu().numpy()
        out["iterations"][at] = result.steps.cpu().numpy()
        out["confidence"][at] = result.scores.float().softmax(1).gather(1, classes[:, None])[:, 0].cpu().numpy()
        out["picture"][at] = as_pixels(result.images)
    return out


def robustness(probe: Adversarial, rows: State, samples: int) -> Finding:
    """Figures and columns of the attacked images; a note where none has a label."""
    held = rows["position"] >= 0
    positions, n = rows["position"][held], int(held.sum())
    if not n:
        return Finding("done", notes=("Robust accuracy is left out: no sample that was chosen has a label.",))
    epsilons = probe.curve()
    at = epsilons.index(float(probe.epsilon))
    once, many = rows["fgsm"][held], rows["pgd"][held]
    worst = np.logical_or.accumulate(once | many, axis=1)
    grid = np.logical_or.accumulate(rows["fgsm_8bit"][held] | rows["pgd_8bit"][held], axis=1)
    flags = masking(once, many, rows["silent"][held])
    right = [int(k) for k in (~worst).sum(0)]
    values = {
        "robust_accuracy": replace(proportion(right[at], n), flags=flags),
        "robust_accuracy_8bit": replace(proportion(int((~grid[:, at]).sum()), n), flags=flags),
    }
    robust, smallest = np.full(samples, np.nan), np.full(samples, np.nan)
    robust[positions] = ~worst[:, at]
    smallest[positions] = np.where(worst[:, -1], np.asarray(epsilons)[worst.argmax(1)], np.inf)
    said = f"{probe.epsilon * 255:.3g}/255"
    notes = (
        f"A change of at most {said} a pixel takes the share that is right from {right[0]} to {right[at]} of {n} images.",
        *(f"The figure is {flag}." for flag in flags),
    )
    columns = {"adversarial.robust": robust, "adversarial.smallest_epsilon": smallest}
    return Finding("done", values=values, figures=(curve_figure(epsilons, once, worst),), notes=notes, columns=columns)


def curve_figure(epsilons: tuple[float, ...], once: Array, worst: Array) -> Figure:
    """Accuracy against epsilon, with 90 % intervals."""
    series = []
    for name, fell in (("FGSM", once), ("worst case of FGSM and PGD", worst)):
        right = (~fell).sum(0)
        bands = [clopper_pearson(int(k), len(fell), 0.95) for k in right]
        band = {"low": [float(low) for low, _ in bands], "high": [float(high) for _, high in bands]}
        series.append({"name": name, "x": [e * 255 for e in epsilons], "y": [float(k) / len(fell) for k in right], **band})
    caption = f"{len(once)} labelled images; band: 90 % interval. The worst case keeps an image lost once it is."
    data = {"x_label": "largest change of a pixel (1/255)", "y_label": "share right", "series": series}
    return Figure("curve", "lines", "Accuracy against the size of the change", caption, data)


def fooled_images(rows: State, evidence: Evidence) -> Finding:
    """Figures and pictures of the fooling images."""
    index = np.flatnonzero(rows["kind"] == FOOL)
    seen = evidence.predictions
    if not len(index) or seen is None:
        return Finding("done")
    took = rows["iterations"][index][rows["fooled"][index]]
    count = len(took)
    values: dict[str, Value] = {"fooling_rate": proportion(count, len(index))}
    values["median_iterations"] = exact(float(np.median(took)) if count else math.nan, "iterations", n=count)
    figure, artifacts = gallery(rows, index, evidence, seen)
    half = f", half of them within {np.median(took):g} steps" if count else ""
    note = f"{count} of {len(index)} images were led to a class drawn at random{half}."
    return Finding("done", values=values, figures=(figure,), notes=(note,), artifacts=artifacts)


def gallery(rows: State, index: Array, evidence: Evidence, seen: Predictions) -> tuple[Figure, dict[str, Array]]:
    """Original, fooled, difference, one row for each row of the study in `index`."""
    artifacts: dict[str, Array] = {}
    table = []
    for number, row in enumerate(index):
        p, goal, picture = int(rows["source"][row]), evidence.names[int(rows["class"][row])], rows["picture"][row]
        original = evidence.dataset.pixels([p])[0]
        change = picture.astype(np.int16) - original.astype(np.int16)
        shown = (original, picture, np.clip(128 + GAIN * change, 0, 255).astype(np.uint8))
        side = max(original.shape[:2])
        suffix, plain = ("png" if side <= most else "jpg" for most in (LOSSLESS, SMALL))
        files = (f"original-{number}.{plain}", f"fooled-{number}.{suffix}", f"difference-{number}.{plain}")
        artifacts.update(zip(files, shown, strict=True))
        labels = (
            f"{evidence.names[int(seen.predicted[p])]} {seen.confidence[p]:.0%}",
            f"{goal} {rows['confidence'][row]:.0%}",
            f"at most {int(np.abs(change).max())}/255",
        )
        cells = [{"file": file, "label": label} for file, label in zip(files, labels, strict=True)]
        said = "fooled" if rows["fooled"][row] else "not fooled"
        note = f"{said} after {int(rows['iterations'][row])} iterations"
        table.append({"label": f"towards {goal}", "note": note, "sample": p, "cells": cells})
    caption = f"{len(index)} images, each raised towards a class drawn by its hash until its 8-bit picture is taken for it."
    scale = f"difference x {GAIN}, mid-grey is no change; the other two as they are"
    data = {"columns": ["original", "fooled", f"difference x {GAIN}"], "rows": table, "scale": scale}
    return Figure("fooled", "gallery", "Images that fool it", caption, data), artifacts
