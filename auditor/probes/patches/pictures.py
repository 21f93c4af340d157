"""The sheets of patches: two strips a unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from auditor.ops.receptive_field import Field
from auditor.ops.tiles import Box, Patch, crop, strip, tiled
from auditor.probes.patches.layers import Layer
from auditor.probes.patches.odd import Sheet
from auditor.types import Array, Figure, Json

if TYPE_CHECKING:
    from auditor.evidence import Evidence

TILE = 84
"""Pixels a patch stands on the page."""
FULL = 0.99
"""Quantile of |value| over the guided backprop of a unit's patches that is drawn in full colour."""
LARGE = 0.6
"""From this share of both sides on, a box does not say where the unit fired: the place is outlined."""


def patches(layer: Layer, unit: int, images: Array) -> list[Patch]:
    """The cut-outs of a unit's `images` (m,H,W,C), each in its place in the frame of the field."""
    field, frame = layer.field, frame_of(layer.field)
    found = []
    for image, place in zip(images, layer.places(unit), strict=True):
        box, offset = cut(field, frame, place)
        cell = None
        if box[1] - box[0] >= LARGE * field.image[0] and box[3] - box[2] >= LARGE * field.image[1]:
            cell = cell_of(layer, place, (box[0] - offset[0], box[2] - offset[1]))
        found.append(Patch(crop(image, box), offset, cell))
    return found


def cut(field: Field, frame: tuple[int, int], place: tuple[int, int]) -> tuple[Box, tuple[int, int]]:
    """The box of a place in the image, and the offset of its corner in the frame."""
    box = field.box(*place)
    offset = []
    for axis, at in enumerate(place):
        begin, size = corner(field, axis, at, frame[axis]), box[2 * axis + 1] - box[2 * axis]
        offset.append(min(max(box[2 * axis] - begin, 0), frame[axis] - size))
    return box, (offset[0], offset[1])


def cell_of(layer: Layer, place: tuple[int, int], corner: tuple[int, int]) -> Box:
    """The part of the image that a place of the map stands for, in pixels from a `corner` of the image."""
    ends = []
    for axis, at in enumerate(place):
        side, count = layer.field.image[axis], int(layer.seen.grid[axis])
        ends += [at * side // count - corner[axis], (at + 1) * side // count - corner[axis]]
    return ends[0], ends[1], ends[2], ends[3]


def frame_of(field: Field) -> tuple[int, int]:
    """(h,w) of a field without borders, at most the image."""
    widest = [int((ends[:, 1] - ends[:, 0]).max()) for ends in (field.rows, field.columns)]
    high, wide = (min(max(size, most), side) for size, most, side in zip(field.size, widest, field.image, strict=True))
    return high, wide


def corner(field: Field, axis: int, at: int, frame: int) -> int:
    """The pixel of the image at which the frame of a position begins; the image's own where it fills the frame."""
    return 0 if frame == field.image[axis] else round(field.start[axis] + field.jump[axis] * at)


def picture(layer: Layer, unit: int, evidence: Evidence) -> Array:
    """The strip of a unit, strongest first."""
    images = evidence.dataset.pixels(layer.positions(unit))
    return strip([tiled(patch, frame_of(layer.field), TILE) for patch in patches(layer, unit, images)])


def gallery(sheet: Sheet, rows: Mapping[str, Array], evidence: Evidence) -> tuple[Figure, dict[str, Array]]:
    """The sheet of a layer: two strips a unit, its patches and what guided backprop finds in them."""
    layer, frame = sheet.layer, frame_of(sheet.layer.field)
    kind = "png" if 3 * max(frame) <= TILE else "jpg"
    drawn = {int(u): strip for (n, u), strip in zip(rows["unit"], rows["strip"], strict=True) if n == layer.number}
    artifacts, lines = {}, []
    for unit, why in sheet.shown.items():
        files = [f"layer-{layer.number}-unit-{unit}.{kind}", f"layer-{layer.number}-unit-{unit}-guided.{kind}"]
        artifacts[files[0]] = picture(layer, unit, evidence)
        artifacts[files[1]] = drawn[unit][:, : artifacts[files[0]].shape[1]]
        label = f"unit {unit}: {why}" if why else f"unit {unit}"
        lines.append({"label": label, "note": note(sheet, unit), "cells": [{"file": file} for file in files]})
    large = min(size / side for size, side in zip(frame, layer.field.image, strict=True)) >= LARGE
    square = " The outlined square is the place in the map that fired." if large else ""
    scale = (
        f"patches are pixels as the model sees them, one scale for the layer: a tile is {frame[0]} x {frame[1]} px of the image; "
        f"light grey lies outside the image.{square} Guided backprop stands under each patch, signed: mid-grey is 0, full colour "
        f"the {FULL:.0%} quantile of |value| over the patches of that unit; values compare within a unit, not between units."
    )
    ruled = bool(rows["rectifiers"][rows["unit"][:, 0] == layer.number].any())
    data: dict[str, Json] = {
        "columns": ["patches", "guided backprop"], "keys": [None, "guided_backprop" if ruled else None], "rows": lines,
        "scale": scale, "pixelated": kind == "png", "layer": layer.name,
    }  # fmt: skip
    told = caption(sheet, rows)
    return Figure(f"layer-{layer.number}", "gallery", f"What fires {layer.name}", told, data), artifacts


def field_words(field: Field) -> str:
    """Size and status in words."""
    size = f"receptive field {field.size[0]} x {field.size[1]} px, {field.status}"
    over = field.size[0] > field.image[0] or field.size[1] > field.image[1]
    return size + (f" (larger than the image of {field.image[0]} x {field.image[1]})" if over else "")


def caption(sheet: Sheet, rows: Mapping[str, Array]) -> str:
    """What is shown of what."""
    layer, reason = sheet.layer, sheet.layer.field.reason
    words = field_words(layer.field)
    told = (
        f"{words[0].upper()}{words[1:]}{f': {reason}' if reason else ''}. {len(sheet.shown)} of {len(layer.entries)} units, each "
        f"with the {layer.m} of {layer.images} images that fire it most, strongest first: odd ones, "
    )
    classes = layer.mixed is not None and bool(np.isfinite(layer.entropy).any())
    told += f"{'those of the fewest classes, ' if classes else ''}then others at equal distances. "
    if classes and layer.classes is not None:
        told += f"Classes: {layer.classes.told}. "
    total, reached = rows["rectifiers"][rows["unit"][:, 0] == layer.number].max(axis=0, initial=0).tolist()
    told += (
        f"Guided backprop: rule applied at {reached} of {total} rectifiers up to the layer."
        if total
        else "No rectifier lies before it: guided backprop is the plain gradient here."
    )
    if len(layer.tied):
        told += (
            f" In {len(layer.tied)} units all {layer.m} are tied (they saturate): those that saturate at most places come first."
        )
    return told


def note(sheet: Sheet, unit: int) -> str:
    """A unit in words, a line each: its classes, its sources, its values and place."""
    layer = sheet.layer
    positions = layer.positions(unit)
    lines = []
    if layer.mixed is not None:
        lines.append(counted([spoken(n) for n in layer.mixed.names], layer.mixed.of[positions], "classes"))
    lines += [f"{by.source.name}: {counted(by.source.values, by.source.of[positions], 'values')}" for by in sheet.sources]
    values = layer.seen.tops.values[unit][: len(positions)]
    entropy = f"entropy {layer.entropy[unit]:.2f}; " if np.isfinite(layer.entropy[unit]) else ""
    said = f"{values[0]:.3g} to {values[-1]:.3g}"
    if unit in layer.tied:
        areas, places = layer.seen.tops.areas[unit][: len(positions)], int(layer.seen.grid.prod())
        said = f"{values[0]:.3g} at {areas[0]} to {areas[-1]} of {places} places"
    lines.append(f"{entropy}value {said}")
    if unit in layer.at_one_place:
        lines.append(f"same place in {layer.gathered[1][unit]} of {layer.m}")
    return "\n".join(lines)


def counted(names: Sequence[str], of: Array, kind: str) -> str:
    """ "cat ×7, dog ×2": how many images of each, most first; only how many kinds where none has two of several."""
    found, times = np.unique(of, return_counts=True)
    order = np.argsort(-times, kind="stable")
    if times.max() == 1 and len(of) > 3:
        return f"{len(found)} {kind}"
    more = f", {len(order) - 3} more" if len(order) > 3 else ""
    return ", ".join(f"{names[found[i]]} ×{times[i]}" for i in order[:3]) + more


def spoken(name: str) -> str:
    """A class that is called by a number must not be taken for one."""
    return f"class {name}" if name.isdigit() else name
