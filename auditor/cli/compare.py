"""`auditor compare A B`: what changed from one audit to another, image by image."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

from auditor.baseline import baseline_of
from auditor.cli.check import printable
from auditor.folder import Columns
from auditor.gate.classes import class_names
from auditor.gate.compare import Comparison, Difference, Turned, compare
from auditor.gate.likeness import Drift, Matched, likeness
from auditor.gate.words import number, signed, with_unit
from auditor.kept import read_features, read_peaks
from auditor.store import dumps, read_audit, write_bytes
from auditor.types import CHAPTERS

MOST_TOLD = 10


def run_compare(before: Path, today: Path, *, out: Path | None, json_: bool) -> str:
    """Compare two audit folders; writes the page and a CSV of every image that turned, and returns what is printed."""
    old, new = read_audit(before), read_audit(today)
    columns = Columns(today)
    found = compare(new, columns, baseline_of(old, Columns(before), made=""))
    names = class_names(new)
    seen = (read_features(before), read_features(today)), (read_peaks(before, old), read_peaks(today, new))
    found = dataclasses.replace(found, likeness=likeness(*seen, found.matched, columns["name"]))
    if json_:
        plain = {field.name: getattr(found, field.name) for field in dataclasses.fields(found) if field.name != "matched"}
        return dumps(plain).decode().rstrip("\n")
    page = out or today / f"compare-{before.resolve().name}.html"
    from auditor.report import render_comparison

    render_comparison(before, today, found, page)
    listed = page.with_suffix(".csv")
    write_bytes(listed, turned_csv(found, names).encode("utf-8", "backslashreplace"))
    return f"{told(found, names)}\n\npage     {page}\nimages   {listed}"


def told(found: Comparison, names: tuple[str, ...]) -> str:
    """The figures, the classes that are shown worse or better, and the first images that turned."""
    lines = [f"{found.before} -> {found.today}: {found.images:,} images in common ({100 * found.overlap:.1f} %)"]
    if found.relabelled:
        lines.append(f"{found.relabelled:,} of them have another label today, by which both sides are scored")
    if found.trouble:
        return "\n".join([*lines, f"not comparable: {found.trouble}"])
    place = {id: i for i, id in enumerate(CHAPTERS)}
    lines += ["", *(line(f) for f in sorted(found.figures, key=lambda f: place.get(f.id.partition(".")[0], len(place))))]
    shown = [c for c in found.classes if c.shown]
    lines += ["", *(f"class {line(figure)}" for figure in shown)] if shown else []
    if found.likeness is not None:
        lines += ["", *([drifted(found.likeness.drift)] if found.likeness.drift is not None else [])]
        lines += [*(units(layer) for layer in found.likeness.layers), *found.likeness.notes]
    for word, turned in (("newly wrong", found.broken), ("newly right", found.fixed)):
        lines += ["", f"{len(turned):,} {word}"]
        lines += [f"  {printable(t.name)}: {name_of(t.before, names)} -> {name_of(t.today, names)}" for t in turned[:MOST_TOLD]]
        lines += [f"  and {len(turned) - MOST_TOLD:,} more in the CSV"] if len(turned) > MOST_TOLD else []
    return "\n".join(lines)


def drifted(found: Drift) -> str:
    """`features of 2,000 images: CKA 0.912 (0.903 to 0.921); 74 % of each image's 10 nearest kept, 0.5 % by chance`."""
    inside = "" if found.low is None or found.high is None else f" ({found.low:.3f} to {found.high:.3f})"
    near = f"{found.kept:.1%} of each image's {found.neighbours} nearest kept, {found.chance:.1%} by chance"
    return f"features of {found.images:,} images: CKA {found.cka:.3f}{inside}; {near}"


def units(found: Matched) -> str:
    """`units of layer1.0.conv1: 14 of 16 have a counterpart, 14 of them in place`."""
    counts = f"{found.matched:,} of {found.today:,} have a counterpart, {found.in_place:,} of them in place"
    return printable(f"units of {found.layer}: {counts}; mean correlation {found.mean:.2f}, {found.chance:.2f} by chance")


def line(figure: Difference) -> str:
    """`performance.top1  80.5 % -> 79.1 %: -1.4 points (-2.6 to -0.3)  worse`."""
    if figure.difference is None or figure.before is None or figure.today is None:
        return printable(f"{figure.id}: {figure.trouble or 'no figure on one side'}")
    sides = [with_unit(number(x, figure.unit, 0), figure.unit) for x in (figure.before, figure.today)]
    unit = " points" if figure.unit == "share" else f" {figure.unit}" if figure.unit else ""
    inside = ""
    if figure.low is not None and figure.high is not None:
        inside = f" ({signed(figure.low, figure.unit, 0)} to {signed(figure.high, figure.unit, 0)})"
    counts = f"; {figure.broken} newly wrong, {figure.fixed} newly right, McNemar p = {figure.p or 0:.2g}"
    turned = counts if figure.broken or figure.fixed else ""
    shown = f"  {figure.shown.upper()}" if figure.shown else ""
    said = f"{figure.id}  {sides[0]} -> {sides[1]}: {signed(figure.difference, figure.unit, 0)}{unit}{inside}{turned}{shown}"
    return printable(said)


def name_of(number: int, names: tuple[str, ...]) -> str:
    """A class by name."""
    return printable(names[number]) if 0 <= number < len(names) else str(number)


def turned_csv(found: Comparison, names: tuple[str, ...]) -> str:
    """Every image that turned."""
    from auditor.exports.images import plain

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("turned", "position", "name", "label", "before", "today"))

    def add(word: str, turned: tuple[Turned, ...]) -> None:
        for t in turned:
            classes = (plain(name_of(number, names)) for number in (t.label, t.before, t.today))
            rows.writerow((word, t.position, plain(t.name), *classes))

    add("newly wrong", found.broken)
    add("newly right", found.fixed)
    return text.getvalue()
