"""The layers and their odd units in tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditor.probes.patches.layers import Layer
from auditor.probes.patches.odd import MILD, ORDER, Sheet
from auditor.probes.patches.pictures import counted, spoken
from auditor.probes.patches.sources import DEALS
from auditor.types import Array, Figure, Json

MOST_ROWS, MOST_ALIKE = 32, 4
"""Rows of the table of odd units, and units of one layer with the same first reason in it."""

COLUMNS = (
    ("layer", "layer", "text"), ("units", "units", "integer"), ("grid", "map", "text"), ("field", "receptive field", "text"),
    ("status", "field is", "text"),
)  # fmt: skip
BY_CLASS = (
    ("entropy", "class entropy", "number"), ("chance", "by chance", "number"),
    ("pure", "one class only", "integer"),
)  # fmt: skip
SIGNS = (
    ("marked", "one mark", "integer"), ("dead", "never fire", "integer"), ("tied", "saturated", "integer"),
    ("steady", "always on", "integer"), ("twins", "have a twin", "integer"), ("place", "one place", "integer"),
)  # fmt: skip
ODD = (
    ("layer", "layer", "text"), ("unit", "unit", "integer"), ("why", "what is odd", "text"), ("classes", "classes", "text"),
    ("sources", "sources", "text"), ("peak", "largest value", "number"), ("share", "fires in", "percent"),
)  # fmt: skip
SOURCES = (
    ("source", "column", "text"), ("layer", "layer", "text"), ("entropy", "source entropy", "number"),
    ("dealt", "given the classes", "number"), ("least", "lowest of the deals", "number"), ("pure", "one source only", "integer"),
    ("expected", "expected", "number"), ("suspects", "beyond chance", "integer"),
)  # fmt: skip


def table_data(columns: Sequence[tuple[str, str, str]], rows: list[dict[str, Json]]) -> dict[str, Json]:
    """What kind table takes."""
    return {"columns": [{"key": key, "label": label, "format": kind} for key, label, kind in columns], "rows": rows}


def overview(found: Sequence[Sheet]) -> Figure:
    """One row a layer; signs that no layer has are named in the caption alone."""
    rows = [layer_row(sheet) for sheet in found]
    classes = any(row["entropy"] is not None for row in rows)
    columns = COLUMNS + (BY_CLASS if classes else ()) + tuple(c for c in SIGNS if any(row[c[0]] for row in rows))
    none = [label for key, label, _ in SIGNS if not any(row[key] for row in rows)]
    said = (
        "Class entropy: mean over the units, 0 where the images of a unit are of one class, 1 where they are as mixed as can be; "
        "by chance: of as many images at random. "
        if classes
        else ""
    )
    said += (
        "One mark: units that fire at one place whose images share a spot near the border that others lack. "
        "Saturated: all strongest images tie. Always on: the maximum varies by less than 5 % over the images. "
        f"Twin: another unit with nearly the same images whose maxima rise and fall with it ({compared(found)} images compared). "
        f"One place: the strongest images fire at the same place.{' No unit: ' + ', '.join(none) + '.' if none else ''}"
    )
    return Figure("layers", "table", "The layers", said, table_data(columns, rows))


def layer_row(sheet: Sheet) -> dict[str, Json]:
    """A layer as a row of `COLUMNS` and `SIGNS`."""
    layer = sheet.layer
    return {
        "layer": layer.name,
        "units": len(layer.entries),
        "grid": spaced(layer.seen.grid),
        "field": f"{spaced(layer.field.size)}\N{NO-BREAK SPACE}px",
        "status": layer.field.status,
        "entropy": mean(layer.entropy),
        "chance": finite(layer.chance[0]),
        "pure": len(layer.pure) if layer.classes else None,
        "marked": len(sheet.marked),
        "dead": layer.dead if layer.rectified else None,
        "tied": len(layer.tied),
        "steady": len(layer.steady),
        "twins": int((layer.twins >= 0).sum()),
        "place": len(layer.at_one_place),
    }


def spaced(sides: Sequence[int] | Array) -> str:
    """ "28 x 28" that is never broken into two lines."""
    return "\N{NO-BREAK SPACE}x\N{NO-BREAK SPACE}".join(str(n) for n in sides)


def compared(found: Sequence[Sheet]) -> int:
    """Images whose maxima are compared."""
    return max((len(sheet.layer.seen.some) for sheet in found), default=0)


def odd_units(found: Sequence[Sheet]) -> Figure:
    """The odd units of all layers, the oddest first; of many with the same reason the strongest."""
    listed: list[tuple[tuple[int, ...], int, int]] = []
    for number, sheet in enumerate(found):
        times = [0] * len(ORDER)
        for unit, reasons in sheet.odd.items():
            times[reasons[0]] += 1
            if times[reasons[0]] <= MOST_ALIKE:
                listed.append((reasons, number, unit))
    listed.sort(key=lambda row: row[:2])
    total = sum(len(sheet.odd) for sheet in found)
    order = f"{', '.join(ORDER)} (from “{ORDER[MILD]}” on, what more than half of a layer's units share is no sign)"
    if not listed:
        return Figure("odd", "note", "Units to look at first", data={"text": f"No unit is odd by these signs: {order}."})
    said = (
        f"{min(len(listed), MOST_ROWS)} of {total} units with a sign of something odd, in this order: {order}. Of those with the "
        f"same sign in a layer the {MOST_ALIKE} strongest. A sign is a reason to look, not a fault."
    )
    rows = [odd_row(found[number], unit) for _, number, unit in listed[:MOST_ROWS]]
    columns = [c for c in ODD if any(row[c[0]] not in (None, "") for row in rows)]
    return Figure("odd", "table", "Units to look at first", said, table_data(columns, rows))


def odd_row(sheet: Sheet, unit: int) -> dict[str, Json]:
    """A unit as a row of `ODD`."""
    layer, positions = sheet.layer, sheet.layer.positions(unit)
    held, classes = len(positions) > 0, layer.mixed
    return {
        "layer": layer.name,
        "unit": unit,
        "why": sheet.why(unit),
        "classes": counted([spoken(n) for n in classes.names], classes.of[positions], "classes") if classes and held else "",
        "sources": "; ".join(
            f"{by.source.name}: {counted(by.source.values, by.source.of[positions], 'values')}" for by in sheet.sources if held
        ),
        "peak": finite(float(layer.seen.tops.values[unit, 0])),
        "share": float(layer.seen.fired[unit]) / max(layer.images, 1),
    }


def by_source(found: Sequence[Sheet]) -> Figure | None:
    """Source entropy by column and layer; None where no column names a source."""
    rows: list[dict[str, Json]] = [
        {
            "source": by.source.name,
            "layer": sheet.layer.name,
            "entropy": mean(by.entropy),
            "dealt": by.dealt[0],
            "least": by.dealt[1],
            "pure": int(by.alone.sum()),
            "expected": float(by.chances.sum()),
            "suspects": len(by.suspects),
        }
        for sheet in found
        for by in sheet.sources
    ]
    rows.sort(key=lambda row: str(row["source"]))
    said = (
        "How mixed the sources of a unit's strongest images are: 0 one source, 1 as mixed as can be. Given the classes: the same "
        f"when the sources are dealt anew among the images of each class, mean and lowest of {DEALS} deals. One source only: "
        "units all of whose images are of one source, beside how many images of the same classes at random would give; beyond "
        "chance: of these, the ones left when one in twenty of those named may be false (Benjamini and Hochberg 1995)."
    )
    return Figure("sources", "table", "Where the images come from", said, table_data(SOURCES, rows)) if rows else None


def depth(layers: Sequence[Layer]) -> Figure:
    """Class entropy against depth."""
    x = list(range(len(layers)))
    series = [
        {"name": "units", "x": x, "y": [mean(layer.entropy) for layer in layers]},
        {"name": "images at random", "x": x, "y": [finite(layer.chance[0]) for layer in layers], "dashed": True},
    ]
    said = (
        "Mean class entropy of the units: how far a layer has turned from patterns to classes. At the dashed line it knows none."
    )
    return Figure(
        "entropy",
        "lines",
        "From patterns to classes",
        said,
        {
            "x_label": "layer, shallow to deep",
            "x_names": [layer.name for layer in layers],
            "y_label": "entropy",
            "series": series,
        },
    )


def mean(values: Array) -> float | None:
    """Of the finite ones; None where there is none."""
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else None


def finite(value: float) -> float | None:
    """None for NaN and infinity."""
    return value if np.isfinite(value) else None
