"""The pictures of the fooling images: from photographs, and from noise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from auditor.bounds import exact, proportion
from auditor.fold import State
from auditor.probes.adversarial.attacks import FOOL, NOISE
from auditor.types import Array, Figure, Finding, Json, Value

if TYPE_CHECKING:
    from auditor.evidence import Evidence, Predictions

GAIN = 10
"""By how much the shown difference is enlarged."""

LOSSLESS, SMALL = 256, 64
"""Pixels: up to the first side fooling pictures are PNG, so that what is shown is what fools; up to the second the others too."""


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
    half = f", half of them within {np.median(took):g} steps" if count else ""
    notes = [f"{count} of {len(index)} images were led to a class {'that was asked for' if asked else 'drawn at random'}{half}."]
    figures, artifacts = photographs(rows, index, evidence, seen, asked=asked)
    void = np.flatnonzero(rows["kind"] == NOISE)
    if len(void):
        more, pictures = from_noise(rows, void, evidence)
        figures, artifacts = (*figures, more), artifacts | pictures
        led, sure = rows["fooled"][void], rows["confidence"][void]
        least = f", each with at least {sure[led].min():.0%} confidence" if led.any() else ""
        notes.append(
            f"Noise without any object was taken for the class that was drawn in {int(led.sum())} of {len(void)} tries{least}."
        )
    return Finding("done", values=values, figures=figures, notes=tuple(notes), artifacts=artifacts)


def photographs(
    rows: State, index: Array, evidence: Evidence, seen: Predictions, *, asked: bool
) -> tuple[tuple[Figure, ...], dict[str, Array]]:
    """Original, fooled, difference, one row for each row of the study in `index`."""
    artifacts: dict[str, Array] = {}
    table = []
    for number, row in enumerate(index):
        p = int(rows["source"][row])
        first = f"{evidence.names[int(seen.predicted[p])]} {seen.confidence[p]:.0%}"
        table.append({**shown(rows, row, evidence, artifacts, (str(number), first)), "sample": p})
    how = "the classes are those asked for" if asked else "the classes are drawn by a hash of the image"
    caption = f"{len(index)} images, each raised towards another class until its 8-bit picture is taken for it; {how}."
    return (Figure("fooled", "gallery", "Images that fool it", caption, board("original", table)),), artifacts


def from_noise(rows: State, index: Array, evidence: Evidence) -> tuple[Figure, dict[str, Array]]:
    """Noise, what it was raised to, the difference."""
    artifacts: dict[str, Array] = {}
    table = [shown(rows, row, evidence, artifacts, (f"noise-{number}", "noise")) for number, row in enumerate(index)]
    caption = f"{len(index)} images of noise about mid-grey, each raised until a class drawn at random leads by a wide margin."
    return Figure("noise", "gallery", "Noise that it takes for an object", caption, board("noise", table)), artifacts


def board(first: str, table: list[Json]) -> dict[str, Json]:
    """A gallery of three columns."""
    scale = f"difference x {GAIN}, mid-grey is no change; the other two as they are"
    return {"columns": [first, "fooled", f"difference x {GAIN}"], "rows": table, "scale": scale}


def shown(rows: State, row: int, evidence: Evidence, artifacts: dict[str, Array], words: tuple[str, str]) -> dict[str, Json]:
    """One row of the gallery, its pictures put among `artifacts`; `words`: what its files end in, and the first label."""
    ending, first = words
    goal, original, picture = evidence.names[int(rows["class"][row])], rows["start"][row], rows["picture"][row]
    change = picture.astype(np.int16) - original.astype(np.int16)
    pictures = (original, picture, np.clip(128 + GAIN * change, 0, 255).astype(np.uint8))
    side = max(original.shape[:2])
    suffix, plain = ("png" if side <= most else "jpg" for most in (LOSSLESS, SMALL))
    files = (f"original-{ending}.{plain}", f"fooled-{ending}.{suffix}", f"difference-{ending}.{plain}")
    artifacts.update(zip(files, pictures, strict=True))
    labels = (first, f"{goal} {rows['confidence'][row]:.0%}", f"at most {int(np.abs(change).max())}/255")
    cells = [{"file": file, "label": label} for file, label in zip(files, labels, strict=True)]
    said = "fooled" if rows["fooled"][row] else "not fooled"
    return {"label": f"towards {goal}", "note": f"{said} after {int(rows['iterations'][row])} iterations", "cells": cells}
