"""judge(audit, policy, baseline, today): a pure function. What cannot be shown good is never passed.

A rule on a figure ends as

    pass          its one-sided bound is on the right side of the line (the value itself if it is exact or `decide = "point"`)
    fail          its other bound is on the wrong side; under `level = "warn"` this is `warn`
    inconclusive  neither, or the figure has no finite value, no bounds, or a flag that makes it void
    incomplete    there is no figure: its probe failed, did not apply, or was left out; whatever the rule's level
    waived        it fails or is inconclusive, and a waiver of the policy lets it through

A rule against the baseline is judged in the same way on the difference of the same images, with the margin as its line.
A rule on many classes or slices ends so for each of them: one fails where it is shown bad with the error held over all (Holm);
one of which nothing is shown is `undecided`, is listed and changes no code, unless the rule has `require_proof`.

`on_inconclusive = "pass"` speaks only of the first kind of inconclusive: a figure without bounds, without a finite value or with
a void flag passes under no policy. Under `level = "warn"` an inconclusive rule is a `warn` too: such a rule blocks no release.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from auditor.config import GateSettings
from auditor.errors import PolicyError
from auditor.gate.classes import class_names
from auditor.gate.match import cases, require_known
from auditor.gate.material import SLICE
from auditor.gate.outcome import outcomes
from auditor.gate.pairs import Pairs, with_moved
from auditor.gate.reading import Grounds, grouping
from auditor.gate.verdict import verdict
from auditor.gate.waivers import waived
from auditor.types import Array, AuditRecord, Baseline, Json, Verdict

__all__ = ["judge", "require_known"]


def judge(
    record: AuditRecord,
    columns: Mapping[str, Array],
    policy: GateSettings,
    *,
    baseline: Baseline | None = None,
    today: date | None = None,
    group: str = "",
) -> Verdict:
    """The verdict on an audit. `columns`: those of predictions.parquet, (N,) each; read only for intervals and for images.

    `baseline`: what rules against it are judged by. `today`: for waivers; needed where the policy has one. `group`: the column
    of the manifest by which images belong together.

    Raises PolicyError where a rule names a probe, a measure, a scope or a slice that the audit does not know, and where no
    column `group` is.
    """
    pairs = None if baseline is None else Pairs(with_moved(baseline), record, columns)
    groups = grouping(columns, group)
    if group and groups is None:
        known = sorted(name.removeprefix(SLICE) for name in columns if name.startswith(SLICE))
        raise PolicyError(f"[data] group: the data have no column {group!r}; expected one of the manifest's: {known or 'none'}")
    grounds = Grounds(record, columns, policy, class_names(record), groups, pairs)
    found = tuple(
        outcome
        for number, rule in enumerate(policy.all_rules)
        for outcome in outcomes(cases(record, rule, columns, given=number >= len(policy.rules)), number, grounds)
    )
    listed: tuple[Mapping[str, Json], ...] = ()
    if policy.waivers:
        if today is None:
            raise ValueError("expected today: the policy has waivers, and they end")
        found, listed = waived(found, policy.waivers, record, today)
    whole = verdict(found, record, policy)
    day = today.isoformat() if today is not None and policy.waivers else ""
    return replace(whole, waivers=listed, baseline=compared(pairs, policy), group=group, today=day)


def compared(pairs: Pairs | None, policy: GateSettings) -> Mapping[str, Json]:
    """What gate.json says of the baseline; {} where no rule is against one."""
    if pairs is None or not any(rule.paired for rule in policy.all_rules):
        return {}
    baseline = pairs.baseline
    return {
        "name": baseline.name,
        "made": baseline.made,
        "source": baseline.source,
        "digest": baseline.digest,
        "weights": baseline.model.get("digest", ""),
        "images": len(pairs.matched[0]),
        "overlap": pairs.overlap,
        "relabelled": int(pairs.relabelled.sum()),
        "trouble": pairs.difference,
        "drift": drift(pairs),
    }


def drift(pairs: Pairs) -> list[Mapping[str, Json]]:
    """Each figure of the first baseline: there, in this baseline, and today. Margins that add up are seen here."""
    first = pairs.baseline.first
    if not first:
        return []
    rows: list[Mapping[str, Json]] = []
    for id, value in first.get("values", {}).items():
        probe, _, key = id.partition(".")
        section, before = pairs.record.sections.get(probe), pairs.baseline.values.get(id)
        today = section.values.get(key) if section is not None else None
        measure = next((m for m in pairs.record.catalogue.get(probe, ()) if m.name == key.partition(".")[0]), None)
        if before is None or today is None or measure is None:
            continue
        named = {"id": id, "title": measure.title, "unit": measure.unit, "direction": measure.direction}
        rows.append({**named, "first": value, "baseline": before.value, "today": today.value})
    return rows
