"""Rules to start from, by name and version. A published version never changes: other thresholds get another version.

Hygiene, and no worse than the baseline: no absolute accuracy, which only who uses the model can ask for. The thresholds are those
that sound models hold and ones with randomised weights do not: benchmarks/presets.py measures both, docs/gate.md has the tables.
A rule of a preset on a probe that does not apply to a model, or that a profile leaves out, warns; it does not make the audit
incomplete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Rules = tuple[Mapping[str, Any], ...]


def hygiene(*, dead: float, copies: float, noise: float, level: str) -> Rules:
    """The first layer has learned: few of its filters are without weight, copies of another, or as fine as white noise."""
    lines = {"filters.dead_fraction": dead, "filters.duplicate_fraction": copies, "filters.noise_fraction": noise}
    return tuple({"measure": measure, "at_most": line, "level": level} for measure, line in lines.items())


def against(*, top1: float, recall: float, ece: float | None = None) -> Rules:
    """No worse than the baseline by more than so much: on the whole, in each class, and in calibration."""
    rules: Rules = (
        {"measure": "performance.top1", "no_worse_than_baseline_by": top1},
        {"measure": "performance.recall", "no_worse_than_baseline_by": recall},
    )
    return rules if ece is None else (*rules, {"measure": "performance.ece", "no_worse_than_baseline_by": ece, "level": "warn"})


PRESETS: Mapping[str, Rules] = {
    "strict@1": hygiene(dead=0.2, copies=0.1, noise=0.4, level="fail") + against(top1=0.005, recall=0.03, ece=0.02),
    "standard@1": hygiene(dead=0.25, copies=0.2, noise=0.5, level="fail") + against(top1=0.01, recall=0.05, ece=0.03),
    "smoke@1": hygiene(dead=0.4, copies=0.4, noise=0.55, level="warn") + against(top1=0.03, recall=0.15),
}
