"""auditor from Python: `run`, `open_audit`, `attribute`, `attack` and `visualise`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from auditor import folder as folders
from auditor.audit import Audit, open_audit
from auditor.budget import Budgeted, seconds_of, within
from auditor.config import Settings, load_config
from auditor.dataset import Dataset, first_shape, open_dataset
from auditor.dataset.training import open_training
from auditor.engines import Engine, opened
from auditor.engines.local import LOCAL
from auditor.errors import ConfigError
from auditor.estimate import Rates, measured
from auditor.gate import require_known
from auditor.job import Job
from auditor.methods.attacks.run import Attack, attack
from auditor.methods.attribute import attribute
from auditor.methods.visualise import visualise
from auditor.planning import Wish
from auditor.preprocess import Preprocess
from auditor.probe import Probe
from auditor.probes import registry
from auditor.record import execute
from auditor.store import require_writable
from auditor.stream import Progress, silent
from auditor.target import Target, load_target, open_generator, open_second
from auditor.tune import Tuned, tuned

__all__ = ["Attack", "Audit", "attack", "attribute", "open_audit", "run", "visualise"]


OPTIONS = (
    "weights", "model_args", "task", "classes_file", "label_map", "depth16", "device", "seed", "batch", "work",
    "second_model", "generator", "workers",
    "keep_features", "tune", "precision", "estimate",
)  # fmt: skip


def work_folder(work: str | Path | None) -> Path:
    """Where decoded images and checkpoints go: `work`, $AUDITOR_WORK, or the user's cache."""
    if work is not None:
        return Path(work)
    if os.environ.get("AUDITOR_WORK"):
        return Path(os.environ["AUDITOR_WORK"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "auditor"


def require_rules(settings: Settings) -> None:
    """Raise PolicyError for a rule on a figure that no probe has, before any work is done."""
    catalogue = {name: probe.measures for name, probe in registry().items()}
    for rule in settings.gate.all_rules:
        require_known(rule, catalogue)


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
    plan: str | Path | None = None,
    budget: str | float | None = None,
    engine: str | Engine = "local",
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
    `plan`: the plan.json of another audit, to be repeated as it is. `budget`: seconds, or text such as "5m": what no rule asks
    for is cut to fit, in the order that `auditor.budget` states.
    `engine`: "local", "ray" or "ray:ADDRESS": where the work with the model is done; the audit is the same.
    Options: weights, model_args, task, classes_file, label_map, depth16, device, seed, batch, work, second_model (what
    `--second-model` takes, or an nn.Module), generator (what `--generator` takes, or an nn.Module), workers (of Ray),
    keep_features (write those of every image to features.parquet), tune (True: batch, layout and folding by the clock, as
    `auditor.tune` states), precision ("bfloat16": what tuning may go down to), estimate (True: time the model first, and hold in
    run.json what each stage was to take).

    The model is left as it was found. Raises an AuditError of `auditor.errors`: nothing half-written stays in `out`.
    """
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise ConfigError(f"auditor.run has no option {unknown[0]!r}; beside its own parameters it takes {', '.join(OPTIONS)}")
    settings = config if isinstance(config, Settings) else load_config(config or {})
    out = Path(out)
    require_rules(settings)
    wanted = [name.strip() for name in probes.split(",")] if isinstance(probes, str) else probes
    wish = Wish(
        wanted, profile, options.get("seed", 0), options.get("batch"), None if plan is None else Path(plan),
        tune=bool(options.get("tune")), precision=options.get("precision"),
    )  # fmt: skip
    wish.require(settings)
    granted = None if budget is None else seconds_of(budget)
    require_writable(out.parent)
    with opened(engine, options.get("workers")) as place:
        target = model if isinstance(model, Target) else open_target(model, preprocess, data, options)
        try:
            dataset = open_data(target, data, options, progress)
            train = settings.data.train if train is None else train
            learnt = None if train is None else open_train(target, dataset, train, options, progress)
            job = replace(wish, threads=place.threads).job(target, dataset, learnt, settings, out.name)
            how: dict[str, Any] = {
                "progress": progress,
                "force": force,
                "engine": place,
                "keep_features": bool(options.get("keep_features")),
            }
            asked = bool(options.get("estimate"))
            fixed = fitted(job, wish, granted, settings, work_folder(options.get("work")), estimate=asked)
            return run_job(fixed, out, settings, options.get("work"), **how)
        finally:
            if not isinstance(model, Target):
                target.restore()


@dataclass(frozen=True)
class Fitted:
    """A job whose plan is fixed, and how it came to be."""

    job: Job
    rates: Rates | None = None
    """None where nobody asked: then the model is called for the audit alone."""
    tuned: Tuned | None = None
    budgeted: Budgeted | None = None

    def told(self) -> dict[str, Any]:
        """For run.json: about how long each stage was to take, and what was tried."""
        found: dict[str, Any] = {} if self.rates is None else {"estimate": self.rates.by_stage(self.job)}
        return found if self.tuned is None else {**found, "tuned": self.tuned.facts()}

    def done(self) -> None:
        """The run has ended well: plans that waited for a rerun are removed."""
        for part in (self.tuned, self.budgeted):
            if part is not None:
                part.done()


def fitted(job: Job, wish: Wish, budget: str | float | None, settings: Settings, work: Path, *, estimate: bool = False) -> Fitted:
    """The job tuned, then within its budget, where these are asked for; `estimate`: with what its stages will take."""
    chosen = tuned(job, wish.precisions(), work) if wish.tune else None
    job = job if chosen is None else chosen.job
    if budget is None:
        return Fitted(job, measured(job) if estimate else None, chosen)
    cut = within(budget, job, settings, work)
    return Fitted(cut.job, cut.rates, chosen, cut)


def run_job(
    given: Fitted,
    out: Path,
    settings: Settings,
    work: str | Path | None,
    *,
    progress: Progress = silent,
    force: bool = False,
    engine: Engine = LOCAL,
    keep_features: bool = False,
) -> Audit:
    """Carry a job out into `out`: collected, judged, rendered, then put in place as a whole."""
    job, budgeted = given.job, given.budgeted
    key = job.key()
    folders.require_free(out, key, force=force)
    with folders.whole_or_nothing(out) as folder:
        kept, deadline = work_folder(work), None if budgeted is None else budgeted.deadline
        how: dict[str, Any] = {"helpers": kept / "helpers", "deadline": deadline, "progress": progress, "engine": engine}
        execute(job, folder, kept / "runs" / key[:32], keep_features=keep_features, told=given.told(), **how)
        folders.write_judgement(folder, folders.judge_folder(folder, settings))
    given.done()
    return open_audit(out)


def open_target(model: str | nn.Module, preprocess: Any, data: Any, options: Mapping[str, Any]) -> Target:
    """The target of `run`'s options; the first image of `data` says how large an input is where the preprocessing does not."""
    names = ("weights", "model_args", "task", "device")

    def shape(prepared: Any) -> tuple[int, ...]:
        return first_shape(data, preprocess=prepared, depth16=options.get("depth16") or "full")

    given = {name: options[name] for name in names if options.get(name) is not None}
    target = load_target(model, preprocess=preprocess, input_shape=shape, **given)
    try:
        if options.get("second_model") is not None:
            target.second = open_second(options["second_model"], target)
        if options.get("generator") is not None:
            target.generator = open_generator(options["generator"], target)
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
