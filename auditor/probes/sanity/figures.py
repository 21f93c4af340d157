"""What the section shows: the verdicts, the curves, who agrees with whom, and the maps as the weights are lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from auditor.ops.colour import is_small, sequential, thinned, three
from auditor.probes.sanity.measured import mean_known
from auditor.probes.sanity.told import Tried, interval
from auditor.types import METHOD_TITLES, Array, Figure, Json, Value

if TYPE_CHECKING:
    from auditor.evidence import Asked, Evidence

SHOWN = 2
"""Images whose maps are shown at every level."""

SCALE = (
    "each |map| by itself, black is 0, pale yellow its own 99.5 % quantile; large maps are averaged down. The number is the rank "
    "correlation with the map of the trained model."
)
WORDS = {
    "deletion": (
        "Cells are filled with the mean pixel, the most important first: a good map makes the class vanish first (low).",
        "Hiding what the map calls important",
        "hidden",
    ),
    "insertion": (
        "Cells of the image appear on its blurred copy, the most important first: a good map brings the class up first (high).",
        "Showing what the map calls important",
        "shown",
    ),
}
"""Caption, title and verb of either test."""


def verdicts(tried: Sequence[Tried], values: Mapping[str, Value], images: int) -> Figure:
    """One line a method."""
    rows = [
        {
            "method": METHOD_TITLES[t.method],
            "verdict": t.verdict,
            "likeness": interval(t.likeness),
            "deletion": interval(t.deletion),
            "insertion": interval(t.insertion),
            "agreement": interval(values[f"agreement.{t.method}"]),
            "edges": interval(values[f"edge_spearman.{t.method}"]),
        }
        for t in tried
    ]
    heads = {
        "method": "method", "verdict": "verdict", "likeness": "likeness after randomisation", "deletion": "deletion gain",
        "insertion": "insertion gain", "agreement": "agreement with the others", "edges": "likeness to the image's edges",
    }  # fmt: skip
    first = tried[0]
    caption = (
        f"{images} images, 90 % intervals. Likeness: rank correlation of |map| with {first.top} randomised; from "
        f"{first.threshold:g} on a method does not depend on the weights. Gains: area between the curve of the method's order "
        "and that of random orders on the same image, in probability; an interval above 0 in both shows a method to be better. "
        "Each test errs in 5 of 100; no correction is made for their number."
    )
    data = {"columns": [{"key": key, "label": label, "format": "text"} for key, label in heads.items()], "rows": rows}
    return Figure("verdicts", "table", "Which methods earn their place", caption, data)


def randomisation(rows: Mapping[str, Array], methods: Sequence[str], threshold: float) -> Figure:
    """Likeness against how many layers are random."""
    counts, total = rows["levels"][0][:-1], int(rows["levels"][0][-1])
    places = list(range(len(counts) + 1))
    series: list[Json] = []
    for m, method in enumerate(methods):
        mean, half = mean_and_half(rows["spearman"][:, :, m].astype(np.float64))
        low, high = (np.clip(mean + side * half, -1, 1) for side in (-1, 1))
        series.append({
            "name": METHOD_TITLES[method], "x": places, "y": [1.0, *mean.tolist()],
            "low": [1.0, *low.tolist()], "high": [1.0, *high.tolist()],
        })  # fmt: skip
    series.append({"name": f"the line, {threshold:g}", "x": [0, len(counts)], "y": [threshold] * 2, "dashed": True})
    caption = (
        f"From the head down, more and more of the {total} layers with weights have fresh ones; each |map| is compared with that "
        f"of the trained model. n = {len(rows['spearman'])} images; band: mean +- 1.645 standard errors (about 90 %). A map that "
        "is about what was learned falls at once."
    )
    data = {
        "x_label": "layers with fresh weights", "y_label": "rank correlation",
        "x_names": ["none", *(level_name(int(count), total) for count in counts)], "series": series,
    }  # fmt: skip
    return Figure("randomisation", "lines", "Does the map change when the model forgets?", caption, data)


def mean_and_half(values: Array) -> tuple[Array, Array]:
    """((L,) mean, (L,) half of the 90 % interval) of values (n,L) over those that are numbers; NaN where there is none."""
    known = np.isfinite(values)
    n = known.sum(0)
    mean = np.where(n > 0, np.where(known, values, 0).sum(0) / np.maximum(n, 1), np.nan)
    square = (np.where(known, values - mean, 0) ** 2).sum(0) / np.maximum(n - 1, 1)
    return mean, 1.645 * np.sqrt(square / np.maximum(n, 1))


def curves(rows: Mapping[str, Array], methods: Sequence[str], kind: str) -> Figure:
    """Mean curves of deletion or insertion, and of the random orders."""
    share = (rows["hidden"][0] / rows["hidden"][0][-1]).tolist()
    series = [
        {"name": METHOD_TITLES[method], "x": share, "y": rows[kind][:, m].mean(0, dtype=np.float64).tolist()}
        for m, method in enumerate(methods)
    ]
    each = rows[f"random_{kind}"]
    mean = each.mean((0, 1), dtype=np.float64).tolist()
    series.append({"name": f"random order ({each.shape[1]} an image)", "x": share, "y": mean, "dashed": True})
    caption, title, verb = WORDS[kind]
    data = {"x_label": f"share of the image {verb}", "y_label": "mean probability of the class", "series": series}
    caption += f" n = {len(each)} images; the intervals of the areas between, image by image, stand in the table above."
    return Figure(kind, "lines", title, caption, data)


def agreement(rows: Mapping[str, Array], methods: Sequence[str]) -> Figure:
    """Who agrees with whom."""
    mean = mean_known(rows["agreement"].astype(np.float64), 0)
    names = [*(METHOD_TITLES[m] for m in methods), "edges of the image"]
    data = {"values": np.round(mean, 4).tolist(), "row_labels": names, "column_labels": names, "x_label": "", "y_label": ""}
    caption = (
        f"Mean rank correlation of |map| over {len(rows['agreement'])} images. The last line is no method: the length of the "
        "image's own gradient, without any model. A method that agrees with it most shows outlines."
    )
    return Figure("agreement", "heatmap", "Which methods agree, and who paints edges", caption, data)


def gallery(
    rows: Mapping[str, Array], tried: Sequence[Tried], found: Asked, evidence: Evidence
) -> tuple[list[Figure], dict[str, Array]]:
    """For the first images, every method's map at every level of randomisation."""
    counts, total = rows["levels"][0][:-1], int(rows["levels"][0][-1])
    columns = ["trained model", *(f"{level_name(int(count), total)} random" for count in counts)]
    figures: list[Figure] = []
    artifacts: dict[str, Array] = {}
    for i, position in enumerate(int(p) for p in found.positions[:SHOWN]):
        image = three(evidence.dataset.pixels([position])[0])
        small = is_small(image.shape[:2])
        kind = "png" if small else "jpg"
        cells = [{"file": f"image-{i}.{kind}"}]
        artifacts[cells[0]["file"]] = thinned(image, 128)
        said = found.named(i, evidence.names)
        lines: list[Json] = [{"label": "the image", "note": said, "sample": position, "cells": cells}]
        for m, one in enumerate(tried):
            cells = []
            for level, picture in enumerate(rows["pictures"][i, m]):
                file = f"{one.method}-{i}-{level}.{kind}"
                artifacts[file] = sequential(picture, 255.0)
                kept = float("nan") if level == 0 else float(rows["spearman"][i, level - 1, m])
                cells.append({"file": file} | ({"label": f"{kept:.2f}"} if np.isfinite(kept) else {}))
            lines.append({"label": METHOD_TITLES[one.method], "note": one.verdict, "cells": cells})
        data = {"columns": columns, "rows": lines, "pixelated": small, "tile": 112, "scale": SCALE}
        name = evidence.dataset.samples[position].name
        caption = f"{name}, {found.what}: from left to right more layers have fresh weights, from the head down."
        figures.append(Figure(f"cascade-{i}", "gallery", f"The maps of one image as the model forgets ({i + 1})", caption, data))
    return figures, artifacts


def level_name(count: int, total: int) -> str:
    """`head`, `25 of 99`, `all`."""
    return "head" if count == 1 else "all" if count == total else f"top {count} of {total}"
