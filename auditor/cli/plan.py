"""What a run will do and about what it costs, before it does it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import torch

from auditor.job import Job, unmet
from auditor.probe import Probe
from auditor.target import Target

MOST = 16
"""Images of the batch that is timed."""


def print_plan(job: Job, asked: Collection[str] = ()) -> None:
    """What will be done, and about what it costs, before it is done. `asked`: probes that rules name."""
    target, dataset = job.target, job.dataset
    side = "x".join(map(str, target.input_shape))
    print(f"model   {target.source}: {target.task}, {target.outputs} outputs, input {side}, on {target.device}")
    for note in target.notes:
        print(f"        {note}")
    ledger = dataset.ledger
    parts = " + ".join(f"{ledger[name]} {name}" for name in ("ok", "normalised", "quarantined"))
    print(f"data    {ledger['listed']} listed = {parts}; labels: {ledger['label_rule']}")
    for warning in ledger.get("warnings", []):
        print(f"        {warning}")
    forward, gradient = bare_seconds(target, job)
    whole = forward * len(dataset)
    print(f"pass    {len(dataset)} images in batches of {job.plan.batch}: {lasts(whole)} at {forward * 1000:.1f} ms an image")
    whole += train_line(job, forward)
    for probe in job.probes:
        reason = unmet(probe, target, dataset)
        cost = probe.cost(target, dataset)
        seconds = 0.0 if reason else cost.forwards * forward + cost.gradients * gradient
        whole += seconds
        more = f"{lasts(seconds)}; " if seconds else ""
        print(f"probe   {probe.id()}: " + (f"not applicable: {reason}" if reason else more + parameters_line(probe)))
    for name, reason in job.plan.left_out.items():
        ruled = "; a rule asks for it, so the audit will be incomplete" if name in asked else ""
        print(f"        {name} left out: {reason}{ruled}")
    print(f"        {lasts(whole)} with the model in all; a gradient takes {gradient * 1000:.1f} ms an image")


def train_line(job: Job, forward: float) -> float:
    """Tell of the training set, and return the seconds that its pass takes."""
    if job.train is None:
        return 0.0
    ledger = job.train.ledger
    parts = " + ".join(f"{ledger[name]} {name}" for name in ("ok", "normalised", "quarantined"))
    readers = [probe.id() for probe in job.probes if probe.reads_train and unmet(probe, job.target, job.dataset) is None]
    seconds = forward * len(job.train) if readers else 0.0
    what = f"features for {', '.join(readers)}: {lasts(seconds)}" if readers else "no probe that is asked for reads it"
    print(f"train   {ledger['listed']} listed = {parts}; {what}")
    for warning in ledger.get("warnings", []):
        print(f"        {warning}")
    return seconds


def lasts(seconds: float) -> str:
    """A rough time in words."""
    return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"


def parameters_line(probe: Probe) -> str:
    """A probe's parameters on one line."""
    return ", ".join(f"{key}={value}" for key, value in probe.parameters().items()) or "no parameters"


def bare_seconds(target: Target, job: Job) -> tuple[float, float]:
    """Seconds an image of a warm forward, and of one with the input's gradient: for the estimate, never in a plan."""
    index = range(min(job.plan.batch, len(job.dataset), MOST))
    images = job.dataset.load(index, target.device)
    forward = clocked(target, lambda: target.look(images))
    if target.task == "features":
        return forward / len(index), 3 * forward / len(index)

    def slope() -> None:
        leaf = images.clone().requires_grad_(True)
        with torch.enable_grad():
            torch.autograd.grad(target.module(leaf).sum(), leaf, allow_unused=True)

    return forward / len(index), clocked(target, slope) / len(index)


def clocked(target: Target, work: Callable[[], object]) -> float:
    """Seconds of one call once warm, the device waited for: the quickest of three, as the first ones fault pages."""
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        work()
        if target.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)
