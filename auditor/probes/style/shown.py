"""The pictures and charts of the section."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from auditor.fold import State
from auditor.methods.style import recoloured
from auditor.methods.unit import as_pixels, as_unit
from auditor.ops.colour import is_small, three
from auditor.ops.resize import resized
from auditor.ops.thumbnail import thumbnail
from auditor.probes.style.given import Given
from auditor.probes.style.made import BLENDED, PAIR, STEPS, VARIANTS, Task
from auditor.types import Array, Figure, Json, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.evidence import Evidence
    from auditor.probes.style.beside import Beside

TILE = 160
"""Pixels of a picture as it is shown, at least where there are as many."""

Shown = tuple[Figure, dict[str, Array]]


def kind_of(rows: State) -> str:
    """Suffix of the pictures."""
    return "png" if is_small(rows["picture"].shape[1:3]) else "jpg"


def data_of(columns: list[str], lines: list[Json], rows: State) -> dict[str, Json]:
    """Of a gallery."""
    small = is_small(rows["picture"].shape[1:3])
    return {"columns": columns, "rows": lines, "scale": "as they are, [0,1] to 8 bits", "pixelated": small, "tile": TILE}


def pictures(rows: State, given: Given, own_colours: bool, evidence: Evidence) -> list[Shown]:
    """Optimisation beside the net; the way between two styles; other settings."""
    found = [side_by_side(rows, given, own_colours, evidence)]
    if (rows["kind"] == BLENDED).any():
        found.append(between(rows, given, evidence))
    if (rows["kind"] == VARIANTS).any():
        found.append(variants(rows, given, evidence))
    return found


def source(evidence: Evidence, position: int, size: tuple[int, int]) -> Array:
    """(h,w,C) uint8 of an image at the size of the pictures."""
    found: Array = as_pixels(resized(as_unit(evidence.dataset.pixels([position]), "cpu"), size))[0]
    return found


def in_colours(picture: Array, image: Array) -> Array:
    """A picture in the colours of its image."""
    found: Array = as_pixels(recoloured(*(as_unit(x[None], torch.device("cpu")) for x in (picture, image))))[0]
    return found


def side_by_side(rows: State, given: Given, own_colours: bool, evidence: Evidence) -> Shown:
    """Images down; the image, then each style by optimisation and by the net; the styles in the first line."""
    suffix, size = kind_of(rows), rows["picture"].shape[1:3]
    artifacts: dict[str, Array] = {}
    columns, head = ["image"], list[Json]([None])
    for i, name in enumerate(given.names):
        artifacts[f"style-{i}.{suffix}"] = three(thumbnail(given.styles[i], max(size)))
        columns += [f"{name}, optimisation", f"{name}, net"]
        head += [{"file": f"style-{i}.{suffix}", "label": name}, None]
    lines: list[Json] = [{"label": "the styles", "cells": head}]
    for position in dict.fromkeys(rows["position"][rows["kind"] == PAIR].tolist()):
        image = source(evidence, position, (size[0], size[1]))
        artifacts[f"image-{position}.{suffix}"] = three(image)
        cells: list[Json] = [{"file": f"image-{position}.{suffix}"}]
        for i in range(len(given.names)):
            (row,) = np.flatnonzero((rows["kind"] == PAIR) & (rows["position"] == position) & (rows["which"] == i))
            for how, held, loss in (
                ("optimised", "picture", np.nanmin(rows["losses"][row])), ("net", "fast", rows["loss"][row]),
            ):  # fmt: skip
                file, pixels = f"image-{position}-{i}-{how}.{suffix}", rows[held][row]
                artifacts[file] = three(in_colours(pixels, image) if own_colours else pixels)
                cells.append({"file": file, "note": f"loss {loss:.2f}"})
        lines.append({"label": evidence.dataset.samples[position].name, "sample": position, "cells": cells})
    caption = (
        "Each image in each style, by optimisation and by one pass through the net, which was not trained on these images; "
        "below each the whole loss." + (" Shown in the colours of the images." if own_colours else "")
    )
    return Figure("pictures", "gallery", "Content and style", caption, data_of(columns, lines, rows)), artifacts


def between(rows: State, given: Given, evidence: Evidence) -> Shown:
    """From the first style to the last, by the net."""
    suffix, mine = kind_of(rows), np.flatnonzero(rows["kind"] == BLENDED)
    mine = mine[np.argsort(rows["which"][mine], kind="stable")]
    files = [f"between-{int(rows['which'][row])}.{suffix}" for row in mine]
    artifacts = {file: three(rows["fast"][row]) for file, row in zip(files, mine, strict=True)}
    position = int(rows["position"][mine[0]])
    line = {"label": evidence.dataset.samples[position].name, "sample": position, "cells": [{"file": file} for file in files]}
    columns = [f"{100 * step // (STEPS - 1)} % {given.names[-1]}" for step in range(STEPS)]
    caption = f"One net: its gains and offsets on a straight line from those of {given.names[0]} to those of {given.names[-1]}."
    return Figure("between", "gallery", "From one style to another", caption, data_of(columns, [line], rows)), artifacts


def variants(rows: State, given: Given, evidence: Evidence) -> Shown:
    """One image under other settings, by optimisation."""
    suffix, mine = kind_of(rows), np.flatnonzero(rows["kind"] == VARIANTS)
    known, position = Task.variants(len(given.names)), int(rows["position"][mine[0]])
    files = [f"setting-{int(rows['which'][row])}.{suffix}" for row in mine]
    artifacts = {file: three(rows["picture"][row]) for file, row in zip(files, mine, strict=True)}
    line = {"label": evidence.dataset.samples[position].name, "sample": position, "cells": [{"file": file} for file in files]}
    caption = f"By optimisation in the style of {given.names[0]}, one setting changed at a time."
    columns = [known[int(rows["which"][row])].label for row in mine]
    return Figure("settings", "gallery", "What the settings do", caption, data_of(columns, [line], rows)), artifacts


def curves(pairs: State, given: Given) -> Figure:
    """The best loss of optimisation so far, and the net's as a level, the mean over the images by style."""
    series: list[Json] = []
    for i, name in enumerate(given.names):
        mine = pairs["which"] == i
        for held, start in (("losses", "the image"), ("noise", "noise")):
            best = mean_best(pairs[held][mine])
            steps = sorted({round(x) for x in np.geomspace(1, len(best), 40)})
            series.append({"name": f"from {start}: {name}", "x": steps, "y": [float(best[x - 1]) for x in steps], "colour": i})
        level = float(pairs["loss"][mine].mean())
        series.append(
            {"name": f"net: {name}", "x": [1, pairs["losses"].shape[1]], "y": [level, level], "colour": i, "dashed": True}
        )
    scales = {"log_x": True, "log_y": True}
    data = {"x_label": "evaluations of L-BFGS, from 1 on", "y_label": "loss", "series": series, **scales}
    caption = (
        "Mean over the images of the best loss so far: from the image itself, and from white noise, the curve that ends early, "
        "where the first of the images has come as low as the net; the net's loss is the dotted level. Both axes are logarithmic."
    )
    return Figure("curves", "lines", "The net beside optimisation", caption, data)


def mean_best(losses: Array) -> Array:
    """(E',) the mean of the best so far of (n,E) losses, as long as each of them goes on."""
    best = np.fmin.accumulate(losses, axis=1)
    long = int(np.isfinite(losses).sum(axis=1).min())
    found: Array = best[:, : max(1, long)].mean(axis=0)
    return found


def losses_table(beside: Beside, given: Given, evidence: Evidence) -> Figure:
    """A line a pair."""
    columns = [
        {"key": "image", "label": "image", "format": "text"}, {"key": "style", "label": "style", "format": "text"},
        {"key": "start", "label": "loss of the image", "format": "number"},
        {"key": "end", "label": "of optimisation", "format": "number"}, {"key": "net", "label": "of the net", "format": "number"},
        {"key": "noise", "label": "evaluations worth, from noise", "format": "text"},
        {"key": "worth", "label": "from the image", "format": "text"},
    ]  # fmt: skip
    pairs, lines = beside.rows, list[Json]()
    for i, (position, style) in enumerate(zip(pairs["position"], pairs["which"], strict=True)):
        line: dict[str, Json] = {
            "image": evidence.dataset.samples[int(position)].name, "style": given.names[int(style)],
            "start": float(pairs["losses"][i, 0]), "end": float(np.nanmin(pairs["losses"][i])), "net": float(pairs["loss"][i]),
        }  # fmt: skip
        for key, worth in (("noise", beside.noise), ("worth", beside.worth)):
            line[key] = f"{'' if worth.reached[i] else 'over '}{worth.evaluations[i]:.1f}"
        lines.append(line)
    return Figure("losses", "table", "Losses of each pair", "", {"columns": columns, "rows": lines})


def training(losses: Array, new: int) -> Figure:
    """The loss in training, in means over spans."""
    span = max(1, len(losses) // 60)
    points = [losses[i : i + span].mean() for i in range(0, len(losses), span)]
    series = [{"name": "loss", "x": [i * span for i in range(len(points))], "y": [float(p) for p in points]}]
    later = "" if not new else " From where it jumps, the gains and offsets of a new style are trained alone."
    caption = f"Mean over {span} steps, of cut-outs in all styles.{later}"
    data = {"x_label": "step", "y_label": "loss", "series": series}
    return Figure("training", "lines", "Training of the net", caption, data)


def accuracies(values: Mapping[str, Value], names: tuple[str, ...]) -> Figure:
    """The same images as they are, and in each style."""
    keys = ["clean_accuracy", *(f"stylised_accuracy.{name}" for name in names)]
    found = [values[key] for key in keys]
    data = {
        "labels": ["as they are", *names], "values": [v.value for v in found], "low": [v.low for v in found],
        "high": [v.high for v in found], "x_label": "share right", "y_label": "", "horizontal": True, "format": "percent",
    }  # fmt: skip
    caption = f"The same {found[0].n} labelled images, painted by the net at the model's own size, with exact 90 % intervals."
    return Figure("accuracy", "bars", "Accuracy under style", caption, data)
