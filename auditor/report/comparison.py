"""Two audits as one page: the difference of every figure, the classes, every image that turned, and where they lie on one map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from auditor import store
from auditor.gate.compare import Comparison, Difference, Turned
from auditor.gate.likeness import Drift, Moved
from auditor.report import engine, maps, svg
from auditor.report.page import class_names, sprite_data
from auditor.report.pictures import Files, read_sprite
from auditor.report.samples import Sample, Samples
from auditor.report.values import facts, name
from auditor.types import CHAPTERS, Array, AuditRecord, Json

MOST_TILES, MOST_LISTED, MOST_CLASSES, MOST_NEAR = 36, 2000, 60, 12
LONGEST = 24
"""Digits of a digest that are shown."""
KINDS = ("wrong in both", "right in both", "newly wrong", "newly right")
COLOURS = {"0": "--muted", "1": "--quiet", "2": "--fail", "3": "--pass"}
MAP = "turned-map"


@dataclass(frozen=True)
class Row:
    """One difference with its picture."""

    found: Difference
    title: str
    before: str
    today: str
    difference: str
    interval: str
    picture: Markup | None


@dataclass(frozen=True)
class Flip:
    """An image that turned, with what either model says of it."""

    sample: Sample
    name: str
    label: str
    before: str
    today: str


@dataclass(frozen=True)
class Near:
    """An image whose neighbours changed, with those of before and of today."""

    sample: Sample
    kept: int
    before: tuple[Sample, ...]
    today: tuple[Sample, ...]


def near(moved: Moved, samples: Samples) -> Near:
    """It with its thumbnails."""
    before, today = (tuple(samples[p] for p in side) for side in (moved.before, moved.today))
    return Near(samples[moved.position], moved.kept, before, today)


def drift_picture(found: Drift) -> Markup:
    """How many images kept how many of their neighbours."""
    kept = (
        f"{found.histogram[-1]:,} of {found.images:,} images kept all {found.neighbours} neighbours, {found.histogram[0]:,} none"
    )
    return svg.counts(
        found.histogram, x_label=f"of its {found.neighbours} nearest images, kept", words=f"Images by kept neighbours: {kept}."
    )


def row(found: Difference) -> Row:
    """A difference in words; the interval is drawn against no difference."""
    unit = found.unit
    points = " points" if unit == "share" else f" {unit}" if unit else ""
    sides = [svg.shown(x, unit) if x is not None else "–" for x in (found.before, found.today)]
    said = "–" if found.difference is None else svg.shown(found.difference, unit, signed=True) + points
    interval, picture = "", None
    if found.difference is not None and found.low is not None and found.high is not None:
        interval = f"{svg.shown(found.low, unit, signed=True)} to {svg.shown(found.high, unit, signed=True)}"
        ends = (found.low, found.high)
        least = {"higher": True, "lower": False}.get(found.better)
        picture = svg.interval(found.difference, ends, 0.0, least=least, unit=unit, signed=True)
    title = found.title + (f" of {name(found.scope)}" if found.scope else "")
    return Row(found, title, sides[0], sides[1], said, interval, picture)


def flip(turned: Turned, samples: Samples) -> Flip:
    """An image that turned, with its thumbnail."""
    said = [samples.class_name(number) for number in (turned.label, turned.before, turned.today)]
    return Flip(samples[turned.position], name(turned.name), said[0], said[1], said[2])


def comparison(before: Path, today: Path, found: Comparison) -> str:
    """The whole document."""
    old, new = store.read_audit(before), store.read_audit(today)
    files = Files(today)
    samples = Samples(store.read_columns(today), class_names(new), read_sprite(files))
    charts = chart_of(files, found, samples)
    script, library = engine.asset("app.js"), engine.plotly() if charts else ""
    context = {
        "found": found,
        "word": "Compared",
        "rows": [row(figure) for figure in in_order(found.figures)],
        "classes": [row(figure) for figure in class_rows(found)],
        "classes_cut": max(0, len(found.classes) - MOST_CLASSES),
        "broken": [flip(t, samples) for t in found.broken[:MOST_LISTED]],
        "fixed": [flip(t, samples) for t in found.fixed[:MOST_LISTED]],
        "most_tiles": MOST_TILES,
        **alike(found, samples),
        "map": MAP if charts else "",
        "map_height": charts[MAP]["height"] if charts else 0,
        "views": [view["name"] for view in charts[MAP]["views"]] if charts else [],
        "sides": sides(old, new),
        "sprite": samples.sprite,
    }
    data = engine.inert({"charts": charts, "samples": samples.table(), "sprite": sprite_data(samples)})
    return (
        engine.environment()
        .get_template("compare.html")
        .render(
            data=data,
            script=script,
            library=engine.compressed() if library else "",
            style=engine.asset("app.css"),
            policy=engine.policy(*([str(library)] if library else []), str(script)),
            **context,
        )
    )


def alike(found: Comparison, samples: Samples) -> dict[str, Json]:
    """What the page shows of how alike both see the images."""
    seen = found.likeness
    drift = None if seen is None else seen.drift
    return {
        "likeness": seen,
        "drift_picture": None if drift is None else drift_picture(drift),
        "nears": [] if drift is None else [near(moved, samples) for moved in drift.moved[:MOST_NEAR]],
    }


def in_order(figures: Sequence[Difference]) -> list[Difference]:
    """By the chapters of the report."""
    place = {id: i for i, id in enumerate(CHAPTERS)}
    return sorted(figures, key=lambda figure: place.get(figure.id.partition(".")[0], len(place)))


def class_rows(found: Comparison) -> list[Difference]:
    """The classes that changed most: the worst first, those that did not change at all left out where there are many."""
    if len(found.classes) <= MOST_CLASSES:
        return list(found.classes)
    by_size = sorted(found.classes, key=lambda c: (not c.shown, -abs(c.difference or 0.0)))[:MOST_CLASSES]
    return sorted(by_size, key=lambda c: (c.difference or 0.0, c.id))


def chart_of(files: Files, found: Comparison, samples: Samples) -> dict[str, Json]:
    """Today's map of the data, coloured by how the images turned; {} where the audit has no map."""
    views = []
    for title, file in (("t-SNE", "tsne.npy"), ("UMAP", "umap.npy"), ("PCA", "pca.npy")):
        array = files.array("embedding", file)
        if array is not None and len(array) == len(samples):
            views.append((title, np.asarray(array, dtype=float)))
    if not views or not len(found.matched[0]) or "correct" not in samples.columns:
        return {}
    kinds = kind_of(found, samples)
    positions = np.flatnonzero(kinds >= 0).astype(np.int64)
    coloured = Samples({**samples.columns, "label": kinds}, KINDS, samples.sprite)
    turned = np.isin(kinds[positions], (2, 3))
    few = positions if len(positions) <= maps.MOST_POINTS else thinned(positions, turned)
    spec, _ = maps.scatter({}, [(title, xy[few]) for title, xy in views], few, coloured)
    samples.mention(int(p) for p in few[np.isin(kinds[few], (2, 3))])
    return {MAP: {**spec, "colours": COLOURS}}


def thinned(positions: Array, turned: Array) -> Array:
    """Every image that turned, and as many of the others as a scatter holds, evenly taken."""
    kept = np.flatnonzero(turned)[: maps.MOST_POINTS]
    rest = np.flatnonzero(~turned)
    room = maps.MOST_POINTS - len(kept)
    step = max(1, -(-len(rest) // max(room, 1)))
    return np.asarray(positions[np.sort(np.concatenate([kept, rest[::step] if room else rest[:0]]))])


def kind_of(found: Comparison, samples: Samples) -> Array:
    """(N,) the place in KINDS of each of today's images; -1 where it is not in both, or has no label."""
    right = np.asarray(samples.columns["correct"], dtype=float)
    kinds = np.full(len(samples), -1, dtype=np.int64)
    matched = found.matched[0]
    kinds[matched] = np.where(np.isnan(right[matched]), -1, right[matched] > 0)
    kinds[[t.position for t in found.broken]] = 2
    kinds[[t.position for t in found.fixed]] = 3
    return kinds


def sides(old: AuditRecord, new: AuditRecord) -> list[tuple[str, str, str]]:
    """What the two audits are made from, where it differs."""
    rows = []
    for key, pick in (("model", "model"), ("preprocessing", "preprocess"), ("program", "versions")):
        one, two = (dict(facts(part(record, pick))) for record in (old, new))
        rows += [(f"{key}: {k}", one.get(k, "–"), two.get(k, "–")) for k in {**one, **two} if one.get(k) != two.get(k)]
    for key in ("listed", "quarantined", "label_rule"):
        rows.append((f"data: {key}", str(old.dataset.get(key, "–")), str(new.dataset.get(key, "–"))))
    return [(key, cut(key, one), cut(key, two)) for key, one, two in rows if one != two]


def cut(key: str, fact: str) -> str:
    """The first digits of a digest; another fact as it is."""
    return fact[:LONGEST] if key.endswith("digest") else fact


def part(record: AuditRecord, key: str) -> Mapping[str, Json]:
    """A table of the provenance."""
    found = record.provenance.get(key)
    return found if isinstance(found, Mapping) else {}
