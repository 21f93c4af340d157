"""The gallery: one image a row, every method beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from auditor.ops.colour import diverging, is_small, overlay, rows_shown, sequential, thinned, three
from auditor.types import Array, Figure, Json

if TYPE_CHECKING:
    from auditor.evidence import Asked, Evidence

COLUMNS = (
    ("image", "image", None),
    ("saliency", "saliency", "saliency"),
    ("gradient_x_input", "gradient x input, signed", "gradient_x_input"),
    ("integrated_gradients", "integrated gradients, signed", "integrated_gradients"),
    ("cut", "cut out by saliency (GrabCut)", "saliency"),
    ("control", "control: saliency, top layers randomised", None),
    ("smoothgrad", "SmoothGrad", "smoothgrad"),
    ("gradcam", "Grad-CAM over the image", "gradcam"),
)
"""File, heading, and the method whose verdict concerns the column. In two lines the control comes to stand under the saliency."""
SIGNED = ("gradient_x_input", "integrated_gradients")
SCALE = (
    "each map by itself, up to the 99.5 % quantile of its |values|: brightness cannot be compared between pictures. Saliency, "
    "SmoothGrad and the control from black (0) to pale yellow, the largest |value| of the colour channels. Gradient x input and "
    "integrated gradients summed over the channels: red raises the score, blue lowers it, white is 0. Grad-CAM from dark (0) to "
    "pale yellow, over the grey image. Cut-out: what lies outside is darkened, the object that the data name has a cyan rim."
)


def gallery(
    shape: tuple[int, ...], evidence: Evidence, asked: Asked, rows: Mapping[str, Array], caption: str
) -> tuple[Figure, dict[str, Array]]:
    """The figure and its artifacts; `shape` (C,H,W) of the input."""
    small = is_small(shape)
    shown = min(shown_of(shape), len(asked.positions))
    artifacts: dict[str, Array] = {}
    lines: list[Json] = []
    for i, position in enumerate(int(p) for p in asked.positions[:shown]):
        found = pictures(evidence, position, {name: rows[name][i] for name, _, _ in COLUMNS[1:]})
        files = {name: f"{name}-{i}.{'png' if small else 'jpg'}" for name in found}
        artifacts |= {files[name]: thinned(picture) for name, picture in found.items()}
        iou = rows["object_iou"][i]
        note = f"{asked.named(i, evidence.names)}; control likeness {rows['randomisation_spearman'][i]:.2f}"
        lines.append(
            {
                "label": evidence.dataset.samples[position].name,
                "note": note + (f"; the cut-out meets the object by {iou:.2f} (IoU)" if np.isfinite(iou) else ""),
                "sample": position,
                "cells": [{"file": files[name]} if name in files else None for name, _, _ in COLUMNS],
            }
        )
    data = {
        "columns": [heading for _, heading, _ in COLUMNS],
        "keys": [key for _, _, key in COLUMNS],
        "across": len(COLUMNS) if small else len(COLUMNS) // 2,
        "rows": lines,
        "pixelated": small,
        "scale": SCALE,
    }
    return Figure("maps", "gallery", "What the score answers to", caption, data), artifacts


def shown_of(shape: tuple[int, ...]) -> int:
    """Images in the gallery: eight pictures each, so fewer where they are large."""
    return rows_shown(shape) if is_small(shape) else 6


def pictures(evidence: Evidence, position: int, maps: Mapping[str, Array]) -> dict[str, Array]:
    """Column -> uint8 (H,W,3) of one image; a map that is not a number has none."""
    image = three(evidence.dataset.pixels([position])[0])
    found = {"image": image}
    for name, values in maps.items():
        if name == "cut":
            found[name] = outlined(image, values, evidence, position)
        elif np.isfinite(values).all():
            high = float(np.quantile(np.abs(values), 0.995))
            coloured = diverging(values, high) if name in SIGNED else sequential(values, high)
            found[name] = overlay(image, coloured) if name == "gradcam" else coloured
    return found


def outlined(image: Array, cut: Array, evidence: Evidence, position: int) -> Array:
    """uint8 (H,W,3): the image, dark outside of the cut-out, with a rim about the object that the data name."""
    picture = np.where(cut[..., None], image, image // 4)
    mask, box = evidence.dataset.mask(position), evidence.dataset.samples[position].box
    if mask is None and box is None:
        return picture
    if mask is None:
        assert box is not None
        mask = np.zeros(cut.shape, dtype=bool)
        x0, y0, x1, y1 = (round(edge) for edge in box)
        mask[y0:y1, x0:x1] = True
    rim = mask & (cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) == 0)
    picture[rim] = (0, 220, 230)
    return picture
