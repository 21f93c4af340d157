"""Waivers: which failing figures somebody has answered for, and until when. Expired ones fail, unused ones warn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from auditor.config import Waiver
from auditor.config.moved import today_of
from auditor.gate.words import clean, number, real, with_unit
from auditor.types import AuditRecord, Json, Outcome

Standing = Literal["used", "unused", "expired"]
WAIVABLE = ("fail", "inconclusive")
"""A waiver accepts a figure that is bad or not shown good; none accepts that there is no figure."""


@dataclass(frozen=True)
class Stand:
    """A waiver, the outcome it speaks of, and how it stands to it."""

    waiver: Waiver
    standing: Standing
    why: str


def waived(
    outcomes: Sequence[Outcome], waivers: Sequence[Waiver], record: AuditRecord, today: date
) -> tuple[tuple[Outcome, ...], tuple[Mapping[str, Json], ...]]:
    """The outcomes with those let through marked, an outcome of its own for each waiver that is expired or unused, and all
    waivers as the page lists them."""
    stands = [stand(waiver, outcomes, record, today) for waiver in waivers]
    used = {today_of(s.waiver.covers): s.waiver for s in stands if s.standing == "used"}
    kept = tuple(let_through(outcome, used.get(today_of(outcome.id))) for outcome in outcomes)
    own = tuple(outcome_of(s) for s in stands if s.standing != "used")
    return (*kept, *own), tuple(listed(s, today) for s in stands)


def stand(waiver: Waiver, outcomes: Sequence[Outcome], record: AuditRecord, today: date) -> Stand:
    """How a waiver stands on a day."""
    about = [outcome for outcome in outcomes if today_of(outcome.id) == today_of(waiver.covers)]
    open_ = [outcome for outcome in about if coverable(outcome)]
    model = record.provenance.get("model")
    digest = str(model.get("digest", "")) if isinstance(model, Mapping) else ""
    if not about:
        return Stand(waiver, "unused", "no rule of the policy judges this figure")
    if waiver.weights is not None and not digest.startswith(waiver.weights):
        return Stand(waiver, "unused", f"it is for the weights {waiver.weights}, and these are {digest[:12] or 'unknown'}")
    if not open_:
        kinds = sorted({outcome.verdict for outcome in about})
        return Stand(
            waiver, "unused", f"the figure's verdict is {' and '.join(kinds)}, which no waiver is needed for or can change"
        )
    if today > waiver.last_day:
        return Stand(waiver, "expired", f"it ended on {waiver.last_day.isoformat()}")
    beyond = [outcome for outcome in open_ if not within(waiver, outcome)]
    if beyond:
        at, unit = beyond[0].value, beyond[0].unit
        shown = [with_unit(number(x, unit, 0), unit) for x in (at, waiver.bound) if x is not None]
        return Stand(waiver, "unused", f"the figure is {shown[0]}, beyond the waiver's bound of {shown[-1]}")
    return Stand(waiver, "used", "")


def coverable(outcome: Outcome) -> bool:
    """Bad, or not shown good, on a figure that is one."""
    return outcome.verdict in WAIVABLE and real(outcome.value) is not None and outcome.usable


def within(waiver: Waiver, outcome: Outcome) -> bool:
    """The figure itself is no worse than the waiver's bound."""
    value = real(outcome.value)
    if waiver.bound is None or value is None:
        return waiver.bound is None
    return value >= waiver.bound if outcome.least else value <= waiver.bound


def let_through(outcome: Outcome, waiver: Waiver | None) -> Outcome:
    """The outcome, waived where a waiver covers it."""
    if waiver is None or not coverable(outcome):
        return outcome
    reason = clean(waiver.reason, longest=300)
    said = f"{outcome.sentence} Waived until {waiver.last_day.isoformat()} by {clean(waiver.owner)}: {reason}"
    return replace(outcome, verdict="waived", sentence=said, waiver=waiver.id)


def outcome_of(found: Stand) -> Outcome:
    """What an expired or an unused waiver says of itself."""
    waiver = found.waiver
    who = f"Waiver {waiver.id} of {clean(waiver.owner)} for {clean(waiver.covers)}"
    rule = {"measure": f"waiver.{waiver.id}", "covers": waiver.covers}
    if found.standing == "expired":
        said = f"{who} is expired: {found.why}. Mend the figure, or renew the waiver with a reason of today."
        return Outcome(f"waiver.{waiver.id}", "fail", said, rule, waiver=waiver.id)
    said = f"{who} is unused: {found.why}. Take it out."
    return Outcome(f"waiver.{waiver.id}", "warn", said, rule, waiver=waiver.id)


def listed(found: Stand, today: date) -> Mapping[str, Json]:
    """A waiver as gate.json holds it."""
    waiver = found.waiver
    return {
        "id": waiver.id,
        "covers": waiver.covers,
        "weights": waiver.weights,
        "owner": waiver.owner,
        "reason": waiver.reason,
        "expires": waiver.last_day.isoformat(),
        "days_left": (waiver.last_day - today).days,
        "bound": waiver.bound,
        "standing": found.standing,
        "why": found.why,
    }
