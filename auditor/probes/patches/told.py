"""The layers in figures and sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditor.methods import units
from auditor.probes.patches.layers import Layer, Mark
from auditor.types import Array, Figure, Json

MOST_NAMED = 12
"""Units that are named in a sentence."""
RARE = 3
"""Times as many units of one class as chance gives are worth a sentence."""

COLUMNS = (
    ("layer", "layer", "text"), ("units", "units", "integer"), ("grid", "map", "text"), ("field", "receptive field", "text"),
    ("status", "field is", "text"), ("entropy", "class entropy", "number"), ("chance", "by chance", "number"),
    ("pure", "one class only", "integer"), ("place", "one place", "integer"), ("marked", "one mark", "integer"),
    ("dead", "never fire", "integer"),
)  # fmt: skip


def overview(layers: Sequence[Layer], marked: Sequence[tuple[Mark, ...]]) -> Figure:
    """One row a layer."""
    rows: list[dict[str, Json]] = [
        {
            "layer": layer.name,
            "units": len(layer.entries),
            "grid": " x ".join(str(n) for n in layer.seen.grid),
            "field": f"{layer.field.size[0]} x {layer.field.size[1]} px",
            "status": layer.field.status,
            "entropy": mean(layer.entropy),
            "chance": finite(layer.chance[0]),
            "pure": len(layer.pure) if layer.classes else None,
            "place": len(layer.at_one_place),
            "marked": len(found),
            "dead": layer.dead if layer.rectified else None,
        }
        for layer, found in zip(layers, marked, strict=True)
    ]
    said = (
        "Class entropy: mean over the units, 0 where the images of a unit are of one class, 1 where they are as mixed as can be; "
        "by chance: of as many images at random. One place: units that fire at the same place in nearly all of their images; one "
        "mark: of these, units whose images share a spot near the border that other images lack."
    )
    data = {"columns": [{"key": key, "label": label, "format": kind} for key, label, kind in COLUMNS], "rows": rows}
    return Figure("layers", "table", "The layers", said, data)


def depth(layers: Sequence[Layer]) -> Figure:
    """Entropy against depth."""
    x = list(range(len(layers)))
    series = [
        {"name": "units", "x": x, "y": [mean(layer.entropy) for layer in layers]},
        {"name": "images at random", "x": x, "y": [finite(layer.chance[0]) for layer in layers], "dashed": True},
    ]
    said = (
        "Mean class entropy of the units: how far a layer has turned from patterns to classes. At the dashed line it knows none."
    )
    return Figure(
        "entropy",
        "lines",
        "From patterns to classes",
        said,
        {
            "x_label": "layer, shallow to deep",
            "x_names": [layer.name for layer in layers],
            "y_label": "entropy",
            "series": series,
        },
    )


def mean(values: Array) -> float | None:
    """Of the finite ones; None where there is none."""
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else None


def finite(value: float) -> float | None:
    """None for NaN."""
    return value if np.isfinite(value) else None


def table(layer: Layer) -> Array:
    """(C,6) float32 of all units: largest value, share of images that fire it, class entropy, dominant class (-1 unknown),
    images of that class, images at the most frequent place.
    """
    count, tops = len(layer.entries), layer.seen.tops
    classes, times = np.full(count, -1), np.zeros(count, np.int64)
    if layer.classes is not None and len(layer.full):
        classes[layer.full], times[layer.full] = units.dominant(layer.classes.of[tops.positions[layer.full, : layer.m]])
    share = layer.seen.fired / max(layer.images, 1)
    return np.stack((tops.values[:, 0], share, layer.entropy, classes, times, layer.gathered[1]), axis=1).astype(np.float32)


def artifacts(layer: Layer) -> dict[str, Array]:
    """The raw table of all units: (C,k) values, positions in the data set and (row, column) in the map, -1 where none."""
    tops = layer.seen.tops
    rows, columns = np.divmod(tops.places, layer.seen.grid[1])
    name = f"layer-{layer.number}"
    return {
        f"{name}-values.npy": tops.values,
        f"{name}-positions.npy": np.where(layer.entries, tops.positions, -1).astype(np.int32),
        f"{name}-places.npy": np.where(layer.entries[..., None], np.stack([rows, columns], axis=-1), -1).astype(np.int16),
        f"{name}-units.npy": table(layer),
    }


def notes(layers: Sequence[Layer], marked: Sequence[tuple[Mark, ...]]) -> tuple[str, ...]:
    """What stands out, the most alarming first."""
    said = [sentence for layer, found in zip(layers, marked, strict=True) for sentence in mark_notes(layer, found)]
    said += class_notes(layers)
    for layer in layers:
        if layer.rectified and layer.dead:
            said.append(f"{layer.dead} of {len(layer.entries)} units of {layer.name} fire in none of {layer.images} images.")
    unsure = [layer for layer in layers if layer.field.status != "EXACT"]
    if unsure:
        which = ", ".join(layer.name for layer in unsure)
        said.append(f"The receptive field is not exact in {which}; there the patches are a guide.")
    return tuple(said)


def mark_notes(layer: Layer, found: tuple[Mark, ...]) -> list[str]:
    """Units that a mark fires, a sentence for each part of the border: where, in how many images, how alike the pixels are."""
    zones: dict[str, list[Mark]] = {}
    for mark in found:
        zones.setdefault(mark.spot.zone, []).append(mark)
    said = []
    for zone, (mark, *more) in zones.items():
        (top, bottom, left, right), spot = mark.box, mark.spot
        also = f" Units {', '.join(str(m.unit) for m in more[:MOST_NAMED])} do likewise." if more else ""
        said.append(
            f"Unit {mark.unit} of {layer.name} fires at the same place (rows {top}-{bottom - 1}, columns {left}-{right - 1}) in "
            f"{mark.times} of {layer.m} images, and a spot in the {zone} (row {spot.row}, column {spot.column}) is the same in "
            f"them: they differ by {spot.within:.1f} grey levels there, other images by {spot.other:.0f}. "
            f"{mark_classes(layer, mark.unit)}Look for a mark, such as a logo, a date or a frame, that the model may go by.{also}"
        )
    return said


def mark_classes(layer: Layer, unit: int) -> str:
    """Of which classes the images of a marked unit are."""
    if layer.classes is None:
        return ""
    found = np.unique(layer.classes.of[layer.positions(unit)])
    which = f"class {layer.classes.names[found[0]]} alone" if len(found) == 1 else f"{len(found)} classes"
    return f"The images are of {which}. "


def class_notes(layers: Sequence[Layer]) -> list[str]:
    """The two deepest layers with far more units of one class than chance gives."""
    if any(layer.classes is not None and layer.classes.counts.max() < 2 for layer in layers):
        return ["No class has two images, so nothing can be said of the classes of units."]
    said = []
    for layer in layers:
        expected = layer.chance[1] * len(layer.full)
        if layer.classes is not None and len(layer.pure) > RARE * expected:
            said.append(
                f"{len(layer.pure)} of {len(layer.full)} units of {layer.name} are fired most by images of one class only "
                f"({'none' if expected < 0.005 else f'{expected:.2f}'} expected of images at random)."
            )
    return said[-2:]
