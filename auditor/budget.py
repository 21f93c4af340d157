"""--budget: what is cut, and in which order, so that a run ends in time.

1. Before the pass: while the estimate is above the budget, the dearest probe that no rule asks for goes one step down, from its
   parameters half-way to those of the profile quick, then to those of quick.
2. Then, still before the pass: the dearest of them is left out, and so on.
3. Where that made more room than was needed, the others go up again as far as they fit, the cheapest first.
4. In the run, probes that rules ask for come first. When the time is used up, what no rule asks for is stopped, its finished
   part kept for a rerun.

What rules ask for is never cut: a verdict on other samples would be another verdict. What audit.toml sets is never made smaller.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from auditor.config import Settings
from auditor.config.moved import today_of
from auditor.errors import ConfigError
from auditor.estimate import Rates, measured
from auditor.gather import Deadline
from auditor.job import Job
from auditor.planning import read_plan, repeated, smaller
from auditor.probe import Probe
from auditor.store import write_json
from auditor.types import Json

UNITS = {"h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0, "": 1.0}


def seconds_of(text: str | float) -> float:
    """`90`, `90s`, `5m` or `1h30m` in seconds. Raises ConfigError."""
    if isinstance(text, int | float) and text > 0:
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(h|min|m|s|)\s*", str(text).strip())
    whole = re.fullmatch(r"(?:\d+(?:\.\d+)?\s*(?:h|min|m|s|)\s*)+", str(text).strip())
    found = sum(float(number) * UNITS[unit] for number, unit in parts)
    if whole is None or found <= 0:
        raise ConfigError(f"--budget: expected a time such as 90s, 5m or 1h30m, got {text!r}")
    return found


def gated(job: Job, settings: Settings) -> frozenset[str]:
    """Probes that rules name, and those that they read."""
    by_id = {probe.id(): probe for probe in job.probes}
    todo, found = [today_of(rule.measure).split(".")[0] for rule in settings.gate.all_rules], set()
    while todo:
        name = todo.pop()
        if name in by_id and name not in found:
            found.add(name)
            todo += by_id[name].reads
    return frozenset(found)


@dataclass(frozen=True)
class Budgeted:
    """A job that fits its budget, as far as that could be told before."""

    job: Job
    deadline: Deadline
    rates: Rates
    cuts: Mapping[str, str]
    """Probe id -> how it was cut."""
    path: Path
    """Where its plan waits for a rerun, should this run be stopped: a budget reads the clock, and a rerun is to go on."""

    def done(self) -> None:
        """The run has ended well."""
        self.path.unlink(missing_ok=True)


def within(budget: str | float, job: Job, settings: Settings, work: Path) -> Budgeted:
    """The job cut to a budget; the one that an earlier run was stopped in, where there is one."""
    began, seconds = time.monotonic(), seconds_of(budget)
    kept = gated(job, settings)
    deadline = Deadline(seconds, kept, began)
    path = work / "plans" / f"{job.key()[:32]}-{seconds:g}s.json"
    rates = measured(job)
    if path.exists():
        plan = read_plan(path)
        job = replace(job, plan=plan, probes=repeated(plan, job.target))
        return Budgeted(job, deadline, rates, plan.cuts, path)
    job = cut(job, seconds, rates, kept, smaller(job, settings))
    write_json(path, dataclasses.asdict(job.plan))
    return Budgeted(job, deadline, rates, job.plan.cuts, path)


def cut(job: Job, budget: float, rates: Rates, kept: Collection[str], quick: Mapping[str, Probe]) -> Job:
    """The job within `budget` seconds by estimate, or with all cuts made where even they do not suffice."""
    free = {probe.id(): ladder(probe, quick.get(probe.id())) for probe in job.probes if probe.id() not in kept}
    whole = {probe.id(): probe for probe in job.probes}
    cuts: dict[str, str] = {}
    left_out = dict(job.plan.left_out)
    for last in (False, True):
        while rates.of_all(job) > budget:
            costs = {p.id(): rates.of(p, job) for p in job.probes if p.id() in free and (last or free[p.id()])}
            dearest = max(costs, key=costs.__getitem__, default=None)
            if dearest is None or costs[dearest] == 0:
                break
            if last:
                left_out[dearest] = f"the budget of {budget:g} s has no room for it: about {costs[dearest]:.0f} s"
                cuts.pop(dearest, None)
                job = replace(job, probes=[p for p in job.probes if p.id() != dearest])
            else:
                small = free[dearest].pop(0)
                cuts[dearest] = told(job.plan.probes[dearest], small.parameters())
                job = replace(job, probes=[small if p.id() == dearest else p for p in job.probes])
    for name in sorted(cuts, key=lambda name: rates.of(whole[name], job)):  # what was left out may have made room again
        for larger in (whole[name], *ladder(whole[name], quick.get(name))):
            restored = replace(job, probes=[larger if p.id() == name else p for p in job.probes])
            if rates.of_all(restored) <= budget:
                job = restored
                cuts[name] = told(whole[name].parameters(), larger.parameters())
                break
    cuts = {name: words for name, words in cuts.items() if words}
    given = {p.id(): p.parameters() for p in job.probes}
    return replace(job, plan=replace(job.plan, probes=given, left_out=left_out, cuts=cuts))


def ladder(probe: Probe, quick: Probe | None) -> list[Probe]:
    """The steps down from a probe: half-way to the one of the profile quick, then that one; none where it is no smaller."""
    if quick is None or type(quick) is not type(probe):
        return []
    given, least = probe.parameters(), quick.parameters()
    half = {
        name: (value + low) // 2
        for name, value in given.items()
        if type(value) is int and type(low := least[name]) is int and low < value
    }
    found = []
    with contextlib.suppress(ValueError):  # half-way between two settings that fit need not fit: the next step does
        found.append(replace(probe, **half))
    return [step for step in [*found, quick] if step.parameters() != given]


def told(before: Mapping[str, Json], after: Mapping[str, Json]) -> str:
    """What a cut changed, in words."""
    return ", ".join(f"{name} {after[name]} instead of {value}" for name, value in before.items() if after[name] != value)
