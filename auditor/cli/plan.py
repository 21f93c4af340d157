"""What a run will do and about what it costs, before it does it."""

from __future__ import annotations

import time

import torch

from auditor.probe import Probe
from auditor.run import Job, unmet
from auditor.target import Target


def print_plan(job: Job) -> None:
    """What will be done, and about what it costs, before it is done."""
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
    seconds = bare_seconds(target, job)
    each = f"{seconds * 1000:.1f} ms an image"
    print(f"pass    {len(dataset)} images in batches of {job.plan.batch}, about {seconds * len(dataset):.0f} s at {each}")
    for probe in job.probes:
        reason = unmet(probe, target, dataset)
        print(f"probe   {probe.id()}: " + (f"not applicable: {reason}" if reason else parameters_line(probe)))
    for name, reason in job.plan.left_out.items():
        print(f"        {name} left out: {reason}")


def parameters_line(probe: Probe) -> str:
    """A probe's parameters on one line."""
    return ", ".join(f"{key}={value}" for key, value in probe.parameters().items()) or "no parameters"


def bare_seconds(target: Target, job: Job) -> float:
    """Seconds an image of one warm forward pass: for the printed estimate only, never in a plan."""
    index = range(min(job.plan.batch, len(job.dataset)))
    images = job.dataset.load(list(index), target.device)
    target.look(images)
    begin = time.perf_counter()
    target.look(images)
    if target.device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / max(len(index), 1)
