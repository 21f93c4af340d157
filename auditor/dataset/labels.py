"""Labels meet logits by name. Position is the last resort, only where names are unknown, and stamped."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auditor.errors import LabelError
from auditor.types import Array

Label = str | int | None
"""A folder or manifest name, an index of the logits, or nothing."""

POSITION = "labels meet logits by sorted position"


@dataclass(frozen=True)
class Meeting:
    """Which logit each sample belongs to, and by which rule."""

    labels: Array
    """(N,) int64, -1 without a label."""
    classes: tuple[str, ...]
    """Names of the logits; empty where unknown."""
    rule: str
    warnings: tuple[str, ...] = ()


def short(names: Iterable[object], most: int = 6) -> str:
    """The first names of a list, and how many there are."""
    known = [str(n) if len(str(n)) <= 40 else str(n)[:37] + "..." for n in names]
    tail = f", ... ({len(known)} in all)" if len(known) > most else ""
    return "[" + ", ".join(known[:most]) + tail + "]"


def read_text(path: Path, what: str) -> str:
    """UTF-8 text of a small file given by the user."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{what} expects a readable UTF-8 file; got {path} ({type(error).__name__}); check the path") from error


def parsed(path: Path, what: str) -> object:
    """The JSON value of a file."""
    try:
        return json.loads(read_text(path, what))
    except json.JSONDecodeError as error:
        raise LabelError(f"{what} {path} is not valid JSON (line {error.lineno}); correct it") from error


def read_classes(path: Path) -> tuple[str, ...]:
    """Names of the logits in order: one a line, a JSON list, or a JSON object of index -> name."""
    if path.suffix.lower() != ".json":
        return tuple(line.strip() for line in read_text(path, "--classes").splitlines() if line.strip())
    value = parsed(path, "--classes")
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if isinstance(value, dict) and sorted(value) == sorted(str(i) for i in range(len(value))):
        return tuple(str(value[str(i)]) for i in range(len(value)))
    raise LabelError(f"--classes {path} expects a list of names or an object of index -> name from 0 on; correct it")


def read_label_map(path: Path) -> dict[str, str | int]:
    """Folder or label -> class name or index: a JSON object, or a CSV with two columns (a header `label,class` is skipped)."""
    if path.suffix.lower() == ".json":
        value = parsed(path, "--label-map")
        if not isinstance(value, dict) or not all(isinstance(v, str | int) and not isinstance(v, bool) for v in value.values()):
            raise LabelError(f"--label-map {path} expects an object of label -> class name or index; correct it")
        return {str(k): v for k, v in value.items()}
    rows = [row for row in csv.reader(read_text(path, "--label-map").splitlines()) if row]
    if any(len(row) != 2 for row in rows):
        raise LabelError(f"--label-map {path} expects two columns, label and class; got a row of another width; correct it")
    if rows and [cell.strip().lower() for cell in rows[0]] in (["label", "class"], ["folder", "class"]):
        rows = rows[1:]
    return {a.strip(): int(b) if is_index(b.strip()) else b.strip() for a, b in rows}


def is_index(text: str) -> bool:
    """A non-negative whole number in ASCII digits."""
    return bool(re.fullmatch(r"[0-9]+", text))


def loose(name: str) -> str:
    """Without case, spaces and underscores."""
    return re.sub(r"[\s_]+", "", name).casefold()


def match(wanted: Sequence[str], names: Sequence[str]) -> tuple[dict[str, int], list[str], list[str]]:
    """(label -> index, labels that meet no name, labels that meet several): exact, then loose, then the first synonym."""
    forms: tuple[Callable[[str], str], ...] = (str, loose, lambda n: loose(n.split(",")[0]))
    tables: list[dict[str, list[int]]] = []
    for form in forms:
        table: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            table.setdefault(form(name), []).append(i)
        tables.append(table)
    found: dict[str, int] = {}
    several: list[str] = []
    for label in wanted:
        for form, table in zip(forms, tables, strict=True):
            hits = table.get(form(label), [])
            if len(hits) == 1:
                found[label] = hits[0]
            if hits:
                if len(hits) > 1:
                    several.append(label)
                break
    return found, [w for w in wanted if w not in found and w not in several], several


def by_name(wanted: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Label -> index. Raises LabelError with both lists where one meets none, or several."""
    found, missing, several = match(wanted, names)
    if missing:
        raise LabelError(
            f"labels {short(missing)} meet none of the {len(names)} class names of the model {short(names)}; "
            "give --label-map or --classes"
        )
    if several:
        raise LabelError(f"labels {short(several)} meet more than one class of the model {short(names)}; give --label-map")
    return found


def in_range(indices: Iterable[int], outputs: int) -> None:
    """Raise LabelError where an index has no logit (-1 means unlabelled)."""
    beyond = sorted({i for i in indices if i < -1 or i >= outputs})
    if beyond:
        raise LabelError(
            f"labels {short(beyond)} are beyond the {outputs} logits (0 to {outputs - 1}); "
            "correct the labels, give --label-map, or audit the model they belong to"
        )


def by_map(wanted: Sequence[str], table: Mapping[str, str | int], names: Sequence[str], outputs: int) -> dict[str, int]:
    """Label -> index by --label-map."""
    missing = [w for w in wanted if w not in table]
    if missing:
        raise LabelError(f"labels {short(missing)} are not in --label-map, which has {short(table)}; add them")
    targets = {w: table[w] for w in wanted}
    words = sorted({t for t in targets.values() if isinstance(t, str)})
    if words and not names:
        raise LabelError(f"--label-map gives class names {short(words)}, but the model has none; use indices or give --classes")
    found = by_name(words, names) if words else {}
    result = {w: found[t] if isinstance(t, str) else t for w, t in targets.items()}
    in_range(result.values(), outputs)
    return result


def meet(
    given: Sequence[Label],
    outputs: int,
    *,
    names: Sequence[str] | None = None,
    folders: Sequence[str] = (),
    shown: Mapping[int, str] | None = None,
    classes_file: Path | None = None,
    label_map: Path | None = None,
) -> Meeting:
    """Give each sample its logit. `folders`: class folders, empty ones too; `shown`: index -> class_name of a manifest.

    Raises LabelError, which shows both lists.
    """
    known = tuple(read_classes(classes_file)) if classes_file is not None else tuple(names or ())
    if known and outputs and len(known) != outputs:
        source = f"--classes {classes_file}" if classes_file is not None else "the model"
        raise LabelError(f"{source} names {len(known)} classes {short(known)} for {outputs} logits; give one name for each")
    wanted = sorted({str(g) for g in given if g is not None and g != -1} | set(folders))
    if not wanted:
        return Meeting(np.full(len(given), -1, dtype=np.int64), known, "unlabelled")
    table, rule, classes, warnings = resolve(wanted, given, outputs, known, shown or {}, label_map)
    labels = [-1 if g is None or g == -1 else table[str(g)] for g in given]
    return Meeting(np.array(labels, dtype=np.int64), classes, rule, warnings)


def resolve(
    wanted: Sequence[str],
    given: Sequence[Label],
    outputs: int,
    known: tuple[str, ...],
    shown: Mapping[int, str],
    label_map: Path | None,
) -> tuple[dict[str, int], str, tuple[str, ...], tuple[str, ...]]:
    """(label -> index, rule, names of the logits, warnings) by the first rule that applies."""
    if label_map is not None:
        return by_map(wanted, read_label_map(label_map), known, outputs or 2**31), "by --label-map", known, ()
    numbers = any(isinstance(g, int) for g in given)
    if known and not numbers:
        _, missing, _ = match(wanted, known)
        if not missing or not all(is_index(w) for w in wanted):
            return by_name(wanted, known), "by name", known, ()
    if numbers or all(is_index(w) for w in wanted):
        table = {w: int(w) for w in wanted}
        if outputs:
            in_range(table.values(), outputs)
        classes, warnings = merged(known, shown, outputs)
        return table, "integers are the indices of the logits", classes, warnings
    if not outputs:
        return {w: i for i, w in enumerate(wanted)}, "no logits: names in sorted order", tuple(wanted), ()
    if len(wanted) == outputs:
        return {w: i for i, w in enumerate(wanted)}, "by sorted position", tuple(wanted), (POSITION,)
    raise LabelError(
        f"{len(wanted)} labels {short(wanted)} cannot meet {outputs} logits, whose names are unknown; "
        "give --classes FILE (one name a logit) or --label-map FILE"
    )


def merged(known: tuple[str, ...], shown: Mapping[int, str], outputs: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the logits with those of a class_name column where the model has none, and a warning where they disagree."""
    if not shown:
        return known, ()
    if not known:
        return tuple(shown.get(i, str(i)) for i in range(outputs or max(shown) + 1)), ()
    odd = [i for i, name in shown.items() if i < len(known) and loose(name) not in {loose(n) for n in known[i].split(",")}]
    if 2 * len(odd) <= len(shown):
        return known, ()
    pairs = short([f"{i}: {shown[i]} / {known[i]}" for i in sorted(odd)], 3)
    return known, (f"class_name and the model's names disagree for {len(odd)} of {len(shown)} classes {pairs}",)
