"""Figures as Plotly specifications: plain dictionaries with typed arrays in base64, colours as names of CSS variables.

The page's script resolves `var(--name)` to the colours of the reader's theme. Categories are drawn at 0, 1, 2, ... with their
names as tick texts: Plotly would merge equal names and read names such as "1" as numbers. Texts are escaped for Plotly's own
pseudo-HTML.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence

import numpy as np

from auditor.report.values import name, number
from auditor.types import Array, Json

MOST_TICKS = 60
_CODES = {
    "float32": "f4",
    "float64": "f8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint8": "u1",
    "uint16": "u2",
    "uint32": "u4",
}


def packed(array: Json, dtype: str = "float32") -> Json:
    """An array as Plotly's typed array {dtype, bdata, shape?}; None becomes NaN. Little-endian."""
    numbers = np.asarray(array, dtype=float).astype(np.dtype(dtype).newbyteorder("<"))
    spec = {"dtype": _CODES[dtype], "bdata": base64.b64encode(np.ascontiguousarray(numbers).tobytes()).decode("ascii")}
    return spec if numbers.ndim == 1 else {**spec, "shape": ", ".join(map(str, numbers.shape))}


def escaped(value: object, *, longest: int = 40) -> str:
    """A string for Plotly, which reads some tags and entities in every text."""
    return name(value, longest=longest).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def axis(label: object = "", **more: Json) -> Json:
    """An axis with its title."""
    return {"title": {"text": escaped(label, longest=80)}, "automargin": True, **more}


def category_axis(names: Sequence[object], label: object = "", **more: Json) -> Json:
    """An axis over 0..len(names)-1 with names as ticks, thinned beyond MOST_TICKS."""
    step = max(1, math.ceil(len(names) / MOST_TICKS))
    at = list(range(0, len(names), step))
    return axis(label, tickmode="array", tickvals=at, ticktext=[escaped(names[i], longest=24) for i in at], **more)


def tick_format(form: str) -> Json:
    """The axis format for "percent"; Plotly's own otherwise."""
    return {"tickformat": ".0%"} if form == "percent" else {}


def spread(values: Array, low: Json, high: Json) -> Json:
    """Error bars from interval ends (None: none there)."""
    if low is None or high is None:
        return None
    up, down = np.asarray(high, dtype=float) - values, values - np.asarray(low, dtype=float)
    return {
        "type": "data",
        "symmetric": False,
        "array": packed(up),
        "arrayminus": packed(down),
        "color": "var(--muted)",
        "thickness": 1,
        "width": 0,
    }


def bars(data: Mapping[str, Json]) -> Json:
    """Bars with intervals; long names or many bars lie on their side."""
    labels, values = list(data["labels"]), np.asarray(data["values"], dtype=float)
    form = "share" if data.get("format") == "percent" else ""
    sideways = bool(data.get("horizontal", len(labels) > 16))
    lit = set(data.get("highlight") or ())
    colours: Json = ["var(--accent)" if i in lit else "var(--quiet)" for i in range(len(labels))] if lit else "var(--mark)"
    counts = data.get("n")
    per = [f", n = {count:,}" for count in counts] if isinstance(counts, list) else [""] * len(labels)
    hover = [
        f"{escaped(label, longest=120)}: {number(v, form)}{' %' if form else ''}{per[i]}"
        for i, (label, v) in enumerate(zip(labels, values.tolist(), strict=True))
    ]
    places, interval = packed(range(len(labels)), "int32"), spread(values, data.get("low"), data.get("high"))
    trace = {
        "type": "bar",
        "orientation": "h" if sideways else "v",
        "marker": {"color": colours},
        "hoverinfo": "text",
        "hovertext": hover,
        "x": packed(values) if sideways else places,
        "y": places if sideways else packed(values),
    }
    if interval:
        trace["error_x" if sideways else "error_y"] = interval
    asked = bool(
        data.get("horizontal")
    )  # a figure that asks to lie names its axes as drawn; one laid down here names them as upright
    measured = axis(data.get("x_label" if asked else "y_label", ""), **tick_format(str(data.get("format", ""))))
    named = category_axis(
        labels, data.get("y_label" if asked else "x_label", ""), **({"autorange": "reversed"} if sideways else {})
    )
    height = min(1400, 90 + 20 * len(labels)) if sideways else 320
    return {
        "data": [trace],
        "layout": {"xaxis": measured if sideways else named, "yaxis": named if sideways else measured, "bargap": 0.25},
        "height": max(height, 180),
    }


def lines(data: Mapping[str, Json]) -> Json:
    """Lines, each with its interval as a band of the same colour."""
    traces: list[Json] = []
    for i, series in enumerate(data["series"]):
        own = int(series.get("colour", i)) % 8
        colour, group = f"var(--series-{own})", f"s{i}"
        x = packed(series["x"])
        if series.get("low") is not None and series.get("high") is not None:
            edge = {
                "type": "scatter",
                "mode": "lines",
                "x": x,
                "line": {"width": 0},
                "hoverinfo": "skip",
                "showlegend": False,
                "legendgroup": group,
            }
            traces += [
                {**edge, "y": packed(series["low"])},
                {**edge, "y": packed(series["high"]), "fill": "tonexty", "fillcolor": f"var(--band-{own})"},
            ]
        few = len(series["x"]) <= 40
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if few else "lines",
                "name": escaped(series["name"]),
                "x": x,
                "y": packed(series["y"]),
                "legendgroup": group,
                "marker": {"color": colour, "size": 5},
                "line": {"color": colour, "width": 2, "dash": "dot" if series.get("dashed") else "solid"},
            }
        )
    return {
        "data": traces,
        "height": 340,
        "layout": {
            "xaxis": line_axis(data),
            "yaxis": axis(data.get("y_label", ""), **({"type": "log"} if data.get("log_y") else {})),
            "showlegend": len(data["series"]) > 1,
        },
    }


def line_axis(data: Mapping[str, Json]) -> Json:
    """The x axis of lines: numbers, or the names of the places 0, 1, 2, ..."""
    if data.get("x_names"):
        names = list(data["x_names"])
        return category_axis(names, data.get("x_label", ""), range=[-0.3, len(names) - 0.7])
    return axis(data.get("x_label", ""), **({"type": "log"} if data.get("log_x") else {}))


def histogram(data: Mapping[str, Json]) -> Json:
    """Counts between edges, one step-bar trace a series, overlaid."""
    traces = []
    for i, series in enumerate(data["series"]):
        edges = np.asarray(series["edges"], dtype=float)
        traces.append(
            {
                "type": "bar",
                "name": escaped(series["name"]),
                "x": packed((edges[:-1] + edges[1:]) / 2),
                "width": packed(np.diff(edges)),
                "y": packed(series["counts"], "float64"),
                "marker": {"color": f"var(--series-{i % 8})", "line": {"width": 0}},
                "opacity": 0.65 if len(data["series"]) > 1 else 1.0,
            }
        )
    return {
        "data": traces,
        "height": 300,
        "layout": {
            "barmode": "overlay",
            "bargap": 0,
            "xaxis": axis(data.get("x_label", "")),
            "yaxis": axis(data.get("y_label", "")),
            "showlegend": len(traces) > 1,
        },
    }


def heatmap(data: Mapping[str, Json], values: Array) -> Json:
    """A matrix (R,C); a diverging scale about 0 where it has both signs. Rows run downwards."""
    rows, columns = values.shape
    row_names = list(data.get("row_labels") or range(rows))
    column_names = list(data.get("column_labels") or range(columns))
    signed = bool(np.nanmin(values) < 0 < np.nanmax(values)) if np.isfinite(values).any() else False
    most = float(np.nanmax(np.abs(values))) if signed else 0.0
    scale = ["var(--cold)", "var(--zero)", "var(--hot)"] if signed else ["var(--heat-0)", "var(--heat-1)", "var(--heat-2)"]
    trace = {
        "type": "heatmap",
        "z": packed(values),
        "colorscale": [[0, scale[0]], [0.5, scale[1]], [1, scale[2]]],
        "hoverinfo": "none",
        "xgap": 1 if columns <= 40 else 0,
        "ygap": 1 if rows <= 40 else 0,
        "colorbar": {"thickness": 8, "outlinewidth": 0, "len": 0.9},
        **({"zmin": -most, "zmax": most} if signed else {}),
    }
    square = rows == columns
    height = int(np.clip(140 + rows * (26 if rows <= 30 else 10), 220, 760))
    return {
        "data": [trace],
        "height": height,
        "rows": [name(r) for r in row_names],
        "columns": [name(c) for c in column_names],
        "layout": {
            "xaxis": category_axis(column_names, data.get("x_label", ""), showgrid=False, zeroline=False, constrain="domain"),
            "yaxis": category_axis(
                row_names,
                data.get("y_label", ""),
                autorange="reversed",
                showgrid=False,
                zeroline=False,
                **({"scaleanchor": "x", "constrain": "domain"} if square else {}),
            ),
        },
    }
