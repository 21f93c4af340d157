"""The figures and pictures of the study's rows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from auditor.bounds import clopper_pearson, exact, proportion
from auditor.fold import State
from auditor.methods.robustness import masking
from auditor.probes.adversarial.attacks import FOOL
from auditor.types import Array, Figure, Finding, Value

if TYPE_CHECKING:
    from auditor.evidence import Evidence, Predictions

RANDOM = "void: masking suspected: the forward is random"

GAIN = 10
"""By how much the shown difference is enlarged."""

LOSSLESS, SMALL = 256, 64
"""Pixels: up to the first side fooling pictures are PNG, so that what is shown is what fools; up to the second the others too."""


def robustness(rows: State, samples: int, *, epsilons: tuple[float, ...], epsilon: float, random: bool = False) -> Finding:
    """Figures and columns of the attacked images; a note where none has a label."""
    held = rows["position"] >= 0
    positions, n = rows["position"][held], int(held.sum())
    if not n:
        return Finding("done", notes=("Robust accuracy is left out: no sample that was chosen has a label.",))
    at = epsilons.index(float(epsilon))
    once, many = rows["fgsm"][held], rows["pgd"][held]
    worst = np.logical_or.accumulate(once | many, axis=1)
    grid = np.logical_or.accumulate(rows["fgsm_8bit"][held] | rows["pgd_8bit"][held], axis=1)
    said = f"{epsilon * 255:.3g}/255"
    void = masking(once, many, rows["silent"][held]) + ((RANDOM,) if random else ())
    flags = (f"L-inf, epsilon {said}", *void)
    right = [int(k) for k in (~worst).sum(0)]
    values = {
        "robust_accuracy": replace(proportion(right[at], n, columns=("adversarial.robust",)), flags=flags),
        "robust_accuracy_8bit": replace(proportion(int((~grid[:, at]).sum()), n), flags=flags),
    }
    robust, smallest = np.full(samples, np.nan), np.full(samples, np.nan)
    robust[positions] = ~worst[:, at]
    smallest[positions] = np.where(worst[:, -1], np.asarray(epsilons)[worst.argmax(1)], np.inf)
    notes = (
        f"A change of at most {said} a pixel takes the share that is right from {right[0]} to {right[at]} of {n} images.",
        *(f"The figure is {flag}." for flag in void),
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


def fooled_images(rows: State, evidence: Evidence, *, asked: bool) -> Finding:
    """Figures and pictures of the fooling images; `asked`: their classes were named, not drawn."""
    index = np.flatnonzero(rows["kind"] == FOOL)
    seen = evidence.predictions
    if not len(index) or seen is None:
        return Finding("done")
    took = rows["iterations"][index][rows["fooled"][index]]
    count = len(took)
    values: dict[str, Value] = {"fooling_rate": proportion(count, len(index))}
    values["median_iterations"] = exact(float(np.median(took)) if count else math.nan, "iterations", n=count)
    figure, artifacts = gallery(rows, index, evidence, seen, asked=asked)
    half = f", half of them within {np.median(took):g} steps" if count else ""
    note = f"{count} of {len(index)} images were led to a class {'that was asked for' if asked else 'drawn at random'}{half}."
    return Finding("done", values=values, figures=(figure,), notes=(note,), artifacts=artifacts)


def gallery(rows: State, index: Array, evidence: Evidence, seen: Predictions, *, asked: bool) -> tuple[Figure, dict[str, Array]]:
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
    how = "the classes are those asked for" if asked else "the classes are drawn by a hash of the image"
    caption = f"{len(index)} images, each raised towards another class until its 8-bit picture is taken for it; {how}."
    scale = f"difference x {GAIN}, mid-grey is no change; the other two as they are"
    data = {"columns": ["original", "fooled", f"difference x {GAIN}"], "rows": table, "scale": scale}
    return Figure("fooled", "gallery", "Images that fool it", caption, data), artifacts
