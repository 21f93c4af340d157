"""Numbers and names as a reader sees them: shares in percent, the rest in three significant digits with their unit."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from auditor.types import AuditRecord, Json, Measure, Section, Value

LONGEST_NAME = 120
LONGEST_TEXT = 20_000
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def text(value: object, *, longest: int = LONGEST_TEXT) -> str:
    """Any value as text that is safe to show: control, direction and lone surrogate characters become U+FFFD, and it is cut."""
    shown = _SURROGATES.sub("\ufffd", _CONTROLS.sub("\ufffd", str(value)))
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def name(value: object, *, longest: int = LONGEST_NAME) -> str:
    """A class or file name on one line, cut after `longest` characters."""
    return text(value, longest=longest).replace("\n", "\ufffd").replace("\u2028", "\ufffd").replace("\u2029", "\ufffd")


def number(value: float | int | None, unit: str = "") -> str:
    """One figure without its unit: 0.8961 as "89.6" for a share, three significant digits (and whole counts in full) else."""
    if value is None or not math.isfinite(value):
        return "–"
    if unit == "share":
        share = 100.0 * value
        return f"{share:.2f}" if 0 < abs(share) < 1 else f"{share:.1f}"
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{int(value):,}"
    if 1e-4 <= abs(value) < 1e6:
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:,.{digits}f}"
    return f"{value:.2e}"


def unit_of(unit: str) -> str:
    """The unit as it stands behind a figure."""
    return "%" if unit == "share" else unit


def formatted(value: Json, form: str = "") -> str:
    """A table's cell: form "percent", "number", "integer" or "text"; without one by the type of the value."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return name(value, longest=400)
    if form == "percent":
        return f"{number(value, 'share')} %" if math.isfinite(value) else "–"
    if form == "integer":
        return f"{round(value):,}" if math.isfinite(value) else "–"
    return number(value)


@dataclass(frozen=True)
class Shown:
    """A Value ready for the page."""

    id: str
    title: str
    scope: str
    value: str
    unit: str
    interval: str
    n: str
    meaning: str
    direction: str
    flags: tuple[str, ...]
    void: bool


def shown(probe: str, key: str, value: Value, measures: Mapping[str, Measure]) -> Shown:
    """`value` of `probe` under `key` (measure, or measure.scope) in the words of its measure."""
    stem, _, scope = key.partition(".")
    measure = measures.get(stem)
    interval = ""
    if value.low is not None and value.high is not None:
        interval = f"{number(value.low, value.unit)} – {number(value.high, value.unit)}"
    direction = {"higher": "higher is better", "lower": "lower is better"}.get(measure.direction if measure else "", "")
    return Shown(
        id=f"{probe}.{key}",
        title=measure.title if measure else stem.replace("_", " "),
        scope=scope,
        value=number(value.value, value.unit),
        unit=unit_of(value.unit),
        interval=interval,
        n=f"{value.n:,}" if value.n is not None else "",
        meaning=measure.meaning if measure else "",
        direction=direction,
        flags=tuple(value.flags),
        void=any(f.startswith("void:") for f in value.flags),
    )


def all_shown(record: AuditRecord, section: Section) -> tuple[Shown, ...]:
    """Every value of a section, in the order of its probe's measures."""
    measures = {m.name: m for m in record.catalogue.get(section.id, ())}
    order = {m: i for i, m in enumerate(measures)}
    keys = sorted(section.values, key=lambda key: order.get(key.partition(".")[0], len(order)))
    return tuple(shown(section.id, key, section.values[key], measures) for key in keys)


FIRST = (
    "performance.top1",
    "performance.worst_class_recall",
    "calibration.ece",
    "performance.ece",
    "adversarial.robust_accuracy",
    "neighbours.label_agreement",
    "saliency.randomisation_spearman",
    "performance.macro_recall",
    "performance.top5",
    "filters.dead_fraction",
    "inversion.psnr",
    "embedding.knn_accuracy_full",
    "occlusion.deletion_auc",
)
"""The figures that a release turns on, most telling first; the gate's own failing figures stand before them."""


def headline(record: AuditRecord, failing: tuple[str, ...], *, most: int = 5) -> tuple[Shown, ...]:
    """The figures of the first screen: those that fail the gate, then the most telling ones that this audit holds."""
    found = {item.id: item for section in record.sections.values() for item in all_shown(record, section)}
    chosen: dict[str, Shown] = {id: found[id] for id in failing if id in found}
    for wanted in (*FIRST, *found):
        match = next((id for id in found if id == wanted or id.startswith(wanted + ".")), None)
        taken = any(match is not None and match.split(".")[:2] == id.split(".")[:2] for id in chosen)
        if match is not None and not taken:
            chosen[match] = found[match]
    return tuple(chosen.values())[:most]


def facts(tree: Json, path: str = "") -> Iterator[tuple[str, str]]:
    """A JSON tree as (dotted path, text) lines; lists on one line, cut."""
    if isinstance(tree, Mapping):
        for key, child in tree.items():
            yield from facts(child, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list | tuple):
        listed = ", ".join(formatted(item) for item in tree[:12])
        yield path, listed + (f", … ({len(tree)} in all)" if len(tree) > 12 else "")
    else:
        yield path, text(tree, longest=600) if isinstance(tree, str) else ("–" if tree is None else str(tree))
