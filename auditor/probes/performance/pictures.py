"""The images that are hardest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auditor.ops.thumbnail import suffix, thumbnail
from auditor.probes.performance.labelled import Labelled
from auditor.types import Array, Figure, Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.evidence import Evidence

SIDE, TILE = 224, 160
"""Pixels of a kept picture, and how wide it is shown."""


def hardest(evidence: Evidence, seen: Labelled, names: Sequence[str], count: int) -> tuple[tuple[Figure, ...], dict[str, Array]]:
    """The images with the highest losses, at most `count`."""
    artifacts: dict[str, Array] = {}
    rows: list[Json] = []
    for at in np.argsort(-seen.loss, kind="stable")[:count].tolist():
        position = int(seen.positions[at])
        picture = thumbnail(evidence.dataset.pixels([position])[0], SIDE)
        file = f"image-{position}.{suffix(picture)}"
        artifacts[file] = picture
        name = evidence.dataset.samples[position].name
        rows.append({"label": name, "sample": position, "cells": [cell(seen, at, file, names)]})
    if not rows:
        return (), {}
    data = {"columns": ["image"], "rows": rows, "tile": TILE, "scale": "as the model sees them"}
    caption = f"The highest losses of {len(seen.loss)} labelled images."
    return (Figure("hardest", "gallery", "Hardest images", caption, data),), artifacts


def cell(seen: Labelled, at: int, file: str, names: Sequence[str]) -> dict[str, Json]:
    """One picture, with what it is and what it is taken for."""
    label, predicted = names[int(seen.labels[at])], names[int(seen.predicted[at])]
    said = f"{predicted} {seen.confidence[at]:.0%}"
    return {"file": file, "label": said if seen.right[at] else f"{said}, not {label}", "note": f"loss {seen.loss[at]:.2f}"}
