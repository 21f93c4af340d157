"""Which probes run, and with which parameters: the plan, from a profile, from a file, or within a budget."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from auditor.config import Settings
from auditor.config.moved import probes_for
from auditor.dataset import Dataset
from auditor.errors import ConfigError, TargetError
from auditor.job import Job
from auditor.ops.batching import images_at_once
from auditor.plan import Plan, shard_of
from auditor.probe import Probe
from auditor.probes import configured, named, registry
from auditor.target import PRECISIONS, Forward, Target

PROFILES = ("quick", "standard", "full")


@dataclass(frozen=True)
class Wish:
    """What was asked to be run."""

    probes: Sequence[str | Probe] | None = None
    """Ids or probes; all of the profile where None."""
    profile: str = "standard"
    seed: int = 0
    batch: int | None = None
    plan: Path | None = None
    """A plan to repeat, in the place of all of these."""
    threads: int | None = None
    """Threads of torch in each process; the number that it has where None."""
    tune: bool = False
    """Whether the forward is chosen by the clock; see `auditor.tune`."""
    precision: str | None = None
    """What `tune` may go down to."""

    def require(self, settings: Settings) -> None:
        """Raise ConfigError for what cannot be run, before a model is loaded."""
        self.precisions()
        if self.tune and self.batch is not None:
            raise ConfigError(f"--tune chooses the batch: leave out --batch {self.batch}, or --tune")
        if self.plan is None:
            self.chosen(settings)
            return
        others = {
            "--probes": self.probes is not None,
            "--profile": self.profile != "standard",
            "--seed": self.seed != 0,
            "--batch": self.batch is not None,
            "--tune": self.tune,
        }
        both = [name for name, given in others.items() if given]
        if both:
            raise ConfigError(f"--plan repeats a plan as it is: leave out {', '.join(both)}")
        read_plan(self.plan)

    def precisions(self) -> tuple[str, ...]:
        """Those that may be tried. Raises ConfigError for an unknown one, and for one that nothing would try."""
        asked = self.precision or "float32"
        if asked not in PRECISIONS:
            raise ConfigError(f"--precision: expected {' or '.join(PRECISIONS)}, got {asked!r}")
        if asked != "float32" and not self.tune:
            raise ConfigError(f"--precision {asked} is tried by --tune: give both, or leave out --precision")
        return tuple(dict.fromkeys(("float32", asked)))

    def chosen(self, settings: Settings) -> tuple[list[Probe], dict[str, str]]:
        """The probes to run, and id -> reason of those left out."""
        wanted, given = with_moved(self.probes, settings), settings_for(self.profile, settings)
        return chosen_probes(wanted, given, profile_of(self.profile, settings))

    def job(self, target: Target, dataset: Dataset, train: Dataset | None, settings: Settings, name: str) -> Job:
        """What to do with this model and these data."""
        if self.plan is not None:
            plan = read_plan(self.plan)
            return Job(target, dataset, repeated(plan, target), plan, name, train)
        probes, left_out = self.chosen(settings)
        target.compute_as(Forward())
        plan = make_plan(
            target, probes, profile=self.profile, seed=self.seed, batch=self.batch, threads=self.threads, left_out=left_out
        )
        return Job(target, dataset, probes, plan, name, train)


def chosen_probes(
    wanted: Sequence[str | Probe] | None, settings: Mapping[str, Mapping[str, Any]], profile: str
) -> tuple[list[Probe], dict[str, str]]:
    """The probes to run with their parameters, and id -> reason of those left out; `profile`: a built-in one."""
    given = {probe.id(): probe for probe in wanted or () if isinstance(probe, Probe)}
    names = [w.id() if isinstance(w, Probe) else named(w).id() for w in wanted] if wanted is not None else None
    for name in settings:
        if name not in given:
            named(name)
    probes: list[Probe] = []
    left_out: dict[str, str] = {}
    for name in [*registry(), *(name for name in given if name not in registry())]:
        if names is not None and name not in names:
            left_out[name] = "not among the probes asked for"
            continue
        # who names a probe wants it: one that the profile leaves out runs as in the next that has it
        larger = PROFILES[PROFILES.index(profile) :] if names is not None else (profile,)
        tried = (configured(name, settings.get(name, {}), one) for one in larger)
        probe = given.get(name) or next((one for one in tried if one is not None), None)
        if probe is None:
            left_out[name] = f"the profile {profile} leaves it out"
        else:
            probes.append(probe)
    return probes, left_out


def with_moved(wanted: Sequence[str | Probe] | None, settings: Settings) -> Sequence[str | Probe] | None:
    """The probes asked for, and those that now hold figures which rules call by the name of a probe asked for."""
    if wanted is None:
        return None
    names = {w.id() if isinstance(w, Probe) else w for w in wanted}
    return [*wanted, *(p for p in probes_for([rule.measure for rule in settings.gate.all_rules], names) if p not in names)]


def profile_of(name: str, settings: Settings) -> str:
    """The built-in profile that a profile stands on. Raises ConfigError for one that is not known."""
    if name in PROFILES:
        return name
    if name not in settings.profiles:
        raise ConfigError(f"there is no profile {name!r}; the profiles are {', '.join([*PROFILES, *settings.profiles])}")
    return "standard"


def settings_for(profile: str, settings: Settings) -> dict[str, dict[str, Any]]:
    """[probes] of audit.toml, under one's own profile with its probes laid over."""
    merged = {name: dict(values) for name, values in settings.probes.items()}
    for name, values in settings.profiles.get(profile, {}).items():
        merged.setdefault(name, {}).update(values)
    return merged


def make_plan(
    target: Target,
    probes: Sequence[Probe],
    *,
    profile: str,
    seed: int = 0,
    batch: int | None = None,
    threads: int | None = None,
    left_out: Mapping[str, str] | None = None,
) -> Plan:
    """The default plan: a pure function of the input's size, the device's class and the number of threads."""
    at_once = batch or images_at_once(target.input_shape, target.device)
    return Plan(
        profile=profile,
        probes={probe.id(): probe.parameters() for probe in probes},
        batch=at_once,
        shard=shard_of(at_once),
        threads=threads or torch.get_num_threads(),
        device=target.device.type,
        seed=seed,
        left_out=dict(left_out or {}),
    )


def smaller(job: Job, settings: Settings) -> dict[str, Probe]:
    """Probe id -> the probe as the profile quick has it, with what audit.toml sets for it left as it is.

    Without those that quick leaves out, and those given as objects: their parameters are their owner's.
    """
    given = settings_for(job.plan.profile, settings)
    found = {}
    for probe in job.probes:
        name = probe.id()
        if name in registry() and type(probe).profiles.get("quick", {}) is not None:
            quick = configured(name, given.get(name, {}), "quick")
            if quick is not None:
                found[name] = quick
    return found


def read_plan(path: Path) -> Plan:
    """The plan in a file (plan.json of an audit). Raises ConfigError for what is none, or one of other probes."""
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"--plan: cannot read {path}: {error.strerror or error}; give the plan.json of an audit") from error
    except ValueError as error:
        raise ConfigError(f"--plan: {path} is no JSON: {error}; give the plan.json of an audit") from error
    try:
        plan = Plan(**found)
        Forward.of(plan.forward)
        made = {name: probe_of(name, given) for name, given in plan.probes.items()}
    except (TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"--plan: {path} is no plan: {error}; give the plan.json of an audit") from error
    new = {name: "it is not in the plan" for name in registry() if name not in made and name not in plan.left_out}
    probes = {name: probe.parameters() for name, probe in made.items()}
    return replace(plan, probes=probes, left_out={**plan.left_out, **new})


def probe_of(name: str, given: Mapping[str, Any]) -> Probe:
    """A probe with all the parameters of a plan."""
    probe = configured(name, {key: value for key, value in given.items() if value is not None}, "")
    assert probe is not None
    return probe


def repeated(plan: Plan, target: Target) -> list[Probe]:
    """The probes of a plan that was read. Raises ConfigError where it was made for another class of device."""
    if plan.device != target.device.type:
        raise ConfigError(
            f"--plan was made on {plan.device}, and this run is on {target.device.type}; "
            f"give --device {plan.device}, or make a plan here"
        )
    try:
        target.compute_as(Forward.of(plan.forward))
    except TargetError as error:
        raise ConfigError(
            f"--plan computes forwards otherwise than the model does: {error}; make a plan for this model"
        ) from error
    rank = {name: place for place, name in enumerate(registry())}  # a file has no order, and that of the columns follows it
    return [probe_of(name, plan.probes[name]) for name in sorted(plan.probes, key=lambda name: (rank.get(name, len(rank)), name))]
