"""About how long work with the model takes here: for a plan's lines and for a budget, never for a figure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.job import Job, unmet
from auditor.probe import Probe

MOST = 16
"""Images of the batch that is timed."""


@dataclass(frozen=True)
class Rates:
    """Seconds an image in a large batch, and seconds a call of the model, once warm."""

    forward: float
    gradient: float
    """A forward with the gradient of the input behind it."""
    forward_call: float = 0.0
    gradient_call: float = 0.0

    def of(self, probe: Probe, job: Job) -> float:
        """Seconds of a probe's lessons, study and conclusion; 0 where it does not apply."""
        if unmet(probe, job.target, job.dataset) is not None:
            return 0.0
        cost = probe.cost(job.target, job.dataset)
        forward, gradient = self.forward + self.forward_call / cost.batch, self.gradient + self.gradient_call / cost.batch
        return cost.forwards * forward + cost.gradients * gradient + cost.seconds

    def of_passes(self, job: Job) -> float:
        """Seconds of the pass over the data, and of the one over the training data where a probe reads it."""
        readers = any(p.reads_train and unmet(p, job.target, job.dataset) is None for p in job.probes)
        images = len(job.dataset) + (len(job.train) if job.train is not None and readers else 0)
        return images * (self.forward + self.forward_call / job.plan.batch)

    def by_stage(self, job: Job) -> dict[str, float]:
        """Seconds of the pass and of each probe, by name: for run.json, beside what they took."""
        found = {"pass": self.of_passes(job), **{probe.id(): self.of(probe, job) for probe in job.probes}}
        return {name: round(seconds, 3) for name, seconds in found.items()}

    def of_all(self, job: Job) -> float:
        """Seconds in all, but for reading and writing files."""
        return self.of_passes(job) + sum(self.of(probe, job) for probe in job.probes)


def measured(job: Job) -> Rates:
    """The rates of this model on this machine, from a batch of the data and from one image."""
    target = job.target
    images = job.dataset.load(range(min(job.plan.batch, len(job.dataset), MOST)), target.device)

    def slope(given: Tensor) -> None:
        leaf = given.clone().requires_grad_(True)
        with torch.enable_grad():
            torch.autograd.grad(target.module(leaf).sum(), leaf, allow_unused=True)

    forward = line(job, target.look, images)
    if target.task == "features":
        return Rates(forward[0], 3 * forward[0], forward[1], 3 * forward[1])
    gradient = line(job, slope, images)
    return Rates(forward[0], gradient[0], forward[1], gradient[1])


def line(job: Job, work: Callable[[Tensor], object], images: Tensor) -> tuple[float, float]:
    """(seconds an image, seconds a call) of `work`, by what one image (n,C,H,W) and all of them take."""
    single, all_of_them = clocked(job, lambda: work(images[:1])), clocked(job, lambda: work(images))
    if len(images) == 1 or all_of_them <= single:
        return all_of_them / len(images), 0.0
    each = (all_of_them - single) / (len(images) - 1)
    return each, max(0.0, single - each)


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
