"""Decisions by shape and by texture, counted and shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from auditor.bounds import proportion
from auditor.fold import State
from auditor.methods.shape_bias import PUBLISHED, Cues, Decisions, decide
from auditor.types import Array, Figure, Finding, Json, Value

SHOWN = 4
"""Pictures of each kind of decision."""


OWN = "made with the model's own features: not comparable with published figures"
"""Flag of every figure on pictures that were made from the data."""


def told(cues: Cues, rows: State, *, own: bool = False) -> Finding:
    """The figures, the two charts, and examples of each decision. `own`: the pictures were made from the data."""
    items = [cues.items[i] for i in rows["item"].tolist()]
    shape, texture = np.array([c.shape for c in items]), np.array([c.texture for c in items])
    decisions = decide(rows["category"], shape, texture)
    conflicts = int((shape != texture).sum())
    if not conflicts:
        return Finding("not_applicable", "no picture of the folder has a texture of another category than its shape")
    values = figures(cues, rows["category"], shape, texture, decisions)
    if own:
        values = {name: replace(value, flags=(OWN,)) for name, value in values.items()}
    gallery, artifacts = examples(cues, rows, shape, texture, decisions)
    by_shape, by_texture = int(decisions.shape.sum()), int(decisions.texture.sum())
    note = (
        f"Of {conflicts} pictures whose cues disagree, {by_shape} were decided by shape, {by_texture} by texture and "
        f"{conflicts - by_shape - by_texture} by neither."
    )
    notes = (note, made_so(cues, rows)) if own else (note,)
    shown = (beside_others(values["bias"], own=own), *by_category(cues, shape, decisions), gallery)
    return Finding("done", values=values, figures=shown, notes=notes, artifacts=artifacts)


def made_so(cues: Cues, rows: State) -> str:
    """How the pictures came to be, and what follows for their figures."""
    return (
        f"No folder of cue conflicts was given, so {len(rows['item'])} were made from images that the model gets right, of "
        f"{len(cues.categories)} classes, by style transfer with the model's own features: on average "
        f"{rows['content'].mean():.2f} of its length away from the content, {rows['style'].mean():.2f} from the texture. "
        "The published values are of pictures made by another network and do not compare one to one: "
        "texture wins more often where the model's own features made it; "
        "the highest of these classes decides."
    )


def figures(cues: Cues, category: Array, shape: Array, texture: Array, decisions: Decisions) -> dict[str, Value]:
    """Bias, the two shares, the bias of each shape category, and what is right where the cues agree."""
    by_shape, by_texture = int(decisions.shape.sum()), int(decisions.texture.sum())
    conflict = shape != texture
    conflicts, agreeing = int(conflict.sum()), int((~conflict).sum())
    values = {
        "bias": proportion(by_shape, by_shape + by_texture),
        "shape_decisions": proportion(by_shape, conflicts),
        "texture_decisions": proportion(by_texture, conflicts),
    }
    if agreeing:
        values["agreeing_accuracy"] = proportion(int((category == shape)[~conflict].sum()), agreeing)
    for i, name in enumerate(cues.categories):
        k, m = int(decisions.shape[shape == i].sum()), int(decisions.texture[shape == i].sum())
        if k + m:
            values[f"bias.{name}"] = proportion(k, k + m)
    return values


def beside_others(bias: Value, *, own: bool) -> Figure:
    """This model among the published ones."""
    rows = [("this model", bias.value or 0.0, bias.low, bias.high), *((name, v, None, None) for name, v in PUBLISHED.items())]
    rows.sort(key=lambda row: -row[1])
    data = {
        "labels": [row[0] for row in rows], "values": [row[1] for row in rows],
        "low": [row[2] for row in rows], "high": [row[3] for row in rows],
        "x_label": "shape bias", "y_label": "", "horizontal": True, "format": "percent",
        "highlight": [next(i for i, row in enumerate(rows) if row[0] == "this model")],
    }  # fmt: skip
    caption = (
        "This model with its 90 % interval; the others as published, on all 1,280 pictures of Geirhos et al. 2019. "
        "Stylised: trained on ImageNet in the style of paintings."
    )
    if own:
        caption += " This model's pictures were made by its own features, the others' by VGG-19: not comparable one to one."
    return Figure("published", "bars", "Shape bias beside published ones", caption, data)


def by_category(cues: Cues, shape: Array, decisions: Decisions) -> tuple[Figure, ...]:
    """How the pictures of each shape were decided: rows in the order of their bias."""
    rows: list[dict[str, Json]] = []
    for i, name in enumerate(cues.categories):
        of = shape == i
        k, m, rest = (int(d[of].sum()) for d in (decisions.shape, decisions.texture, decisions.other))
        if k + m + rest:
            rows.append({"category": name, "shape": k, "texture": m, "other": rest, "bias": k / (k + m) if k + m else None})
    rows.sort(key=lambda row: (row["bias"] is None, -(row["bias"] or 0.0), row["category"]))
    columns = [
        {"key": "category", "label": "shape of the picture", "format": "text"},
        {"key": "shape", "label": "decided by shape", "format": "integer"},
        {"key": "texture", "label": "by texture", "format": "integer"},
        {"key": "other", "label": "by neither", "format": "integer"},
        {"key": "bias", "label": "shape bias", "format": "percent"},
    ]
    caption = "Pictures whose cues disagree, by the category of their shape."
    return (Figure("categories", "table", "Decisions by category", caption, {"columns": columns, "rows": rows}),)


def examples(cues: Cues, rows: State, shape: Array, texture: Array, decisions: Decisions) -> tuple[Figure, dict[str, Array]]:
    """The pictures that were decided with the highest scores, by kind of decision."""
    artifacts: dict[str, Array] = {}
    table: list[Json] = []
    for kind, label in (("shape", "decided by shape"), ("texture", "decided by texture"), ("other", "decided by neither")):
        members = np.flatnonzero(getattr(decisions, kind))
        best = varied(members[np.argsort(-rows["score"][members], kind="stable")], rows["category"])[:SHOWN]
        cells: list[Json] = []
        for place, i in enumerate(best):
            file = f"{kind}-{place}.jpg"
            artifacts[file] = rows["picture"][i]
            names = (cues.categories[int(k)] for k in (shape[i], texture[i], rows["category"][i]))
            of, skin, said = names
            cells.append({"file": file, "label": f"model: {said}", "note": f"shape {of}, texture {skin}"})
        if cells:
            table.append({"label": label, "cells": [*cells, *[None] * (SHOWN - len(cells))]})
    caption = (
        f"Up to {SHOWN} of each kind, those with the highest scores, one a category first. "
        "Under each: what the model said, and the two cues."
    )
    data = {"columns": [""] * SHOWN, "rows": table, "scale": "as they are", "tile": 160}
    return Figure("examples", "gallery", "Pictures and decisions", caption, data), artifacts


def varied(order: Array, category: Array) -> list[int]:
    """Indices in `order`, the first of every category before the second of any."""
    met: Counter[int] = Counter()
    turn: list[tuple[int, int, int]] = []
    for place, i in enumerate(order.tolist()):
        turn.append((met[int(category[i])], place, i))
        met[int(category[i])] += 1
    return [i for _, _, i in sorted(turn)]
