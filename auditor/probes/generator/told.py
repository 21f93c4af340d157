"""The pictures on the page, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from auditor.fold import State
from auditor.ops.colour import is_small, thinned, three
from auditor.probes.generator.making import CLASS, IMAGE
from auditor.types import Array, Figure, Json, Value

if TYPE_CHECKING:
    from auditor.evidence import Evidence
    from auditor.target import Target

SHOWN = 8
"""Images kept back that are shown."""
POINTS = 100
"""Of the curve of the training."""
POOR = 0.8
"""Reconstruction error from which on the generator is said to be little better than the mean image."""


def decibels(error: Array) -> Array:
    """(n,) PSNR of mean squared errors in [0,1], at most 100 dB."""
    return np.asarray(-10 * np.log10(np.maximum(error, 1e-10)))


def figures(rows: State, evidence: Evidence, target: Target) -> tuple[tuple[Figure, ...], dict[str, Array]]:
    """The pictures of classes, then what the generator makes of images kept back."""
    found, artifacts = [], dict[str, Array]()
    for make in (classes, images):
        figure, files = make(rows, evidence)
        found += figure
        artifacts |= files
    return tuple(found), artifacts


def classes(rows: State, evidence: Evidence) -> tuple[list[Figure], dict[str, Array]]:
    """A row a class: its surest image, then a picture from each start."""
    at, seen = np.flatnonzero(rows["kind"] == CLASS), evidence.predictions
    if not len(at) or seen is None:
        return [], {}
    small = is_small(rows["picture"].shape[1:3])
    kind, artifacts, lines = "png" if small else "jpg", dict[str, Array](), list[Json]()
    for label in dict.fromkeys(rows["unit"][at].tolist()):
        logs = seen.log_probability(label)
        position = int(logs.argmax())
        artifacts[f"image-{label}.{kind}"] = thinned(three(evidence.dataset.pixels([position])[0]))
        cells: list[Json] = [{"file": f"image-{label}.{kind}", "label": f"{np.exp(logs[position]):.0%}"}]
        for i in at[rows["unit"][at] == label]:
            file = f"class-{label}-{rows['start'][i]}.{kind}"
            artifacts[file] = thinned(three(rows["picture"][i]))
            sure = f"{rows['share'][i]:.0%}"
            reached = rows["taken"][i] == label
            cells.append(
                {"file": file, "label": f"reached, {sure}" if reached else f"{name(evidence, rows['taken'][i])}, {sure}"}
            )
        lines.append({"label": evidence.names[label], "sample": position, "cells": cells})
    starts = int(rows["start"][at].max()) + 1
    columns = ["surest image", *(f"start {i + 1}" for i in range(starts))]
    data = {"columns": columns, "rows": lines, "scale": "as they are, [0,1] to 8 bits", "pixelated": small}
    caption = (
        "The image that is most surely of a class, then pictures made for it by ascent in the generator's code, from seeded "
        "starts about the mean code; below each what the model takes it for."
    )
    return [Figure("classes", "gallery", "What the classes want to see, through the generator", caption, data)], artifacts


def images(rows: State, evidence: Evidence) -> tuple[list[Figure], dict[str, Array]]:
    """Images kept back, and what the generator makes of their features."""
    at = np.flatnonzero(rows["kind"] == IMAGE)[:SHOWN]
    if not len(at):
        return [], {}
    small = is_small(rows["picture"].shape[1:3])
    kind, artifacts, lines = "png" if small else "jpg", dict[str, Array](), list[Json]()
    close, mean = decibels(rows["error"]), decibels(rows["mean_error"])
    for i in at:
        position = int(rows["unit"][i])
        artifacts[f"kept-{position}.{kind}"] = thinned(three(evidence.dataset.pixels([position])[0]))
        artifacts[f"kept-{position}-again.{kind}"] = thinned(three(rows["picture"][i]))
        cells = [
            {"file": f"kept-{position}.{kind}", "label": name(evidence, rows["before"][i])},
            {
                "file": f"kept-{position}-again.{kind}",
                "label": name(evidence, rows["taken"][i]),
                "note": f"{close[i]:.1f} dB; the mean image {mean[i]:.1f} dB",
            },
        ]
        lines.append({"label": evidence.dataset.samples[position].name, "sample": position, "cells": cells})
    data = {
        "columns": ["image", "from its features"],
        "rows": lines,
        "scale": "as they are, [0,1] to 8 bits",
        "pixelated": small,
    }
    caption = (
        "Images that the generator was not trained on, and what it makes of their features; below each what the model "
        "takes it for."
    )
    return [Figure("reconstructions", "gallery", "What the generator can do", caption, data)], artifacts


def name(evidence: Evidence, number: int) -> str:
    """A class in words; "" for none."""
    return evidence.names[int(number)] if number >= 0 else ""


def course(losses: Array) -> Figure:
    """The loss over the training, in means of equal stretches."""
    parts = np.array_split(losses, min(POINTS, len(losses)))
    ends = np.cumsum([len(part) for part in parts])
    series = [{"name": "loss", "x": [int(end) for end in ends], "y": [float(part.mean()) for part in parts]}]
    data = {"x_label": "step", "y_label": "loss (1 a pixel term of the mean image)", "series": series}
    return Figure("training", "lines", "Training of the generator", f"Means over {len(parts)} equal stretches.", data)


def notes(rows: State, values: Mapping[str, Value], target: Target, side: int, gallery: int) -> tuple[str, ...]:
    """Sentences with their figures."""
    found = []
    pictures = rows["kind"] == CLASS
    if "target_reached" in values:
        reached = values["target_reached"]
        all_of = int((rows["taken"] == rows["unit"])[pictures].sum())
        found.append(
            f"{reached.k} of {reached.n} classes are reached by their first picture, and {all_of} of {int(pictures.sum())} "
            "pictures are taken for their class."
        )
    if "second_model_agreement" in values and target.second is not None:
        other = values["second_model_agreement"]
        found.append(f"{other.k} of {other.n} first pictures are the same class for {target.second.source}.")
    if "reconstruction_error" in values:
        error, own, mean = (values[key].value for key in ("reconstruction_error", "psnr.generator", "psnr.mean_image"))
        assert error is not None
        poor = (
            "; it can make little more than patches of colour, and its pictures of classes are no better" if error > POOR else ""
        )
        found.append(
            f"On {values['reconstruction_error'].n} images kept back the generator's squared error is {error:.2f} of the mean "
            f"image's ({own:.1f} dB against {mean:.1f} dB){poor}."
        )
    if "class_kept" in values:
        kept = values["class_kept"]
        found.append(f"{kept.k} of {kept.n} of these are still taken for what they were.")
    if "identified_by_pixels" in values:
        hit = values["identified_by_pixels"]
        given = hit.low is not None and hit.low > 1 / gallery
        means = "So stored features give images away." if given else "By this generator the features give no image away."
        found.append(
            f"{hit.k} of {hit.n} lead back to their source: of {gallery} images of the data it is the one that looks most like "
            f"them (by chance 1 of {gallery}). {means}"
        )
    if target.generator is not None:
        found.append(f"The generator is the one given, {target.generator.source}.")
    elif max(target.input_shape[1:]) > side:
        found.append(f"The generator's images have at most {side} px a side and are enlarged to the input.")
    return tuple(found)
