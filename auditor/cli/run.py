"""`auditor run` and `auditor plan`."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from auditor import api
from auditor.budget import seconds_of
from auditor.cli.plan import lasts, print_plan
from auditor.cli.progress import Bars
from auditor.cli.request import Request, default_name, given_preprocess, merged, model_args, settings_of, wished
from auditor.config import Settings
from auditor.config.moved import today_of
from auditor.engines import opened
from auditor.errors import ConfigError
from auditor.job import Job
from auditor.store import read_json, require_writable, write_json
from auditor.types import Verdict


def prepare(request: Request, settings: Settings, bars: Bars, threads: int | None = None) -> Job:
    """Load model and data, fix the plan."""
    for name in ("model", "data"):
        if getattr(request, name) is None:
            raise ConfigError(
                f"--{name} is missing; give it here or in audit.toml under [{'target' if name == 'model' else 'data'}]"
            )
    api.require_rules(settings)
    wish = dataclasses.replace(wished(request), threads=threads)
    wish.require(settings)
    if request.budget is not None:
        seconds_of(request.budget)
    options: dict[str, Any] = {
        "weights": request.weights,
        "model_args": model_args(request.model_arg),
        "task": request.task,
        "device": request.device,
        "classes_file": request.classes,
        "label_map": request.label_map,
        "depth16": request.depth16,
        "work": request.work,
        "second_model": request.second_model,
        "generator": request.generator,
    }
    target = api.open_target(str(request.model), given_preprocess(request), str(request.data), options)
    dataset = api.open_data(target, str(request.data), options, bars)
    train = None if request.train is None else api.open_train(target, dataset, request.train, options, bars)
    out = request.out or Path("reports") / default_name(str(request.model))
    return wish.job(target, dataset, train, settings, out.name)


def fitted(request: Request, settings: Settings, job: Job) -> api.Fitted:
    """The job tuned and within its budget, where these are asked for."""
    return api.fitted(job, wished(request), request.budget, settings, api.work_folder(request.work), estimate=True)


def plan_request(request: Request) -> int:
    """`auditor plan`."""
    settings = settings_of(request)
    with Bars() as bars:
        job = prepare(merged(request, settings), settings, bars)
    found = fitted(request, settings, job)
    print_plan(found, {today_of(rule.measure).split(".")[0] for rule in settings.gate.all_rules})
    found.done()
    if request.save is not None:
        write_json(request.save, dataclasses.asdict(found.job.plan))
        print(f"plan    {request.save}")
    return 0


def run_request(request: Request, *, force: bool = False) -> int:
    """`auditor run`; returns the exit code of the gate."""
    settings = settings_of(request)
    request = merged(request, settings)
    out = request.out or Path("reports") / default_name(str(request.model))
    require_writable(out.parent)
    with opened(request.engine, request.workers) as engine, Bars() as bars:
        job = prepare(request, settings, bars, engine.threads)
        try:
            found = fitted(request, settings, job)
            print_plan(found, {today_of(rule.measure).split(".")[0] for rule in settings.gate.all_rules})
            how: dict[str, Any] = {
                "progress": bars,
                "force": force,
                "engine": engine,
                "keep_features": request.keep_features,
            }
            audit = api.run_job(found, out, settings, request.work, **how)
        finally:
            job.target.restore()
    from auditor.report import render_listing

    if render_listing(out.parent) is None:
        print(f"        {out.parent / 'index.html'} is not ours and was kept: no list of audits was written", file=sys.stderr)
    verdict = audit.verdict
    assert verdict is not None
    print_verdict(audit, verdict)
    return verdict.exit_code


def print_verdict(audit: api.Audit, verdict: Verdict) -> None:
    """The end of a run: the verdict, a line a figure, where to click."""
    for probe, found in audit.record.sections.items():
        if found.status in ("failed", "not_applicable"):
            print(f"{probe}: {found.status.replace('_', ' ')}: {found.reason}")
    print_time(audit.path)
    print(f"{audit.record.name}: {verdict.verdict.replace('_', ' ')}: {verdict.why}")
    print(f"report  {audit.index}")


def print_time(folder: Path) -> None:
    """What the stages took in this process beside what was estimated: less, where an earlier run had done a part."""
    run = read_json(folder / "run.json")
    took = {name: float(spent["cpu_seconds"]) for name, spent in run["spent"].items()}
    due = {name: float(seconds) for name, seconds in run["estimate"].items()}
    print(f"time    {lasts(sum(took.values()))} of the processor, {lasts(sum(due.values()))} by estimate")
    off = sorted(due, key=lambda name: -abs(took.get(name, 0.0) - due[name]))
    told = [f"{name} {took[name]:.0f} s, not {due[name]:.0f}" for name in off if name in took and abs(took[name] - due[name]) > 1]
    if told:
        print(f"        furthest off: {'; '.join(told[:3])}")
