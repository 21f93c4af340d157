"""Labelled images as a gallery: each with what it is taken for, how surely, and what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.evidence.labelled import Labelled
from auditor.ops.thumbnail import suffix, thumbnail
from auditor.types import Array, Figure, Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.evidence import Evidence

SIDE, TILE = 224, 160
"""Pixels of a kept picture, and how wide it is shown."""


def judged_images(
    evidence: Evidence, seen: Labelled, which: Array, *, named: tuple[str, str], caption: str, names: Sequence[str]
) -> tuple[tuple[Figure, ...], dict[str, Array]]:
    """The figure `named` (name, title) of the images `which`, places in `seen`, and its artifacts; none for no image."""
    artifacts: dict[str, Array] = {}
    rows: list[Json] = []
    for at in which.tolist():
        position = int(seen.positions[at])
        picture = thumbnail(evidence.dataset.pixels([position])[0], SIDE)
        file = f"image-{position}.{suffix(picture)}"
        artifacts[file] = picture
        name = evidence.dataset.samples[position].name
        rows.append({"label": name, "sample": position, "cells": [cell(seen, at, file, names)]})
    if not rows:
        return (), {}
    data = {"columns": ["image"], "rows": rows, "tile": TILE, "scale": "as the model sees them"}
    return (Figure(named[0], "gallery", named[1], caption, data),), artifacts


def cell(seen: Labelled, at: int, file: str, names: Sequence[str]) -> dict[str, Json]:
    """One picture, with what it is and what it is taken for."""
    label, predicted = names[int(seen.labels[at])], names[int(seen.predicted[at])]
    said = f"{predicted} {seen.confidence[at]:.0%}"
    return {"file": file, "label": said if seen.right[at] else f"{said}, not {label}", "note": f"loss {seen.loss[at]:.2f}"}
