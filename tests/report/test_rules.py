"""What is drawn of a rule: a difference beside its margin, never a figure beside it."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

from auditor.report import svg
from auditor.report.rules import UNPAIRED, compared, groups, line_of, ruled, singles
from auditor.report.samples import Samples
from tests.gate.world import answers, audit, baseline, gate, rng

LABEL = np.repeat(np.arange(4), 100)
BEFORE = answers(LABEL, rng(0).uniform(size=400) < 0.95)
TODAY = answers(LABEL, rng(1).uniform(size=400) < 0.95)


def samples() -> Samples:
    return Samples(TODAY, ("a", "b", "c", "d"), None)


def verdict(before: Any, *rules: Any) -> Any:
    return gate(TODAY, *rules, record=audit(TODAY), against=before)


def test_a_figure_that_could_not_be_compared_is_not_drawn_against_the_margin() -> None:
    rules = (
        {"measure": "performance.top1", "no_worse_than_baseline_by": 0.05},
        {"measure": "performance.recall", "no_worse_than_baseline_by": 0.05},
    )
    other = dataclasses.replace(baseline(BEFORE), parameters={"performance": {"top": 9}})
    found = verdict(other, *rules)
    outcome = found.outcomes[0]
    assert outcome.value is not None
    assert outcome.value > 0.8  # what was drawn beside a line at 5 %
    assert (line_of(outcome), compared(outcome)) == (None, None)
    drawn = ruled(outcome, samples())
    assert (drawn.interval, drawn.power, drawn.undrawn) == (None, None, UNPAIRED)
    (group,) = groups(found, samples())
    assert (group.picture, group.undrawn) == (None, UNPAIRED)
    assert "other settings" in group.members[0].outcome.sentence


def test_an_undecided_difference_is_drawn_as_a_difference() -> None:
    found = verdict(baseline(BEFORE), {"measure": "performance.top1", "no_worse_than_baseline_by": 0.01})
    outcome = found.outcomes[0]
    assert outcome.verdict == "inconclusive"
    assert compared(outcome) == outcome.baseline["difference"]
    assert line_of(outcome) == -0.01
    drawn = next(r for r in singles(found, samples()) if r.outcome.id == "performance.top1")
    assert drawn.interval is not None
    assert drawn.undrawn == ""


def test_a_rule_against_a_line_is_drawn_as_ever() -> None:
    found = gate(TODAY, {"measure": "performance.top1", "at_least": 0.5})
    drawn = ruled(found.outcomes[0], samples())
    assert drawn.interval is not None
    assert (line_of(drawn.outcome), compared(drawn.outcome)) == (0.5, drawn.outcome.value)


def test_a_figure_without_a_good_side_has_no_bad_one() -> None:
    def shaded(least: bool | None) -> float:
        drawn = str(svg.interval(0.1, (0.0, 0.2), 0.0, least=least, unit="share", signed=True))
        found = re.search(r'class="bad" [^>]*width="([\d.]+)"', drawn)
        assert found is not None
        return float(found.group(1))

    assert shaded(None) == 0.0
    assert shaded(True) + shaded(False) > 100
