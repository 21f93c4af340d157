"""Which figures of an audit a rule is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from auditor.config import Rule
from auditor.errors import PolicyError
from auditor.types import AuditRecord, Measure, Value


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

    @property
    def id(self) -> str:
        """`performance.top1`, `inversion.psnr.blocks.2`."""
        return ".".join(part for part in (self.rule.probe, self.rule.name, self.scope) if part)


def cases(record: AuditRecord, rule: Rule) -> tuple[Case, ...]:
    """The figures of a rule, at least one.

    With a scope that one; without, the figure itself, or each of its scopes where it has only those. A probe that did not run
    gives one case without a value. Raises PolicyError where the audit knows no such probe, measure or scope.
    """
    require_known(rule, record.catalogue, record.sections)
    section = record.sections.get(rule.probe)
    values = section.values if section is not None else {}
    measure = next((m for m in record.catalogue.get(rule.probe, ()) if m.name == rule.name), None)
    if section is None or section.status != "done":
        return (Case(rule, measure, rule.part, trouble=not_done(record, rule.probe)),)
    scopes = sorted(key.partition(".")[2] for key in values if key.startswith(rule.name + "."))
    if rule.part and rule.part not in scopes and (scopes or rule.name in values):
        raise PolicyError(unknown(rule, f"scope {rule.part!r}", rule.part, scopes))
    wanted = [rule.part] if rule.part else [""] if rule.name in values or not scopes else scopes
    return tuple(case(rule, measure, scope, values.get(f"{rule.name}.{scope}" if scope else rule.name)) for scope in wanted)


def require_known(rule: Rule, catalogue: Mapping[str, Sequence[Measure]], others: Iterable[str] = ()) -> None:
    """Raise PolicyError where a rule names no probe or no measure: before a run by the registry, on an audit by its catalogue.

    `catalogue`: probe id -> its measures; `others`: probes whose measures are not known, as they were left out.
    """
    if rule.probe not in catalogue:
        if rule.probe not in others:
            raise PolicyError(unknown(rule, f"probe {rule.probe!r}", rule.probe, [*catalogue, *others]))
    elif rule.name not in (measure.name for measure in catalogue[rule.probe]):
        wanted, listed = f"{rule.probe}.{rule.name}", [f"{probe}.{m.name}" for probe, of in catalogue.items() for m in of]
        raise PolicyError(unknown(rule, f"measure {wanted}", wanted, listed))
    else:
        unit = next(measure.unit for measure in catalogue[rule.probe] if measure.name == rule.name)
        if unit in ("share", "probability") and not 0 <= rule.line <= 1:
            raise PolicyError(
                f"rule on {rule.probe}.{rule.name}: a {unit} lies between 0 and 1, got {rule.line:g}; write 5 % as 0.05"
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
