"""auditor from Python: `run`, `open_audit`, `attribute`, `attack` and `visualise`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from auditor import folder as folders
from auditor.audit import Audit, open_audit
from auditor.config import Settings, load_config
from auditor.config.moved import probes_for
from auditor.dataset import Dataset, first_shape, open_dataset
from auditor.dataset.training import open_training
from auditor.errors import ConfigError
from auditor.gate import require_known
from auditor.gather import Deadline
from auditor.job import Job
from auditor.methods.attacks.run import Attack, attack
from auditor.methods.attribute import attribute
from auditor.methods.visualise import visualise
from auditor.ops.batching import images_at_once
from auditor.plan import SHARD, Plan
from auditor.preprocess import Preprocess
from auditor.probe import Probe
from auditor.probes import configured, named, registry
from auditor.record import execute
from auditor.store import require_writable
from auditor.stream import Progress, silent
from auditor.target import Target, load_target, open_second

__all__ = ["Attack", "Audit", "attack", "attribute", "open_audit", "run", "visualise"]


OPTIONS = (
    "weights", "model_args", "task", "classes_file", "label_map", "depth16", "device", "seed", "batch", "work",
    "second_model",
)  # fmt: skip
PROFILES = ("quick", "standard", "full")


def work_folder(work: str | Path | None) -> Path:
    """Where decoded images and checkpoints go: `work`, $AUDITOR_WORK, or the user's cache."""
    if work is not None:
        return Path(work)
    if os.environ.get("AUDITOR_WORK"):
        return Path(os.environ["AUDITOR_WORK"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auditor"


def chosen_probes(
    wanted: Sequence[str | Probe] | None, settings: Mapping[str, Mapping[str, Any]], profile: str
) -> tuple[list[Probe], dict[str, str]]:
    """The probes to run with their parameters, and id -> reason of those left out."""
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
        probe = given.get(name) or configured(name, settings.get(name, {}), profile)
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


def require_rules(settings: Settings) -> None:
    """Raise PolicyError for a rule on a figure that no probe has, before any work is done."""
    catalogue = {name: probe.measures for name, probe in registry().items()}
    for rule in settings.gate.all_rules:
        require_known(rule, catalogue)


def make_plan(
    target: Target,
    probes: Sequence[Probe],
    *,
    profile: str,
    seed: int = 0,
    batch: int | None = None,
    left_out: Mapping[str, str] | None = None,
) -> Plan:
    """The default plan: a pure function of the input's size, the device's class and the number of threads."""
    return Plan(
        profile=profile,
        probes={probe.id(): probe.parameters() for probe in probes},
        batch=batch or images_at_once(target.input_shape, target.device),
        shard=SHARD,
        threads=torch.get_num_threads(),
        device=target.device.type,
        seed=seed,
        left_out=dict(left_out or {}),
    )


def run(
    model: str | nn.Module | Target,
    data: Any,
    *,
    preprocess: Preprocess | Callable[..., Any] | None = None,
    probes: str | Sequence[str | Probe] | None = None,
    train: Any = None,
    out: str | Path = "reports/audit",
    config: str | Path | Mapping[str, Any] | Settings | None = None,
    profile: str = "standard",
    progress: Progress = silent,
    force: bool = False,
    **options: Any,
) -> Audit:
    """Audit a model on a data set, judge it, render the report.

    `model`: what `--model` takes, or any nn.Module with a Preprocess (or one as its attribute `preprocess`).
    `data`: what `--data` takes, (images, labels) arrays, or a torch Dataset of (image, label).
    `train`: what the model was trained on, given as `data` is ([data] train of the configuration where None): leaks are
    looked for.
    `probes`: ids or Probe objects; all of the profile where None. `config`: audit.toml as a path or a mapping.
    Options: weights, model_args, task, classes_file, label_map, depth16, device, seed, batch, work, second_model (what
    `--second-model` takes, or an nn.Module).

    The model is left as it was found. Raises an AuditError of `auditor.errors`: nothing half-written stays in `out`.
    """
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise ConfigError(f"auditor.run has no option {unknown[0]!r}; beside its own parameters it takes {', '.join(OPTIONS)}")
    settings = config if isinstance(config, Settings) else load_config(config or {})
    out = Path(out)
    require_rules(settings)
    wanted = [name.strip() for name in probes.split(",")] if isinstance(probes, str) else probes
    wanted = with_moved(wanted, settings)
    chosen, left_out = chosen_probes(wanted, settings_for(profile, settings), profile_of(profile, settings))
    require_writable(out.parent)
    target = model if isinstance(model, Target) else open_target(model, preprocess, data, options)
    try:
        dataset = open_data(target, data, options, progress)
        train = settings.data.train if train is None else train
        learnt = None if train is None else open_train(target, dataset, train, options, progress)
        plan = make_plan(
            target, chosen, profile=profile, seed=options.get("seed", 0), batch=options.get("batch"), left_out=left_out
        )
        job = Job(target, dataset, chosen, plan, out.name, learnt)
        return run_job(job, out, settings, options.get("work"), progress=progress, force=force)
    finally:
        if not isinstance(model, Target):
            target.restore()


def run_job(
    job: Job,
    out: Path,
    settings: Settings,
    work: str | Path | None,
    *,
    deadline: Deadline | None = None,
    progress: Progress = silent,
    force: bool = False,
) -> Audit:
    """Carry a job out into `out`: collected, judged, rendered, then put in place as a whole."""
    key = job.key()
    folders.require_free(out, key, force=force)
    with folders.whole_or_nothing(out) as folder:
        kept = work_folder(work)
        execute(job, folder, kept / "runs" / key[:32], helpers=kept / "helpers", deadline=deadline, progress=progress)
        folders.write_judgement(folder, folders.judge_folder(folder, settings))
    return open_audit(out)


def open_target(model: str | nn.Module, preprocess: Any, data: Any, options: Mapping[str, Any]) -> Target:
    """The target of `run`'s options; the first image of `data` says how large an input is where the preprocessing does not."""
    names = ("weights", "model_args", "task", "device")

    def shape(prepared: Any) -> tuple[int, ...]:
        return first_shape(data, preprocess=prepared, depth16=options.get("depth16") or "full")

    given = {name: options[name] for name in names if options.get(name) is not None}
    target = load_target(model, preprocess=preprocess, input_shape=shape, **given)
    if options.get("second_model") is not None:
        try:
            target.second = open_second(options["second_model"], target)
        except BaseException:
            target.restore()
            raise
    return target


def open_data(target: Target, data: Any, options: Mapping[str, Any], progress: Progress = silent) -> Dataset:
    """The data set of `run`'s options, its labels met with the target's classes; without logits they are classes of their own."""
    opened = opener(target, data, options, lambda done, total: progress("images", done, total))
    return opened(outputs=target.outputs, names=target.classes if target.outputs else None, **labels_of(options))


def open_train(target: Target, dataset: Dataset, train: Any, options: Mapping[str, Any], progress: Progress = silent) -> Dataset:
    """The training set of `run`, prepared as `dataset` is; see `open_training`."""
    names = dataset.classes if target.outputs else None  # what has met by position meets by name from there on
    opened = opener(target, train, options, lambda done, total: progress("train images", done, total))
    return open_training(opened, dataset, outputs=target.outputs, names=names or None, **labels_of(options))


def labels_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say how labels meet classes."""
    return {name: options[name] for name in ("classes_file", "label_map") if options.get(name) is not None}


def opener(target: Target, data: Any, options: Mapping[str, Any], progress: Callable[[int, int], None]) -> Callable[..., Dataset]:
    """`open_dataset` of `data` with all but the meeting of its labels, decoded as the target's preprocessing asks."""
    work, depth16 = work_folder(options.get("work")) / "images", options.get("depth16") or "full"
    return partial(open_dataset, data, preprocess=target.preprocess, work=work, depth16=depth16, progress=progress)
