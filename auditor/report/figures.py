"""Figure -> View: what the templates draw, with a static table behind every chart and words for every picture."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from auditor.report import charts, maps, sheets
from auditor.report.pictures import Files, Picture
from auditor.report.samples import Samples
from auditor.report.values import formatted, name, number, text
from auditor.types import Array, Figure, Json, Stamp

MOST_ROWS = 200
SMALLEST_TILE = 112
METHOD = "method."
"""Before the name of an attribution method in `Stamp.about`."""


@dataclass(frozen=True)
class Table:
    """Cells as text; `left` are the columns of words; `cut` says how many rows there were when not all are here."""

    head: list[str]
    rows: list[list[str]]
    left: tuple[int, ...] = (0,)
    cut: str = ""


@dataclass(frozen=True)
class View:
    """One figure on the page. `kind`: chart, table, gallery, sheet, pages, note or missing."""

    id: str
    kind: str
    title: str
    caption: str
    alt: str = ""
    height: int = 0
    table: Table | None = None
    body: Mapping[str, Json] = field(default_factory=dict)


@dataclass
class Drawing:
    """Draws the figures of one audit; gathers the charts' specifications by id."""

    files: Files
    samples: Samples
    specs: dict[str, Json] = field(default_factory=dict)
    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    """By what they are about."""
    places: dict[str, Json] = field(default_factory=dict)
    """Where a sheet's images stand in it, by the sheet's id."""

    def draw(self, probe: str, figure: Figure) -> View:
        """The view of a figure. What cannot be drawn is said in its place: a broken figure never hides the page."""
        id = re.sub("[^A-Za-z0-9_-]+", "-", f"{probe}-{figure.name}")
        while id in self.specs or id in self.places:
            id += "-"
        kinds: Mapping[str, Callable[[str, str, Figure], View]] = {
            "table": self.table,
            "gallery": self.gallery,
            "sheet": self.sheets,
            "pages": self.sheets,
            "note": self.note,
            "bars": self.chart,
            "lines": self.chart,
            "heatmap": self.chart,
            "histogram": self.chart,
            "scatter": self.scatter,
        }
        try:
            return kinds[figure.kind](id, probe, figure)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            why = f"This figure ({figure.kind}) could not be drawn: {type(error).__name__}: {error}"
            return View(id, "missing", figure.title, figure.caption, body={"text": text(why, longest=600)})

    def table(self, id: str, probe: str, figure: Figure) -> View:
        """kind table."""
        columns = figure.data["columns"]
        words = tuple(i for i, c in enumerate(columns) if c.get("format", "text") == "text")
        rows = [[formatted(row.get(c["key"]), c.get("format", "")) for c in columns] for row in figure.data["rows"]]
        table = Table([name(c["label"]) for c in columns], rows, words)
        return View(id, "table", figure.title, figure.caption, table=table)

    def note(self, id: str, probe: str, figure: Figure) -> View:
        """kind note."""
        return View(id, "note", figure.title, figure.caption, body={"text": figure.data["text"]})

    def chart(self, id: str, probe: str, figure: Figure) -> View:
        """kinds bars, lines, histogram, heatmap."""
        data = figure.data
        if figure.kind == "heatmap":
            matrix = self.matrix(probe, data)
            spec, table, words = (
                charts.heatmap(data, matrix),
                heat_table(data, matrix),
                f"Matrix of {matrix.shape[0]} by {matrix.shape[1]}",
            )
        elif figure.kind == "bars":
            spec, table, words = charts.bars(data), bar_table(data), bar_words(data)
        else:
            draw = charts.lines if figure.kind == "lines" else charts.histogram
            spec, table = draw(data), series_table(data)
            words = f"{figure.kind.capitalize()}: " + ", ".join(name(s["name"], longest=40) for s in data["series"][:8])
        self.specs[id] = spec
        return View(
            id,
            "chart",
            figure.title,
            figure.caption,
            f"{figure.title}. {words}. The same numbers stand in the table below.",
            spec["height"],
            table,
        )

    def matrix(self, probe: str, data: Mapping[str, Json]) -> Array:
        """(R,C) of a heatmap, from its file or its values."""
        found = self.files.array(probe, data["file"]) if data.get("file") else np.asarray(data["values"], dtype=float)
        if found is None:
            raise ValueError(f"the artifact {data['file']} is missing from the folder")
        return np.asarray(found, dtype=float)

    def scatter(self, id: str, probe: str, figure: Figure) -> View:
        """kind scatter."""
        data = figure.data
        views = [
            (v["name"], np.asarray(found, dtype=float))
            for v in data["views"]
            if (found := self.files.array(probe, v["file"])) is not None
        ]
        listed = self.files.array(probe, data["positions"]) if data.get("positions") else None
        if not views or (listed is None and data.get("positions")):
            raise ValueError("its coordinates are missing from the folder")
        positions = np.arange(len(views[0][1])) if listed is None else listed
        spec, told = maps.scatter(data, views, positions.astype(np.int64), self.samples)
        self.specs[id] = spec
        head, rows = maps.centres(views, positions.astype(np.int64), self.samples)
        return View(
            id,
            "chart",
            figure.title,
            f"{figure.caption} {told}".strip(),
            f"{figure.title}. Scatter of {told} Medians by class stand in the table below.",
            spec["height"],
            Table(head, rows[:MOST_ROWS], (0,), cut(len(rows))),
            {"views": [v["name"] for v in spec["views"]]},
        )

    def gallery(self, id: str, probe: str, figure: Figure) -> View:
        """kind gallery: rows of pictures. With one column it flows; with up to three, rows stand side by side; with `across`
        pictures in a line, a row takes as many lines as it needs.
        """
        data = figure.data
        columns = [name(c, longest=80) for c in data["columns"]]
        about = [self.stamps.get(f"{METHOD}{key}") if key else None for key in data.get("keys") or ()]
        rows = []
        for row in data["rows"]:
            sample = row.get("sample")
            if sample is not None:
                self.samples.mention((sample,))
            cells = [self.cell(probe, cell) if cell else None for cell in row["cells"]]
            rows.append(
                {"label": name(row["label"]), "note": text(row.get("note") or "", longest=400), "sample": sample, "cells": cells}
            )
        widest = max((len(r["cells"]) for r in rows), default=1)
        pictures = [c["picture"] for r in rows for c in r["cells"] if c and c["picture"]]
        body = {
            "columns": columns,
            "stamps": [stamp.verdict if stamp else "" for stamp in about] + [""] * (len(columns) - len(about)),
            "rows": rows,
            "scale": data.get("scale", ""),
            "width": min(widest, int(data.get("across") or widest)),
            "tile": tile_size(data, pictures),
            "pixelated": pixelated(data, pictures),
            "flow": "one" if widest == 1 else "few" if widest <= 3 or data.get("across") else "wide",
        }
        return View(id, "gallery", figure.title, figure.caption, body=body)

    def cell(self, probe: str, cell: Mapping[str, Json]) -> Json:
        """One picture of a gallery with its words."""
        return {
            "picture": self.files.picture(probe, cell["file"]),
            "file": name(cell["file"]),
            "label": name(cell.get("label") or ""),
            "note": text(cell.get("note") or "", longest=300),
        }

    def sheets(self, id: str, probe: str, figure: Figure) -> View:
        """kinds sheet and pages: a picture that holds a grid of tiles, or one for each of some images."""
        body = (
            sheets.sheet(self.files, probe, figure.data)
            if figure.kind == "sheet"
            else sheets.pages(self.files, probe, figure.data)
        )
        self.samples.mention(tuple(page["sample"] for page in body.get("pages", ()) if page["sample"] is not None))
        if figure.data.get("places"):
            self.pointed(id, probe, figure.data["places"])
        tiles = f"{figure.data['count']} tiles in {figure.data['columns']} columns."
        said = f"{figure.title}: {text(figure.data.get('alt') or tiles, longest=300)}"
        return View(id, figure.kind, figure.title, figure.caption, said, body=body)

    def pointed(self, id: str, probe: str, data: Mapping[str, Json]) -> None:
        """Where the images stand in a sheet, for the pointer: (m,3) position, left, top."""
        found = self.files.array(probe, data["file"])
        if found is not None:
            self.samples.mention(found[:, 0].tolist())
            self.places[id] = {"tile": int(data["tile"]), "boxes": charts.packed(found.ravel(), "int32")}


def tile_size(data: Mapping[str, Json], pictures: list[Picture]) -> int:
    """How wide a gallery's pictures stand, in CSS pixels."""
    asked = int(data.get("tile") or 0)
    return min(max(SMALLEST_TILE, asked or max((p.width for p in pictures), default=0)), 224)


def pixelated(data: Mapping[str, Json], pictures: list[Picture]) -> bool:
    """Whether pixels stay squares when a picture is enlarged."""
    return bool(data.get("pixelated", bool(pictures) and max(p.width for p in pictures) <= 64))


def cut(rows: int) -> str:
    """The sentence under a table that does not hold all rows."""
    return f"The first {MOST_ROWS:,} of {rows:,} rows." if rows > MOST_ROWS else ""


def bar_table(data: Mapping[str, Json]) -> Table:
    """Label, value, and interval and n where they are given."""
    form = str(data.get("format", ""))
    more = [(key, form if key != "n" else "integer") for key in ("low", "high", "n") if isinstance(data.get(key), list)]
    rows = [
        [name(label), formatted(value, form), *(formatted(data[key][i], f) for key, f in more)]
        for i, (label, value) in enumerate(zip(data["labels"], data["values"], strict=True))
    ]
    label = data.get("x_label") if data.get("horizontal") is not True else data.get("y_label")
    return Table([name(label or "name"), "value", *(key for key, _ in more)], rows[:MOST_ROWS], (0,), cut(len(rows)))


def bar_words(data: Mapping[str, Json]) -> str:
    """What a bar chart shows, in one sentence."""
    known = [
        (float(v), name(label, longest=40)) for label, v in zip(data["labels"], data["values"], strict=True) if v is not None
    ]
    if not known:
        return "Bar chart without a value"
    form = str(data.get("format", ""))
    low, high = min(known), max(known)
    return (
        f"Bar chart of {len(known)} values, from {formatted(low[0], form)} ({low[1]}) to {formatted(high[0], form)} ({high[1]})"
    )


def series_table(data: Mapping[str, Json]) -> Table:
    """Lines and histograms as one long table: series, x (or from, to), y."""
    rows: list[list[str]] = []
    edges = bool(data["series"]) and "edges" in data["series"][0]
    for series in data["series"]:
        if edges:
            steps = zip(series["edges"][:-1], series["edges"][1:], series["counts"], strict=True)
            rows += [[name(series["name"]), number(a), number(b), number(c)] for a, b, c in steps]
        else:
            rows += [[name(series["name"]), place(x, data), number(y)] for x, y in zip(series["x"], series["y"], strict=True)]
    x, y = name(data.get("x_label") or "x"), name(data.get("y_label") or "y")
    return Table(["series", f"{x} from", "to", y] if edges else ["series", x, y], rows[:MOST_ROWS], (0,), cut(len(rows)))


def place(x: float, data: Mapping[str, Json]) -> str:
    """A line's x in words: its name where the axis has names."""
    return name(data["x_names"][int(x)]) if data.get("x_names") else number(x)


def heat_table(data: Mapping[str, Json], values: Array) -> Table:
    """The whole matrix up to 20 by 20, else its largest cells off the diagonal (or its largest, when not square)."""
    rows, columns = values.shape
    down = [name(r) for r in data.get("row_labels") or range(rows)]
    across = [name(c) for c in data.get("column_labels") or range(columns)]
    if rows <= 20 and columns <= 20:
        return Table(["", *across], [[down[r], *(number(v) for v in values[r].tolist())] for r in range(rows)])
    ranked = np.where(np.isfinite(values), np.abs(values), -1.0)
    if rows == columns:
        np.fill_diagonal(ranked, -1.0)
    best = np.argsort(-ranked, axis=None, kind="stable")[:50]
    listed = [
        [down[i // columns], across[i % columns], number(float(values.flat[i]))] for i in best.tolist() if ranked.flat[i] > 0
    ]
    told = f"The {len(listed)} largest of {rows * columns:,} cells{' off the diagonal' if rows == columns else ''}."
    return Table([name(data.get("y_label") or "row"), name(data.get("x_label") or "column"), "value"], listed, (0, 1), told)
