"""The outcomes of all rules, and of coverage, as one verdict with its exit code."""

from __future__ import annotations

from collections.abc import Mapping

from auditor.config import GateSettings
from auditor.gate.words import number, real
from auditor.types import AuditRecord, Json, Outcome, Verdict

CODES: Mapping[str, int] = {"fail": 1, "incomplete": 3, "inconclusive": 4, "warn": 0, "pass": 0}
"""Outcome -> exit code. The first that holds is the verdict: a failure beats what is missing, that beats what is undecided."""

COVERAGE = "ledger.coverage"


def verdict(outcomes: tuple[Outcome, ...], record: AuditRecord, policy: GateSettings) -> Verdict:
    """All outcomes with that of coverage, which holds without a rule; not gated where there is no rule and coverage holds."""
    covered = coverage(record.dataset, policy.coverage)
    judged = (*outcomes, covered) if outcomes or covered.verdict != "pass" else ()
    if not judged:
        name, code = "not_gated", 0
    else:
        name, code = next(((n, c) for n, c in CODES.items() if any(o.verdict == n for o in judged)), ("pass", 0))
    said = why(name, judged, point=policy.decide == "point")
    return Verdict(name, code, said, judged, policy.model_dump(mode="json"), policy.digest)  # type: ignore[arg-type]


def coverage(ledger: Mapping[str, Json], least: float) -> Outcome:
    """The share of the listed images that were used, against the least that the policy allows; unknown is not enough."""
    share, listed = real(ledger.get("coverage")), ledger.get("listed")
    asked = f"at least {100 * least:.10g} % was asked for."
    rule = {"measure": COVERAGE, "at_least": least, "level": "fail"}
    if share is None:
        return Outcome(COVERAGE, "incomplete", f"The audit does not say how many of the listed images were used; {asked}", rule)
    digits = 0 if number(share, "share", 0) != number(least, "share", 0) or share == least else 3
    count = listed if isinstance(listed, int) else None
    of = "the listed images" if count is None else f"{count:,} listed images"
    said = f"{number(share, 'share', digits)} % of {of} could be used; {asked}"
    return Outcome(COVERAGE, "pass" if share >= least else "incomplete", said, rule, share, n=count)


def why(name: str, outcomes: tuple[Outcome, ...], *, point: bool) -> str:
    """One or two sentences for a release engineer: the first of what decided, and how much else stands beside it."""
    if name == "not_gated":
        return "No rules were given, so nothing was judged."
    rules = [o for o in outcomes if o.id != COVERAGE]
    how = " on the values alone, without regard to sampling error" if point else ""
    if name == "pass":
        return f"{counted(len(rules), 'rule')} {'holds' if len(rules) == 1 else 'hold'}{how}."
    decisive = [o for o in outcomes if o.verdict == name]
    first, more = decisive[0], len(decisive) - 1
    told = first.sentence + (f" {needed(first)}" if first.needed else "")
    others = [f"{more} more {'rule' if more == 1 else 'rules'} {WORDS[name][0 if more == 1 else 1]}"] if more else []
    for other in ("incomplete", "inconclusive"):
        count = sum(o.verdict == other for o in outcomes)
        if count and list(CODES).index(other) > list(CODES).index(name):
            others.append(f"{count} {WORDS[other][0 if count == 1 else 1]}")
    lead = {"warn": f"No rule that blocks fails{how}. "}.get(name, "")
    return lead + told + (f" Besides, {' and '.join(others)}." if others else "")


WORDS: Mapping[str, tuple[str, str]] = {
    "fail": ("fails", "fail"),
    "incomplete": ("could not be judged", "could not be judged"),
    "inconclusive": ("is undecided", "are undecided"),
    "warn": ("warns", "warn"),
}


def needed(outcome: Outcome) -> str:
    """What would decide it."""
    return f"About {outcome.needed:,} samples would decide it." if outcome.needed else ""


def counted(count: int, what: str) -> str:
    """`The rule`, `All 5 rules`."""
    return f"The {what}" if count == 1 else f"All {count} {what}s"
