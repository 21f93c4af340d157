"""Which figures of an audit a rule is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np

from auditor.config import Rule
from auditor.config.gate import outcome_id
from auditor.config.moved import name_in
from auditor.errors import PolicyError
from auditor.gate.classes import RECALL, class_names, recalls, scope_names
from auditor.gate.material import SLICE, material, remade
from auditor.types import Array, AuditRecord, Measure, Value

MOST_SLICES = 1000
"""Values of a column up to which a rule may be on each of them."""


@dataclass(frozen=True)
class Case:
    """A rule on one figure."""

    rule: Rule
    measure: Measure | None
    """As the audit's catalogue describes it; None where the probe did not run."""
    scope: str = ""
    value: Value | None = None
    trouble: str = ""
    """Why there is no figure: the rest of a sentence that begins with the figure's title."""
    slice: str = ""
    """`column=value`; "" for all images."""
    rows: Array | None = None
    """(N,) bool: the images of the slice."""

    @property
    def id(self) -> str:
        """`performance.top1`, `inversion.psnr.blocks.2`, `performance.top1[mark=clean]`."""
        return outcome_id(self.rule.probe, self.rule.name, self.scope, of=self.slice)


@dataclass(frozen=True)
class Cases:
    """All figures of a rule."""

    rule: Rule
    members: tuple[Case, ...]
    many: bool
    """On each class or each slice: its error is held over all of them."""


def cases(record: AuditRecord, rule: Rule, columns: Mapping[str, Array], *, given: bool = False) -> Cases:
    """The figures of a rule, at least one. `given`: by a preset, which may name what this audit does not know.

    With a scope that one; without, the figure itself, or each of its scopes where it has only those. A probe that did not run
    gives one case without a value. Raises PolicyError where the audit knows no such probe, measure, scope or slice.
    """
    rule = as_called(rule, record.catalogue)
    if given and not knows(record, rule):
        return Cases(rule, (Case(rule, None, rule.part, trouble=f"is missing: this audit has no {rule.measure}"),), many=False)
    require_known(rule, record.catalogue, record.sections)
    section = record.sections.get(rule.probe)
    measure = next((m for m in record.catalogue.get(rule.probe, ()) if m.name == rule.name), None)
    if section is None or section.status != "done":
        none = Case(rule, measure, rule.part, trouble=not_done(record, rule.probe), slice=rule.slice or "")
        return Cases(rule, (none,), many=False)
    values, names = section.values, class_names(record)
    by_class = (rule.probe, rule.name) == RECALL
    if by_class and (not rule.part or f"{rule.name}.{rule.part}" not in values):
        values = {**values, **{f"{rule.name}.{scope}": value for scope, value in recalls(columns, names).items()}}
    scopes = ordered([key.partition(".")[2] for key in values if key.startswith(rule.name + ".")], scope_names(names))
    if rule.part and rule.part not in scopes and (scopes or rule.name in values):
        raise PolicyError(unknown(rule, f"scope {rule.part!r}", rule.part, scopes))
    wanted = [rule.part] if rule.part else [""] if rule.name in values or not scopes else scopes
    found = tuple(case(rule, measure, scope, values.get(f"{rule.name}.{scope}" if scope else rule.name)) for scope in wanted)
    classes = not rule.part and wanted == scopes and (by_class or set(scopes) <= set(scope_names(names)))
    if rule.slice is None:
        return Cases(rule, found, many=classes)
    sliced = tuple(part for one in found for part in slices(one, columns, names))
    many = classes or "=" not in rule.slice
    held = tuple(part for part in sliced if part.value is None or part.value.n) if many else ()  # a class is not in every slice
    return Cases(rule, held or sliced, many=many)


def knows(record: AuditRecord, rule: Rule) -> bool:
    """The audit has this probe, and this measure of it, or left the probe out."""
    measures = record.catalogue.get(rule.probe)
    return rule.name in {m.name for m in measures} if measures is not None else rule.probe in record.sections


def ordered(scopes: Sequence[str], names: Sequence[str]) -> list[str]:
    """By the class they name, else by their own name."""
    place = {name: i for i, name in enumerate(names)}
    return sorted(scopes, key=lambda scope: (place.get(scope, len(place)), scope))


def slices(one: Case, columns: Mapping[str, Array], names: tuple[str, ...]) -> tuple[Case, ...]:
    """A case on the images of its slice, or one for each value of the column."""
    rule = one.rule
    column, equals, wanted = (rule.slice or "").partition("=")
    known = sorted(name.removeprefix(SLICE) for name in columns if name.startswith(SLICE))
    if column not in known:
        raise PolicyError(unknown(rule, f"column {column!r} of the manifest", column, known))
    entries = np.array(["" if entry is None else str(entry) for entry in columns[SLICE + column]], dtype=object)
    held = sorted(set(entries))
    if equals and wanted not in held:
        raise PolicyError(unknown(rule, f"slice {rule.slice!r}", wanted, held))
    if not equals and len(held) > MOST_SLICES:
        raise PolicyError(f"rule on {rule.measure}: {column} has {len(held):,} values, expected at most {MOST_SLICES:,}")
    found = material(rule.probe, rule.name, one.scope, one.value, columns, names)
    if one.value is not None and found is None:
        raise PolicyError(f"rule on {rule.measure}: this figure is not made image by image, so it has no slice; take slice out")
    parts = []
    for entry in [wanted] if equals else held:
        rows = entries == entry
        value = remade(one.value, found, rows) if one.value is not None and found is not None else None
        parts.append(replace(one, value=value, slice=f"{column}={entry}", rows=rows))
    return tuple(parts)


def as_called(rule: Rule, catalogue: Mapping[str, Sequence[Measure]]) -> Rule:
    """The rule with its figure as the catalogue calls it, where that has moved to another probe."""
    found = name_in(rule.measure, {f"{probe}.{measure.name}" for probe, of in catalogue.items() for measure in of})
    return rule if found == rule.measure else rule.model_copy(update={"measure": found})


def require_known(rule: Rule, catalogue: Mapping[str, Sequence[Measure]], others: Iterable[str] = ()) -> None:
    """Raise PolicyError where a rule names no probe or no measure: before a run by the registry, on an audit by its catalogue.

    `catalogue`: probe id -> its measures; `others`: probes whose measures are not known, as they were left out.
    """
    rule = as_called(rule, catalogue)
    if rule.probe not in catalogue:
        if rule.probe not in others:
            raise PolicyError(unknown(rule, f"probe {rule.probe!r}", rule.probe, [*catalogue, *others]))
        return
    measure = next((measure for measure in catalogue[rule.probe] if measure.name == rule.name), None)
    if measure is None:
        wanted, listed = f"{rule.probe}.{rule.name}", [f"{probe}.{m.name}" for probe, of in catalogue.items() for m in of]
        raise PolicyError(unknown(rule, f"measure {wanted}", wanted, listed))
    if measure.unit in ("share", "probability") and not 0 <= rule.line <= 1:
        raise PolicyError(
            f"rule on {rule.probe}.{rule.name}: a {measure.unit} lies between 0 and 1, got {rule.line:g}; write 5 % as 0.05"
        )
    if rule.paired and measure.direction == "none":
        raise PolicyError(
            f"rule on {rule.probe}.{rule.name}: neither more nor less of it is better, so no baseline can be held to; "
            "expected at_least or at_most"
        )


def case(rule: Rule, measure: Measure | None, scope: str, value: Value | None) -> Case:
    """A case of a probe that is done: what it was asked for and did not bring is said."""
    return Case(rule, measure, scope, value, "" if value is not None else "was not measured on these data")


def not_done(record: AuditRecord, probe: str) -> str:
    """Why a probe brought nothing."""
    section = record.sections.get(probe)
    if section is None:
        return f"is missing: the probe {probe} was not run"
    words = {"failed": "failed", "not_applicable": "does not apply", "skipped": "was left out"}
    reason = f" ({section.reason})" if section.reason else ""
    return f"is missing: the probe {probe} {words.get(section.status, 'was not run')}{reason}"


def unknown(rule: Rule, what: str, name: str, known: Iterable[str]) -> str:
    """A rule that matches nothing, with what there is."""
    names = list(dict.fromkeys(known))
    close = get_close_matches(name, names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    listed = ", ".join(names[:60]) + (f", ... ({len(names)} in all)" if len(names) > 60 else "")
    return f"rule on {rule.measure}: there is no {what}{hint}; there is {listed or 'none'}"
