"""The sheets of patches: one strip a unit, and which units are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auditor.ops.receptive_field import Field
from auditor.ops.tiles import Box, Patch, crop, strip, tiled
from auditor.probes.patches.layers import Layer, Mark
from auditor.types import Array, Figure, Json

if TYPE_CHECKING:
    from auditor.evidence import Evidence

TILE = 84
"""Pixels a patch stands on the page."""
PIXELATED = 64
"""Fields of at most this many pixels are shown with visible pixels, and kept without loss."""
LARGE = 0.6
"""From this share of both sides on, a box does not say where the unit fired: the place is outlined."""


def shown(layer: Layer, marked: tuple[Mark, ...], count: int) -> list[int]:
    """At most `count` units, the most telling first: those that a mark fires, then those of the fewest classes (with the
    largest activation among equals) up to half, then the rest at equal distances.
    """
    peak = layer.seen.tops.values[:, 0]
    known = layer.full[np.isfinite(layer.entropy[layer.full])]
    telling = known[np.lexsort((known, -peak[known], np.round(layer.entropy[known], 6)))]
    first = [mark.unit for mark in marked[: max(1, count // 3)]] + telling.tolist()
    chosen = list(dict.fromkeys(first))[: (count + 1) // 2]
    rest = np.setdiff1d(layer.alive, chosen)
    left = min(count - len(chosen), len(rest))
    chosen += [int(rest[i * len(rest) // left]) for i in range(left)]
    return chosen


def patches(layer: Layer, unit: int, images: Array) -> list[Patch]:
    """The cut-outs of a unit's `images` (m,H,W,C), each in its place in the frame of the field."""
    field, frame = layer.field, frame_of(layer.field)
    found = []
    for image, (row, column) in zip(images, layer.places(unit), strict=True):
        box = field.box(row, column)
        begin = [corner(field, axis, at, frame[axis]) for axis, at in enumerate((row, column))]
        size = (box[1] - box[0], box[3] - box[2])
        offset = [min(max(box[2 * a] - begin[a], 0), frame[a] - size[a]) for a in (0, 1)]
        cell = None
        if size[0] >= LARGE * field.image[0] and size[1] >= LARGE * field.image[1]:
            cell = cell_of(layer, (row, column), (box[0] - offset[0], box[2] - offset[1]))
        found.append(Patch(crop(image, box), (offset[0], offset[1]), cell))
    return found


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


def gallery(layer: Layer, marked: tuple[Mark, ...], count: int, evidence: Evidence) -> tuple[Figure, dict[str, Array]]:
    """The sheet of a layer, and its strips."""
    chosen = shown(layer, marked, count)
    frame = frame_of(layer.field)
    artifacts, rows = {}, []
    for unit in chosen:
        file = f"layer-{layer.number}-unit-{unit}.{'png' if max(frame) <= PIXELATED else 'jpg'}"
        artifacts[file] = picture(layer, unit, evidence)
        rows.append({"label": f"unit {unit}", "note": note(layer, unit, marked), "cells": [{"file": file}]})
    large = min(size / side for size, side in zip(frame, layer.field.image, strict=True)) >= LARGE
    scale = (
        f"pixels as the model sees them; one scale for the layer, a tile is {frame[0]} x {frame[1]} px of the image; grey lies "
        f"outside the image.{' The outlined square is the place in the map that fired.' if large else ''}"
    )
    data: dict[str, Json] = {"columns": [""], "rows": rows, "scale": scale, "pixelated": max(frame) <= PIXELATED}
    return Figure(f"layer-{layer.number}", "gallery", f"What fires {layer.name}", caption(layer, len(chosen)), data), artifacts


def field_words(field: Field) -> str:
    """Size and status in words."""
    size = f"receptive field {field.size[0]} x {field.size[1]} px, {field.status}"
    over = field.size[0] > field.image[0] or field.size[1] > field.image[1]
    return size + (f" (larger than the image of {field.image[0]} x {field.image[1]})" if over else "")


def caption(layer: Layer, count: int) -> str:
    """What is shown of what."""
    words, reason = field_words(layer.field), layer.field.reason
    told = (
        f"{words[0].upper()}{words[1:]}{f': {reason}' if reason else ''}. {count} of {len(layer.entries)} units, each with the "
        f"{layer.m} of {layer.images} images that fire it most, strongest first; "
    )
    if layer.classes is None or not np.isfinite(layer.entropy).any():
        told += "at equal distances."
    else:
        told += f"first those of the fewest classes, then others at equal distances. Classes: {layer.classes.told}."
    if len(layer.tied):
        told += f" In {len(layer.tied)} units all {layer.m} are tied (the layer saturates): a fair draw from the images that are."
    return told


def note(layer: Layer, unit: int, marked: tuple[Mark, ...]) -> str:
    """A unit in words: its classes, entropy, values and place."""
    parts = []
    positions = layer.positions(unit)
    if layer.classes is not None:
        found, times = np.unique(layer.classes.of[positions], return_counts=True)
        order = np.argsort(-times, kind="stable")
        if times.max() > 1 or len(positions) == 1:
            named = [f"{spoken(layer.classes.names[found[i]])} ×{times[i]}" for i in order[:3]]
            parts.append(", ".join(named) + (f", {len(order) - 3} more" if len(order) > 3 else ""))
        else:
            parts.append(f"{len(found)} classes")
    if np.isfinite(layer.entropy[unit]):
        parts.append(f"entropy {layer.entropy[unit]:.2f}")
    values = layer.seen.tops.values[unit][: len(positions)]
    parts.append(f"value {values[0]:.3g} to {values[-1]:.3g}")
    if unit in layer.at_one_place:
        parts.append(f"same place in {layer.gathered[1][unit]} of {layer.m}")
    if any(mark.unit == unit for mark in marked):
        parts.append("same mark there")
    return "; ".join(parts)


def spoken(name: str) -> str:
    """A class that is called by a number must not be taken for one."""
    return f"class {name}" if name.isdigit() else name
