"""A figure against the baseline's on the same images: no worse than it by more than a margin."""

from __future__ import annotations

from functools import cache

import numpy as np

from auditor.bounds import RESAMPLES, STATISTICS, Bounds, kept, mcnemar, paired_bounds
from auditor.gate.behind import by_key
from auditor.gate.classes import RECALL, class_of
from auditor.gate.match import Case
from auditor.gate.material import Material, material, recall_material
from auditor.gate.pairs import LEAST_OVERLAP, Pairs
from auditor.gate.reading import Grounds, Paired, Reading, nothing, void
from auditor.gate.words import real
from auditor.types import Array, Value


def against(case: Case, grounds: Grounds) -> Reading:
    """What is compared: today's figure less the baseline's, with the margin as its line."""
    rule, pairs, measure = case.rule, grounds.pairs, case.measure
    assert pairs is not None, "without a baseline there is nothing to read"
    assert case.value is not None, "a case without a figure is incomplete"
    assert measure is not None, "require_known holds"
    least = measure.direction == "higher"
    line = -rule.line if least else rule.line
    trouble = void(case.value) or pairs.unlike(rule.probe, rule.name, measure.revision)
    before = figure_before(case, grounds)
    if not trouble and before is None:
        trouble = "the baseline does not hold this figure"
    if not trouble and before is not None and void(before):
        trouble = f"the baseline's figure cannot be used: {void(before)}"
    if trouble or before is None:
        return Reading(case, real(case.value.value), line, least, nothing, n=case.value.n, trouble=trouble)
    if case.value.kind == "exact":
        return exact(case, before, line, least)
    found = both(case, before, grounds)
    if found is None:
        why = "the baseline holds no figures image by image for it, so the two cannot be paired"
        return Reading(case, real(case.value.value), line, least, nothing, n=case.value.n, trouble=why)
    return paired(case, *found, grounds=grounds, line=line, least=least)


def figure_before(case: Case, grounds: Grounds) -> Value | None:
    """The baseline's figure: only its kind is needed of it, where it is made image by image."""
    assert grounds.pairs is not None, "against holds"
    held = grounds.pairs.baseline.values
    name = f"{case.rule.probe}.{case.rule.name}"
    found = held.get(f"{name}.{case.scope}" if case.scope else name)
    return case.value if found is None and (case.rule.probe, case.rule.name) == RECALL else found


def exact(case: Case, before: Value, line: float, least: bool) -> Reading:
    """Two figures without sampling error."""
    assert case.value is not None, "against holds"
    now, then = real(case.value.value), real(before.value)
    if now is None or then is None:
        return Reading(case, None, line, least, nothing, True, case.value.n)
    return Reading(case, now - then, line, least, nothing, True, case.value.n, paired=Paired(now, then, None))


def both(case: Case, before: Value, grounds: Grounds) -> tuple[Material, Material, Array | None] | None:
    """What is behind the figure on either side at the matched images, and which of them are in the slice (M,)."""
    pairs, rule, value = grounds.pairs, case.rule, case.value
    assert pairs is not None, "against holds"
    where = None if case.rows is None else case.rows[pairs.matched[0]]
    if (rule.probe, rule.name) == RECALL:
        number = class_of(case.scope, value, grounds.columns, grounds.names)
        if number is None or "predicted" not in pairs.before:
            return None
        sides = [recall_material(number, side["label"], side["predicted"]) for side in (pairs.today, pairs.before)]
        return sides[0], sides[1], where
    now = material(rule.probe, rule.name, case.scope, value, pairs.today, grounds.names)
    then = material(rule.probe, rule.name, case.scope, before, pairs.before, grounds.names)
    return None if now is None or then is None or now.statistic != then.statistic else (now, then, where)


def paired(
    case: Case, now: Material, then: Material, where: Array | None, *, grounds: Grounds, line: float, least: bool
) -> Reading:
    """A statistic of pairs."""
    pairs, value, name = grounds.pairs, case.value, now.statistic
    assert pairs is not None and value is not None, "against holds"  # noqa: PT018
    every = np.arange(len(now.rows[0])) if where is None else np.flatnonzero(where)
    columns = [*(row[every] for row in now.rows), *(row[every] for row in then.rows), every]
    *rows, at = kept(name, columns)
    today, before, n = rows[: len(now.rows)], rows[len(now.rows) :], len(at)
    most = max(len(now.held(where)[1]), len(then.held(where)[1]), value.n or 0 if where is None else 0)
    if not n or n < LEAST_OVERLAP * most:
        why = f"only {n:,} of {most:,} images count on both sides, and at least {100 * LEAST_OVERLAP:.0f} % must"
        return Reading(case, None, line, least, nothing, n=n, trouble=why)
    groups = None if grounds.groups is None else grounds.groups[pairs.matched[0][at]]
    figures = STATISTICS[name](*today), STATISTICS[name](*before)
    seed = value.seed or 0

    def bounds(confidence: float) -> Bounds:
        return paired_bounds(name, today, before, groups=groups, seed=seed, resamples=RESAMPLES, confidence=confidence)

    return Reading(
        case,
        real(figures[0] - figures[1]),
        line,
        least,
        cache(bounds),
        n=n,
        groups=None if groups is None else len(np.unique(groups)),
        paired=turned(figures, at, (today, before), pairs, is_share=name == "mean"),
    )


def turned(
    figures: tuple[float, float], at: Array, rows: tuple[list[Array], list[Array]], pairs: Pairs, *, is_share: bool
) -> Paired:
    """Which of the compared images are newly wrong and which newly right; `at`: their places among the matched ones."""
    now, then = rows[0][0], rows[1][0]
    if not (is_share and np.isin(now, (0.0, 1.0)).all() and np.isin(then, (0.0, 1.0)).all()):
        if "correct" not in pairs.today or "correct" not in pairs.before or is_share:
            return Paired(*figures, len(at))
        now, then = (np.asarray(side["correct"], dtype=np.float64)[at] for side in (pairs.today, pairs.before))
    positions = pairs.matched[0][at]
    broken, fixed = positions[now < then], positions[now > then]
    ranked = [tuple(int(i) for i in some[by_key(np.zeros(len(some)), some, pairs.columns)]) for some in (broken, fixed)]
    return Paired(*figures, len(at), ranked[0], ranked[1], mcnemar(len(broken), len(fixed)))
