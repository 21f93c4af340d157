"""judge(audit, policy): a pure function. What cannot be shown good is never passed.

A rule on a figure ends as

    pass          its one-sided bound is on the right side of the line (the value itself if it is exact or `decide = "point"`)
    fail          its other bound is on the wrong side; under `level = "warn"` this is `warn`
    inconclusive  neither, or the figure has no finite value, no bounds, or a flag that makes it void
    incomplete    there is no figure: its probe failed, did not apply, or was left out; whatever the rule's level

`on_inconclusive = "pass"` speaks only of the first kind of inconclusive: a figure without bounds, without a finite value or with
a void flag passes under no policy. Under `level = "warn"` an inconclusive rule is a `warn` too: such a rule blocks no release.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from auditor.bounds import rebound, samples_to_decide
from auditor.config import GateSettings, Rule
from auditor.gate.behind import samples
from auditor.gate.classes import class_names, name_of, worst_class
from auditor.gate.match import Case, cases, require_known
from auditor.gate.verdict import verdict
from auditor.gate.words import clean, real, sentence
from auditor.types import Array, AuditRecord, Json, Outcome, Value, Verdict

__all__ = ["judge", "require_known"]

State: TypeAlias = Literal["pass", "fail", "undecided", "unusable"]
"""`undecided`: only the sampling error stands between; `unusable`: no figure that a rule could pass on."""


def judge(record: AuditRecord, columns: Mapping[str, Array], policy: GateSettings) -> Verdict:
    """The verdict on an audit. `columns`: those of predictions.parquet, (N,) each; read only for intervals and for images.

    Raises PolicyError where a rule names a probe, a measure or a scope that the audit does not know.
    """
    found = [case for rule in policy.rules for case in cases(record, rule)]
    return verdict(tuple(outcome(case, record, columns, policy) for case in found), record, policy)


def outcome(case: Case, record: AuditRecord, columns: Mapping[str, Array], policy: GateSettings) -> Outcome:
    """One rule on one figure."""
    if case.value is None:
        return Outcome(case.id, "incomplete", sentence(case, None, None), as_json(case))
    low, high = rebound(case.value, columns, policy.confidence)
    state, remark = state_of(case.value, low, high, case.rule, policy)
    name, aside = settled(state, case.rule)
    value, needed = case.value, None
    if state == "undecided":
        bounded = Value(value.value, value.kind, value.unit, n=value.n, k=value.k, low=low, high=high)
        needed = samples_to_decide(bounded, case.rule.line, confidence=policy.confidence)
    names = class_names(record)
    remarks = "; ".join(part for part in (worst_named(case, columns, names, record), remark, aside) if part)
    return Outcome(
        id=case.id,
        verdict=name,
        sentence=sentence(case, low, high, remarks),
        rule=as_json(case),
        value=real(value.value),
        low=low,
        high=high,
        n=value.n,
        needed=needed,
        samples=samples(case, columns, names) if name != "pass" else (),
    )


def state_of(value: Value, low: float | None, high: float | None, rule: Rule, policy: GateSettings) -> tuple[State, str]:
    """Where a figure stands to the line, and what the sentence has to say of it."""
    at = real(value.value)
    void = next((flag for flag in value.flags if flag.startswith("void:")), None)
    if void is not None:
        return "unusable", f"it is void: {clean(void.removeprefix('void:').strip(), longest=300)}"
    if at is None:
        return "unusable", ""
    if value.kind == "exact" or policy.decide == "point":
        good = at >= rule.line if rule.at_least is not None else at <= rule.line
        return ("pass" if good else "fail"), ("" if value.kind == "exact" else "judged by the value alone")
    if low is None or high is None:
        return "unusable", "it has no interval"
    if rule.at_least is not None:
        return ("pass" if low >= rule.line else "fail" if high < rule.line else "undecided"), ""
    return ("pass" if high <= rule.line else "fail" if low > rule.line else "undecided"), ""


def settled(state: State, rule: Rule) -> tuple[Literal["pass", "fail", "warn", "inconclusive"], str]:
    """The outcome that level and on_inconclusive make of a state, and what the sentence has to say of that."""
    bad: Literal["fail", "warn"] = "warn" if rule.level == "warn" else "fail"
    if state == "pass":
        return "pass", ""
    if state == "fail":
        return bad, ""
    if rule.on_inconclusive == "fail":
        return bad, "undecided, which the policy counts as failed"
    if rule.on_inconclusive == "pass" and state == "undecided":
        return "pass", "undecided, which the policy lets pass"
    return ("warn", "undecided") if rule.level == "warn" else ("inconclusive", "")


def worst_named(case: Case, columns: Mapping[str, Array], names: tuple[str, ...], record: AuditRecord) -> str:
    """Which class the lowest recall is of; "" for another measure."""
    if f"{case.rule.probe}.{case.rule.name}" != "performance.worst_class_recall":
        return ""
    worst = worst_class(columns)
    values = record.sections["performance"].values
    return "" if worst is None else f"the class is {clean(name_of(worst, columns, names, values))}"


def as_json(case: Case) -> Mapping[str, Json]:
    """The rule as gate.json holds it, its scope spelt out."""
    rule = case.rule.model_dump(mode="json", exclude_none=True)
    return {**rule, "measure": f"{case.rule.probe}.{case.rule.name}"} | ({"scope": case.scope} if case.scope else {})
