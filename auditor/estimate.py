"""About how long work with the model takes here: for a plan's lines and for a budget, never for a figure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from auditor.job import Job, unmet
from auditor.probe import Probe

MOST = 16
"""Images of the batch that is timed."""


@dataclass(frozen=True)
class Rates:
    """Seconds an image, once warm."""

    forward: float
    gradient: float
    """A forward with the gradient of the input behind it."""

    def of(self, probe: Probe, job: Job) -> float:
        """Seconds of a probe's lessons and study; 0 where it does not apply."""
        if unmet(probe, job.target, job.dataset) is not None:
            return 0.0
        cost = probe.cost(job.target, job.dataset)
        return cost.forwards * self.forward + cost.gradients * self.gradient

    def of_passes(self, job: Job) -> float:
        """Seconds of the pass over the data, and of the one over the training data where a probe reads it."""
        readers = any(p.reads_train and unmet(p, job.target, job.dataset) is None for p in job.probes)
        return self.forward * (len(job.dataset) + (len(job.train) if job.train is not None and readers else 0))

    def of_all(self, job: Job) -> float:
        """Seconds with the model in all."""
        return self.of_passes(job) + sum(self.of(probe, job) for probe in job.probes)


def measured(job: Job) -> Rates:
    """The rates of this model on this machine, from a batch of the data."""
    target = job.target
    index = range(min(job.plan.batch, len(job.dataset), MOST))
    images = job.dataset.load(index, target.device)
    forward = clocked(job, lambda: target.look(images))
    if target.task == "features":
        return Rates(forward / len(index), 3 * forward / len(index))

    def slope() -> None:
        leaf = images.clone().requires_grad_(True)
        with torch.enable_grad():
            torch.autograd.grad(target.module(leaf).sum(), leaf, allow_unused=True)

    return Rates(forward / len(index), clocked(job, slope) / len(index))


def clocked(job: Job, work: Callable[[], object]) -> float:
    """Seconds of one call once warm, the device waited for: the quickest of three, as the first ones fault pages."""
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        work()
        if job.target.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)
