"""The second gallery: what speaks for the predicted class, and what for the one that it is set against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from auditor.evidence import rivals
from auditor.evidence.predictions import promised
from auditor.ops.colour import diverging, is_small, sequential, thinned, three
from auditor.types import Array, Figure, Json

if TYPE_CHECKING:
    from auditor.evidence import Evidence

PAIRS = 4
"""Images shown."""
COLUMNS = ("image", "saliency of the predicted class", "saliency of its rival", "for the first, against the other, signed")
FILES = ("photo", "predicted", "rival", "contrast")
SCALE = (
    "the two saliencies of an image share one scale, black is 0. Last column: gradient x input of the difference of the two "
    "scores, red for the predicted class, blue for its rival, white is 0, up to its own 99.5 % quantile."
)


def against(
    shape: tuple[int, ...], evidence: Evidence, positions: Array, rows: Mapping[str, Array]
) -> tuple[tuple[Figure, ...], dict[str, Array]]:
    """The figure and its artifacts, of a few images, those that the model gets wrong first; none with one class only."""
    classes, labels = rivals(evidence, positions), promised(evidence.predictions).labels[positions]
    usable = [i for i in range(len(positions)) if classes[i, 1] >= 0]
    wrong = {i for i in usable if classes[i, 1] == labels[i]}
    small = is_small(shape)
    artifacts: dict[str, Array] = {}
    lines: list[Json] = []
    for i in sorted(usable, key=lambda i: i not in wrong)[:PAIRS]:
        position = int(positions[i])
        found = [three(evidence.dataset.pixels([position])[0]), *drawn({name: rows[name][i] for name in FILES[1:]})]
        files = [f"{name}-{i}.{'png' if small else 'jpg'}" for name in FILES]
        artifacts |= {file: thinned(picture) for file, picture in zip(files, found, strict=True)}
        first, other = (evidence.names[k] for k in classes[i])
        words = ["", first, f"{other}, the {'true class' if i in wrong else 'runner-up'}", f"{first} against {other}"]
        cells = [{"file": file, "note": note} for file, note in zip(files, words, strict=True)]
        note = "wrong" if i in wrong else ""
        lines.append({"label": evidence.dataset.samples[position].name, "note": note, "sample": position, "cells": cells})
    if not lines:
        return (), {}
    data = {
        "columns": COLUMNS, "keys": [None, "saliency", "saliency", "gradient_x_input"], "across": len(COLUMNS), "rows": lines,
        "pixelated": small, "scale": SCALE,
    }  # fmt: skip
    caption = (
        f"The model is wrong on {len(wrong)} of {len(positions)} images: these come first, set against the true class, then "
        "ones, against the runner-up."
        if wrong
        else f"The model is wrong on none of {len(positions)} images: each is set against the runner-up."
    )
    return (Figure("against", "gallery", "Why this class and not that one", caption, data),), artifacts


def drawn(maps: Mapping[str, Array]) -> list[Array]:
    """uint8 (H,W,3) of each map: the two saliencies on one scale, then the contrast."""
    both = [maps["predicted"], maps["rival"]]
    high = float(np.quantile(np.stack(both), 0.995))
    limit = float(np.quantile(np.abs(maps["contrast"]), 0.995))
    return [*(sequential(values, high) for values in both), diverging(maps["contrast"], limit)]
