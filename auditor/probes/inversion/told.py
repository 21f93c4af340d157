"""The pictures on the page, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from auditor.fold import State
from auditor.ops.colour import is_small, three
from auditor.probes.inversion.leaks import Leaks
from auditor.types import Array, Figure, Json

if TYPE_CHECKING:
    from auditor.evidence import Evidence

TITLES = {"mahendran": "Mahendran", "johnson": "Johnson"}


def pictures(
    rows: State, names: Sequence[str], objectives: Sequence[str], leaks: Leaks, evidence: Evidence
) -> tuple[tuple[Figure, ...], dict[str, Array]]:
    """A gallery an objective: images down, depth across."""
    small = is_small(rows["picture"].shape[1:3])
    kind, artifacts, found = "png" if small else "jpg", dict[str, Array](), []
    positions = list(dict.fromkeys(rows["position"].tolist()))
    for number, objective in enumerate(objectives):
        lines: list[Json] = []
        for place, position in enumerate(positions):
            artifacts[f"image-{place}.{kind}"] = three(evidence.dataset.pixels([position])[0])
            cells: list[Json] = [{"file": f"image-{place}.{kind}", "label": source_label(evidence, position)}]
            for depth in range(len(names)):
                at = (rows["objective"] == number) & (rows["position"] == position) & (rows["depth"] == depth)
                (row,) = np.flatnonzero(at).tolist()
                own = "" if objective == "mahendran" else f"-{objective}"
                file = f"image-{place}-depth-{depth}{own}.{kind}"
                artifacts[file] = three(rows["picture"][row])
                cells.append({"file": file, "label": f"{rows['psnr'][row]:.1f} dB", "note": remark(rows, row, leaks, evidence)})
            lines.append({"label": evidence.dataset.samples[position].name, "sample": position, "cells": cells})
        data = {
            "columns": ["image", *names],
            "rows": lines,
            "scale": "as they are, [0,1] to 8 bits",
            "pixelated": small,
        }
        caption = (
            f"The image, then what is rebuilt from each place, shallow to deep ({TITLES[objective]}'s objective), with its PSNR; "
            "below it what the model takes it for, and whether its nearest image of the data, by features and by pixels, is its "
            "source."
        )
        key = "inversions" if number == 0 else f"inversions-{objective}"
        title = "What each depth gives back" if number == 0 else f"The same by {TITLES[objective]}'s objective"
        found.append(Figure(key, "gallery", title, caption, data))
    return tuple(found), artifacts


def source_label(evidence: Evidence, position: int) -> str:
    """What the model takes an image for."""
    seen = evidence.predictions
    return "" if seen is None else evidence.names[int(seen.predicted[position])]


def remark(rows: State, row: int, leaks: Leaks, evidence: Evidence) -> str:
    """What is left of an image in one inversion."""
    near = {(True, True): "both nearest", (True, False): "nearest by features", (False, True): "nearest by pixels"}
    found = near.get((bool(leaks.by_features[row]), bool(leaks.by_pixels[row])), "another is nearest")
    taken = "" if leaks.recognised is None else f"{evidence.names[int(rows['taken'][row])]}; "
    return f"{taken}{found}"


def curves(rows: State, names: Sequence[str], objectives: Sequence[str], leaks: Leaks) -> tuple[Figure, ...]:
    """PSNR, relative error, and what gives the source away, against depth."""

    def against(column: Array, objective: int) -> list[float]:
        return [float(column[(rows["objective"] == objective) & (rows["depth"] == d)].mean()) for d in range(len(names))]

    places = list(range(len(names)))
    axis = {"x_label": "place, shallow to deep", "x_names": list(names)}
    figures = []
    for key, title, label, column in (
        ("psnr", "PSNR", "PSNR (dB)", rows["psnr"]),
        ("error", "Relative error", "relative error", rows["error"]),
    ):
        series = [{"name": TITLES[name], "x": places, "y": against(column, i)} for i, name in enumerate(objectives)]
        data = {**axis, "y_label": label, "series": series}
        figures.append(Figure(key, "lines", f"{title} against depth", "Mean over the images.", data))
    shares = {"nearest by features": leaks.by_features, "nearest by pixels": leaks.by_pixels}
    if leaks.recognised is not None:
        shares = {"same class": leaks.recognised, **shares}
    lines: list[Json] = [{"name": name, "x": places, "y": against(column.astype(float), 0)} for name, column in shares.items()]
    lines.append({"name": "nearest by chance", "x": places, "y": [1 / leaks.gallery] * len(places), "dashed": True})
    caption = (
        f"Share of the inversions ({TITLES[objectives[0]]}'s objective) that the model takes for the class of their source, and "
        f"share whose nearest of {leaks.gallery} images of the data is their source."
    )
    data = {**axis, "y_label": "share of the inversions", "series": lines}
    return (*figures, Figure("identity", "lines", "What gives the source away", caption, data))


def table(rows: State, names: Sequence[str], objectives: Sequence[str], leaks: Leaks) -> Figure:
    """A row a place and objective."""
    keys = [("place", "place", "text"), ("objective", "objective", "text"), ("psnr", "PSNR (dB)", "number")]
    keys += [("error", "relative error", "number"), ("of", "images", "integer")]
    shares = {"recognised": leaks.recognised, "features": leaks.by_features, "pixels": leaks.by_pixels}
    titles = {"recognised": "same class", "features": "source nearest by features", "pixels": "source nearest by pixels"}
    held = {name: column for name, column in shares.items() if column is not None}
    keys += [(name, titles[name], "integer") for name in held]
    lines: list[Json] = []
    for depth, place in enumerate(names):
        for number, objective in enumerate(objectives):
            at = (rows["depth"] == depth) & (rows["objective"] == number)
            line = {"place": place, "objective": TITLES[objective], "psnr": float(rows["psnr"][at].mean())}
            line |= {"error": float(rows["error"][at].mean()), "of": int(at.sum())}
            lines.append(line | {name: int(column[at].sum()) for name, column in held.items()})
    columns = [{"key": key, "label": label, "format": kind} for key, label, kind in keys]
    caption = (
        f"Sources are looked for among {leaks.gallery} images; pixels are compared by their correlation, at {leaks.compared} px."
    )
    return Figure("places", "table", "Place by place", caption, {"columns": columns, "rows": lines})


def notes(rows: State, names: Sequence[str], leaks: Leaks) -> tuple[str, ...]:
    """How far images come back, and whose they still are, by the first objective."""
    first = rows["objective"] == 0
    ends = [first & (rows["depth"] == depth) for depth in (0, len(names) - 1)]
    close = [float(rows["psnr"][at].mean()) for at in ends]
    told = [f"From {names[0]} the images come back at {close[0]:.1f} dB, from {names[-1]} at {close[1]:.1f} dB."]
    at, n = ends[1], int(ends[1].sum())
    same = "" if leaks.recognised is None else f"{int(leaks.recognised[at].sum())} of {n} are still of their source's class, and "
    told.append(
        f"Of what comes back from {names[-1]}, {same}{int(leaks.by_features[at].sum())} of {n} are nearest to their source by "
        f"features and {int(leaks.by_pixels[at].sum())} of {n} by pixels, among {leaks.gallery} images (by chance 1 of "
        f"{leaks.gallery})."
    )
    return tuple(told)
