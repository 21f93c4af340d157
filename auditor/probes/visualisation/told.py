"""The pictures on the page, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from auditor.fold import State
from auditor.methods.ascent import PLAIN
from auditor.methods.taken import agreed
from auditor.ops.colour import is_small, thinned, three
from auditor.probes.visualisation.making import CLASS
from auditor.probes.visualisation.watch import NOWHERE, Strongest
from auditor.types import Array, Figure, Json

if TYPE_CHECKING:
    from auditor.evidence import Evidence
    from auditor.target import Target

TIE = 1e-5
"""Share by which a unit may stay under the data set's maximum and still count: it saturates (ReLU6), or rounds otherwise."""
TITLES = {
    PLAIN: "no regulariser", "yosinski_1": "Yosinski 1: blur, norm", "yosinski_2": "Yosinski 2: decay, norm",
    "yosinski_3": "Yosinski 3: decay, blur", "yosinski_4": "Yosinski 4: blur, contribution", "fourier": "Fourier, transforms",
    "maco": "MACO: phase only",
}  # fmt: skip


def reached(rows: State, strongest: Strongest) -> Array:
    """(n,) bool: taken for its class, or as strong as the data set's strongest image."""
    out = rows["own_class"] == rows["unit"]
    for i in np.flatnonzero(rows["layer"] != CLASS):
        best = maximum(strongest, int(rows["layer"][i]), int(rows["unit"][i]))[0]
        out[i] = rows["value"][i] >= best - TIE * abs(best)
    return np.asarray(out)


def maximum(strongest: Strongest, layer: int, unit: int) -> tuple[float, int]:
    """(a unit's largest activation over the data, the image that has it)."""
    name = strongest.layers[layer]
    at = strongest.units[name].index(unit)
    return float(strongest.values[name][at]), int(strongest.positions[name][at])


def agreed_on(rows: State, target: Target, evidence: Evidence) -> Array | None:
    """(n,) as `methods.taken.agreed`; -1 for pictures of units. None without a second model."""
    found = agreed(target, evidence.names, np.where(rows["layer"] == CLASS, rows["unit"], 0), rows["second_class"])
    return None if found is None else np.where(rows["layer"] == CLASS, found, -1)


def classes(
    rows: State, names: Sequence[str], hit: Array, agreed: Array | None, evidence: Evidence
) -> tuple[tuple[Figure, ...], dict[str, Array]]:
    """A row a class: its surest image, then a picture by each recipe; and the shares by recipe."""
    at = np.flatnonzero(rows["layer"] == CLASS)
    seen = evidence.predictions
    if not len(at) or seen is None:
        return (), {}
    small = is_small(evidence.dataset.pixels([0])[0].shape[:2])
    used = [number for number in range(len(names)) if (rows["recipe"][at] == number).any()]
    artifacts: dict[str, Array] = {}
    lines: list[Json] = []
    for label in dict.fromkeys(int(u) for u in rows["unit"][at]):
        logs = seen.log_probability(label)
        position = int(logs.argmax())
        kind = "png" if small else "jpg"
        artifacts[f"image-{label}.{kind}"] = thinned(three(evidence.dataset.pixels([position])[0]))
        cells: list[Json] = [{"file": f"image-{label}.{kind}", "label": f"{np.exp(logs[position]):.0%}"}]
        for number in used:
            (i,) = at[(rows["unit"][at] == label) & (rows["recipe"][at] == number)]
            file = f"class-{label}-{names[number]}.{kind}"
            artifacts[file] = thinned(three(rows["picture"][i]))
            cells.append({"file": file, "label": verdict(rows, int(i), hit, evidence), "note": remark(rows, int(i), agreed)})
        lines.append({"label": evidence.names[label], "sample": position, "cells": cells})
    data = {
        "columns": ["surest image", *(TITLES[names[number]] for number in used)],
        "rows": lines,
        "pixelated": small,
        "scale": "Fourier and MACO as the model sees them; pictures of pixels with their contrast about the mean colour raised "
        "by the factor below them, as they are faint.",
    }
    caption = "The image that is most surely of a class, then pictures made for it; below each what the model takes it for."
    gallery = Figure("classes", "gallery", "What the classes want to see", caption, data)
    return (gallery, table(rows, names, used, hit, agreed)), artifacts


def verdict(rows: State, i: int, hit: Array, evidence: Evidence) -> str:
    """What the model takes a picture for."""
    sure = f"{rows['own_probability'][i]:.0%}"
    return f"reached, {sure}" if hit[i] else f"seen as {evidence.names[int(rows['own_class'][i])]}, {sure}"


def remark(rows: State, i: int, agreed: Array | None) -> str:
    """Its contrast, and the second model."""
    parts = [f"contrast × {rows['contrast'][i]:.0f}"] if rows["contrast"][i] >= 1.5 else []
    if agreed is not None and agreed[i] >= 0:
        parts.append("second model agrees" if agreed[i] else "second model does not")
    return "; ".join(parts)


def table(rows: State, names: Sequence[str], used: Sequence[int], hit: Array, agreed: Array | None) -> Figure:
    """The shares by recipe."""
    columns = [
        {"key": "recipe", "label": "recipe", "format": "text"},
        {"key": "reached", "label": "reached", "format": "integer"},
        {"key": "of", "label": "of", "format": "integer"},
        {"key": "score", "label": "median score", "format": "number"},
    ]
    if agreed is not None:
        columns.append({"key": "second", "label": "second model agrees", "format": "integer"})
    lines = []
    for number in used:
        mine = (rows["layer"] == CLASS) & (rows["recipe"] == number)
        line = {"recipe": TITLES[names[number]], "reached": int(hit[mine].sum()), "of": int(mine.sum())}
        line["score"] = float(np.median(rows["value"][mine]))
        if agreed is not None:
            line["second"] = int((agreed[mine] == 1).sum())
        lines.append(line)
    return Figure("recipes", "table", "By recipe", "Pictures of classes.", {"columns": columns, "rows": lines})


def units(
    rows: State, layers: Mapping[str, tuple[int, ...]], strongest: Strongest, hit: Array, evidence: Evidence
) -> tuple[tuple[Figure, ...], dict[str, Array]]:
    """A figure a layer: the image of the data set that fires a unit most, and the picture made for it."""
    artifacts: dict[str, Array] = {}
    figures = []
    for number, layer in enumerate(layers):
        at = np.flatnonzero(rows["layer"] == number)
        small = is_small(rows["picture"][0].shape[:2])
        kind, lines = "png" if small else "jpg", []
        for i in at:
            unit = int(rows["unit"][i])
            best, position = maximum(strongest, number, unit)
            file = f"layer-{number}-unit-{unit}"
            artifacts[f"{file}.{kind}"] = thinned(three(rows["picture"][i]))
            cells: list[Json] = [None, {"file": f"{file}.{kind}", "label": f"{rows['value'][i]:.3g}"}]
            if position != NOWHERE:
                artifacts[f"{file}-image.{kind}"] = thinned(three(evidence.dataset.pixels([position])[0]))
                cells[0] = {"file": f"{file}-image.{kind}", "label": f"{best:.3g}"}
            note = "reached" if hit[i] else "stays under the data's strongest image"
            sample = None if position == NOWHERE else position
            lines.append({"label": f"unit {unit}", "note": note, "sample": sample, "cells": cells})
        caption = (
            f"{len(at)} units at equal distances, each with the image of the data set that fires it most and the picture made "
            "for it (Fourier, with transforms); below them its activation, the mean over its map."
        )
        data = {"columns": ["image", "picture"], "rows": lines, "pixelated": small, "scale": "as they are, [0,1] to 8 bits"}
        figures.append(Figure(f"layer-{number}", "gallery", f"What units of {layer} want to see", caption, data))
    return tuple(figures), artifacts


def notes(rows: State, names: Sequence[str], hit: Array, agreed: Array | None, target: Target) -> tuple[str, ...]:
    """Sentences with their figures."""
    of_class = rows["layer"] == CLASS
    plain = of_class & (rows["recipe"] == (names.index(PLAIN) if PLAIN in names else -1))
    regular = of_class & ~plain
    found = []
    if regular.any():
        found.append(
            f"{int(hit[regular].sum())} of {int(regular.sum())} regularised pictures of classes are taken for their class."
        )
    if plain.any():
        found.append(f"Without a regulariser {int(hit[plain].sum())} of {int(plain.sum())} are, with what looks like noise.")
    if (~of_class).any():
        beaten = int(hit[~of_class].sum())
        found.append(
            f"{beaten} of {int((~of_class).sum())} units fire at their picture as strongly as at any image of the data, or more."
        )
    if agreed is not None and target.second is not None:
        known = regular & (agreed >= 0)
        found.append(
            f"{int((agreed[known] == 1).sum())} of {int(known.sum())} regularised pictures of classes are the same class for "
            f"{target.second.source}."
        )
    return tuple(found)
