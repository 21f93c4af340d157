"""What stands out, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditor.probes.patches.layers import Layer
from auditor.probes.patches.odd import RARE, Sheet
from auditor.probes.patches.sources import DEALS, Sourced

MOST_NAMED = 12
"""Units that are named in a sentence."""


def notes(found: Sequence[Sheet]) -> tuple[str, ...]:
    """What stands out, the most alarming first."""
    layers = [sheet.layer for sheet in found]
    said = [sentence for sheet in found for sentence in mark_notes(sheet)]
    said += source_notes(found)
    said += class_notes(layers)
    for layer in layers:
        if layer.rectified and layer.dead:
            said.append(f"{layer.dead} of {len(layer.entries)} units of {layer.name} fire in none of {layer.images} images.")
    unsure = [layer for layer in layers if layer.field.status != "EXACT"]
    if unsure:
        which = ", ".join(layer.name for layer in unsure)
        said.append(f"The receptive field is not exact in {which}; there the patches are a guide.")
    return tuple(said)


def mark_notes(sheet: Sheet) -> list[str]:
    """Units that a mark fires, a sentence for each part of the border: where, in how many images, how alike the pixels are."""
    layer = sheet.layer
    zones: dict[str, list[int]] = {}
    for i, mark in enumerate(sheet.marked):
        zones.setdefault(mark.spot.zone, []).append(i)
    said = []
    for zone, (first, *more) in zones.items():
        mark = sheet.marked[first]
        (top, bottom, left, right), spot = mark.box, mark.spot
        numbers = ", ".join(str(sheet.marked[i].unit) for i in more[:MOST_NAMED])
        also = f" Units {numbers} do likewise." if more else ""
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


def source_notes(found: Sequence[Sheet]) -> list[str]:
    """Units that go by where an image comes from; that nothing can be said, where nothing says so."""
    if not any(sheet.sources for sheet in found):
        return [
            "No column of the data says where an image comes from (a camera, a site, a watermark), so nothing can be said of the "
            "sources of units."
        ]
    return [sentence for sheet in found for by in sheet.sources for sentence in one_source_notes(sheet.layer, by)]


def one_source_notes(layer: Layer, by: Sourced) -> list[str]:
    """What one column says of the units of a layer, where it says anything beyond chance."""
    said, name = [], f"“{by.source.name}”"
    if by.suspects:
        units = ", ".join(str(u) for u in list(by.suspects)[:MOST_NAMED])
        more = f" and {len(by.suspects) - MOST_NAMED} more" if len(by.suspects) > MOST_NAMED else ""
        said.append(
            f"{len(by.suspects)} of {len(layer.full)} units of {layer.name} are fired most by images with one value of {name} "
            f"only, beyond what their classes explain (units {units}{more}; {by.chances.sum():.2f} expected of images at random "
            f"from the same classes): the model may go by {name}."
        )
    mean, (_, least) = float(np.nanmean(by.entropy)), by.dealt
    if mean < least:
        said.append(
            f"Taken together the units of {layer.name} go by {name} more than their classes explain: source entropy {mean:.2f}, "
            f"at least {least:.2f} in {DEALS} deals of the column among the images of each class."
        )
    return said


def class_notes(layers: Sequence[Layer]) -> list[str]:
    """The two deepest layers with far more units of one class than chance gives."""
    if any(layer.classes is not None and layer.classes.counts.max() < 2 for layer in layers):
        return ["No class has two images, so nothing can be said of the classes of units."]
    said = [
        f"{len(layer.pure)} of {len(layer.full)} units of {layer.name} are fired most by images of one class only "
        f"({'none' if layer.expected < 0.005 else f'{layer.expected:.2f}'} expected of images at random)."
        for layer in layers
        if layer.classes is not None and len(layer.pure) > RARE * layer.expected
    ]
    return said[-2:]
