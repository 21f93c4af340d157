"""A verdict as SARIF 2.1.0: one result for each outcome that is not passed, at its rule's line of audit.toml.

    fail, incomplete, inconclusive   level error: the exit code is not 0
    warn                             level warning
    undecided                        level note
    waived                           level error, suppressed: accepted by its waiver

So the results of level error that are not suppressed are none exactly where the exit code is 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from urllib.parse import quote

from auditor.exports.junit import SIDES, body
from auditor.types import AuditRecord, Json, Outcome, Verdict

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS: Mapping[str, str] = {
    "fail": "error", "incomplete": "error", "inconclusive": "error", "waived": "error", "warn": "warning", "undecided": "note",
}  # fmt: skip


def sarif(record: AuditRecord, verdict: Verdict, *, version: str) -> str:
    """The document. `version`: of auditor."""
    listed = reported(verdict)
    ids = list(dict.fromkeys(rule_id(outcome) for outcome in listed))
    driver = {"name": "auditor", "version": version, "rules": [descriptor(id, listed) for id in ids]}
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"auditor/{record.name}/"},
        "invocations": [{"executionSuccessful": True, "exitCode": verdict.exit_code}],
        "columnKind": "unicodeCodePoints",
        "results": [result(outcome, ids, verdict) for outcome in listed],
        "properties": {"verdict": verdict.verdict, "why": verdict.why, "policyDigest": verdict.policy_digest},
    }
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


def reported(verdict: Verdict) -> list[Outcome]:
    """The outcomes that are not passed; a verdict that fails without one gets an outcome of its own."""
    found = [outcome for outcome in verdict.outcomes if outcome.verdict != "pass"]
    if verdict.exit_code != 0 and not any(o.verdict in ("fail", "incomplete", "inconclusive") for o in found):
        found.append(Outcome("gate.verdict", "incomplete", verdict.why, {"measure": "gate.verdict"}))
    return found


def rule_id(outcome: Outcome) -> str:
    """`performance.recall/at_least`: the same for every class, and from run to run."""
    side = next((name for name in SIDES if outcome.rule.get(name) is not None), "")
    return str(outcome.rule.get("measure", outcome.id)) + (f"/{side}" if side else "")


def descriptor(id: str, outcomes: list[Outcome]) -> Json:
    """What SARIF says of a rule itself."""
    first = next(outcome for outcome in outcomes if rule_id(outcome) == id)
    measure, _, side = id.partition("/")
    told = f"{measure} {side.replace('_', ' ')}".strip()
    return {"id": id, "shortDescription": {"text": told}, "defaultConfiguration": {"level": LEVELS[first.verdict]}}


def result(outcome: Outcome, ids: list[str], verdict: Verdict) -> Json:
    """One outcome at its line."""
    line = {side: outcome.rule[side] for side in SIDES if outcome.rule.get(side) is not None}
    key = json.dumps([outcome.id, line, outcome.rule.get("level")], sort_keys=True)
    place = {"artifactLocation": {"uri": quote(path_of(verdict)), "uriBaseId": "%SRCROOT%"}}
    found = {
        "ruleId": rule_id(outcome),
        "ruleIndex": ids.index(rule_id(outcome)),
        "kind": "fail",
        "level": LEVELS[outcome.verdict],
        "message": {"text": body(outcome)},
        "locations": [
            {
                "physicalLocation": {**place, "region": {"startLine": line_of(outcome, verdict)}},
                "logicalLocations": [{"fullyQualifiedName": outcome.id, "kind": "member"}],
            }
        ],
        "partialFingerprints": {"auditorOutcome/v1": hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()},
        "properties": {
            "verdict": outcome.verdict,
            "value": outcome.value,
            "low": outcome.low,
            "high": outcome.high,
            "n": outcome.n,
        },
    }
    if outcome.verdict == "waived":
        waiver = next((w for w in verdict.waivers if w["id"] == outcome.waiver), {})
        why = f"{waiver.get('owner', '')}, until {waiver.get('expires', '')}: {waiver.get('reason', '')}"
        found["suppressions"] = [{"kind": "external", "status": "accepted", "justification": why}]
    return found


def path_of(verdict: Verdict) -> str:
    """The policy's file."""
    return str(verdict.source.get("path") or "audit.toml")


def line_of(outcome: Outcome, verdict: Verdict) -> int:
    """The line of the policy where a rule or a waiver stands; 1 where that is not known."""
    source = verdict.source
    rules, ids = source.get("rules") or [], [waiver["id"] for waiver in verdict.waivers]
    waivers = source.get("waivers") or []
    if outcome.number is not None and outcome.number < len(rules):
        return int(rules[outcome.number])
    if outcome.id.startswith("waiver.") and outcome.waiver in ids and ids.index(outcome.waiver) < len(waivers):
        return int(waivers[ids.index(outcome.waiver)])
    return int(source.get("gate") or 1)
