"""The outcomes of all rules, of waivers and of coverage, as one verdict with its exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from auditor.config import GateSettings
from auditor.gate.words import number, real
from auditor.types import AuditRecord, Json, Outcome, Verdict

CODES: Mapping[str, int] = {"fail": 1, "incomplete": 3, "inconclusive": 4, "warn": 0, "waived": 0, "pass": 0}
"""Outcome -> exit code. The first that holds is the verdict: a failure beats what is missing, that beats what is undecided."""

COVERAGE = "ledger.coverage"
WAIVER = "waiver."


def verdict(outcomes: tuple[Outcome, ...], record: AuditRecord, policy: GateSettings) -> Verdict:
    """All outcomes with that of coverage, which holds without a rule; not gated where there is no rule and coverage holds.

    What passes only by a waiver passes with warnings.
    """
    covered = coverage(record.dataset, policy.coverage)
    judged = (*outcomes, covered) if outcomes or covered.verdict != "pass" else ()
    if not judged:
        name, code = "not_gated", 0
    else:
        name, code = next(((n, c) for n, c in CODES.items() if any(o.verdict == n for o in judged)), ("pass", 0))
    said = why(name, judged, point=policy.decide == "point")
    shown = "warn" if name == "waived" else name
    return Verdict(shown, code, said, judged, policy.model_dump(mode="json"), policy.digest)  # type: ignore[arg-type]


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
    how = " on the values alone, without regard to sampling error" if point else ""
    if name == "pass":
        return f"{holding(outcomes)}{how}.{left_open(outcomes)}"
    decisive = [o for o in outcomes if o.verdict == name]
    first = decisive[0]
    told = first.sentence + (f" {needed(first)}" if first.needed else "")
    others = besides(name, outcomes, decisive)
    lead = {"warn": f"No rule that blocks fails{how}. ", "waived": f"What fails is waived{how}. "}.get(name, "")
    return lead + told + (f" Besides, {' and '.join(others)}." if others else "")


def besides(name: str, outcomes: Sequence[Outcome], decisive: Sequence[Outcome]) -> list[str]:
    """What else failed, could not be judged, is undecided or is waived."""
    same = sum(o.number == decisive[0].number and o.id != decisive[0].id for o in decisive if o.number is not None)
    more = len({(o.number, o.id) if o.number is None else o.number for o in decisive}) - 1
    others = [f"{same} more of its {decisive[0].many:,} figures {WORDS[name][same > 1]}"] if same and decisive[0].many > 1 else []
    if same and decisive[0].many == 1:
        more += same
    others += [f"{more} more {'rule' if more == 1 else 'rules'} {WORDS[name][more > 1]}"] if more else []
    counts = Counter(o.verdict for o in outcomes)
    for other in ("incomplete", "inconclusive", "waived"):
        if counts[other] and list(CODES).index(other) > list(CODES).index(name):
            others.append(f"{counts[other]} {WORDS[other][counts[other] > 1]}")
    return others


def holding(outcomes: Sequence[Outcome]) -> str:
    """`The rule holds`, `All 5 rules hold`."""
    rules = len({o.number if o.number is not None else o.id for o in outcomes if o.id != COVERAGE})
    return f"{counted(rules, 'rule')} {'holds' if rules == 1 else 'hold'}"


def left_open(outcomes: Sequence[Outcome]) -> str:
    """What is undecided among many, and so changes nothing."""
    open_ = [o for o in outcomes if o.verdict == "undecided"]
    many = sum({o.number: o.many for o in open_}.values())
    return f" Of {len(open_):,} of {many:,} classes or slices nothing is shown." if open_ else ""


WORDS: Mapping[str, tuple[str, str]] = {
    "fail": ("fails", "fail"),
    "incomplete": ("could not be judged", "could not be judged"),
    "inconclusive": ("is undecided", "are undecided"),
    "warn": ("warns", "warn"),
    "waived": ("is waived", "are waived"),
}


def needed(outcome: Outcome) -> str:
    """What would decide it."""
    return f"About {outcome.needed:,} samples would decide it." if outcome.needed else ""


def counted(count: int, what: str) -> str:
    """`The rule`, `All 5 rules`."""
    return f"The {what}" if count == 1 else f"All {count} {what}s"
