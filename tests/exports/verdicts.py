"""Many verdicts as the gate gives them, for tests of what is made from them."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np

from auditor.types import AuditRecord, Verdict
from tests.gate.world import answers, audit, baseline, gate, rule

NASTY = "\x00\x07\ufffe<img src=x onerror=alert(1)>]]>&\"'\n\t\u202e\U0001f600::error,%0A|`*"


def one(seed: int, *, nasty: bool = False) -> tuple[AuditRecord, dict[str, np.ndarray], Verdict]:
    """An audit with its verdict: some rules fail, warn, are waived, are on many classes or against a baseline."""
    draw = np.random.default_rng(seed)
    classes = int(draw.integers(2, 7))
    label = np.repeat(np.arange(classes), 80)
    rates = draw.choice([0.55, 0.8, 0.9, 0.97], classes)
    sites = np.array(["a", "b" if not nasty else NASTY])[np.arange(len(label)) % 2]
    columns = answers(label, draw.uniform(size=len(label)) < rates[label], site=sites)
    names = [f"class {i}" for i in range(classes)]
    if nasty:
        names[0] = NASTY
        columns["name"][:] = [f"{NASTY}{i}" for i in range(len(label))]
    record = audit(columns, names=names)
    before = answers(label, draw.uniform(size=len(label)) < 0.9)
    pool: list[dict[str, Any]] = [
        rule("top1", at_least=float(draw.choice([0.5, 0.88, 0.99]))),
        rule("top1", at_least=0.99, level="warn"),
        rule("recall", at_least=0.85, require_proof=bool(draw.integers(2))),
        rule("top1", at_least=0.8, slice="site"),
        rule("recall", no_worse_than_baseline_by=0.1),
        rule("top1", no_worse_than_baseline_by=0.05),
        rule("kept", at_most=0.5),
    ]
    rules = [pool[i] for i in sorted(draw.choice(len(pool), int(draw.integers(1, len(pool) + 1)), replace=False))]
    waivers = [
        {"id": f"W{i}", "measure": "performance.recall", "scope": name, "owner": "ada", "reason": NASTY if nasty else "known",
         "expires": str(draw.choice(["2026-01-01", "2027-01-01"]))}
        for i, name in enumerate(names[1:]) if draw.uniform() < 0.5
    ]  # fmt: skip
    against = baseline(before, names=names) if draw.uniform() < 0.7 else None
    verdict = gate(columns, *rules, record=record, against=against, waivers=waivers, today=date(2026, 6, 1))
    return record, columns, verdict
