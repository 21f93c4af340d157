"""About how long work with the model takes here: for a plan's lines and for a budget, never for a figure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from auditor.job import Job, unmet
from auditor.ops.batching import images_at_once
from auditor.probe import Probe

LEAST, FEWEST, MOST = 0.05, 3, 15
"""A call is timed until LEAST seconds are spent, FEWEST times at least and MOST times at most; the median counts."""
PATIENCE = 1.0
"""Seconds by the clock after which no call is timed again."""


@dataclass(frozen=True)
class Rates:
    """Seconds an image in a large batch, and seconds a call of the model, once warm."""

    forward: float
    gradient: float
    """A forward with the gradient of the input behind it."""
    forward_call: float = 0.0
    gradient_call: float = 0.0
    operation: float = 1e-5
    """A small operation on a tensor."""
    multiplication: float = 3e-11
    """Of a convolution, forwards and backwards."""

    def of(self, probe: Probe, job: Job) -> float:
        """Seconds of a probe's lessons, study and conclusion; 0 where it does not apply, or cannot tell."""
        if unmet(probe, job.target, job.dataset) is not None:
            return 0.0
        try:
            cost = probe.cost(job.target, job.dataset)
        except Exception:  # noqa: BLE001 - what is wrong is told when the probe runs, as its own failure
            return 0.0
        forward, gradient = self.forward + self.forward_call / cost.batch, self.gradient + self.gradient_call / cost.batch
        own = cost.operations * self.operation * (cost.forwards + cost.gradients) / cost.batch
        helpers = cost.multiplications * self.multiplication
        return cost.forwards * forward + cost.gradients * gradient + own + helpers + cost.seconds

    def of_passes(self, job: Job) -> float:
        """Seconds of the pass over the data, and of the one over the training data where a probe reads it."""
        readers = any(p.reads_train and unmet(p, job.target, job.dataset) is None for p in job.probes)
        images = len(job.dataset) + (len(job.train) if job.train is not None and readers else 0)
        return images * (self.forward + self.forward_call / job.plan.batch)

    def by_stage(self, job: Job) -> dict[str, float]:
        """Seconds of the pass and of each probe, by name: for run.json, beside what they took."""
        found = {"pass": self.of_passes(job), **{probe.id(): self.of(probe, job) for probe in job.probes}}
        return {name: round(seconds, 6) for name, seconds in found.items()}

    def of_all(self, job: Job) -> float:
        """Seconds in all, but for reading and writing files."""
        return self.of_passes(job) + sum(self.of(probe, job) for probe in job.probes)


def measured(job: Job) -> Rates:
    """The rates of this model on this machine, from a batch of the data and from one image."""
    target = job.target

    def batch(most: int) -> Tensor:
        return job.dataset.load(range(min(most, len(job.dataset))), target.device)

    def slope(given: Tensor) -> None:
        leaf = given.clone().requires_grad_(True)
        with torch.enable_grad():
            found = target.module(leaf).sum()
            if found.requires_grad:
                torch.autograd.grad(found, leaf, allow_unused=True)

    forward = line(job, target.look, batch(min(job.plan.batch, images_at_once(target.input_shape, target.device))))
    own = {"operation": operation(job), "multiplication": multiplication(job)}
    if target.task == "features":
        return Rates(forward[0], 3 * forward[0], forward[1], 3 * forward[1], **own)
    gradient = line(job, slope, batch(images_at_once(target.input_shape, target.device, gradient=True)))
    return Rates(forward[0], gradient[0], forward[1], gradient[1], **own)


def operation(job: Job) -> float:
    """Seconds of a small operation on a tensor of this device."""
    one = torch.full((4, 3, 32, 32), 0.4, device=job.target.device)

    def work() -> None:
        at = one
        for _ in range(10):
            at = torch.where(at > 0.5, at * 0.9, at + 0.1).clamp(0.0, 1.0)

    return clocked(job, work) / 50


def multiplication(job: Job) -> float:
    """Seconds of a multiplication of a convolution, 32 channels at 32 px, with the gradients of weights and maps."""
    weight = torch.full((32, 32, 3, 3), 0.01, device=job.target.device, requires_grad=True)
    maps = torch.full((8, 32, 32, 32), 0.4, device=job.target.device, requires_grad=True)

    def work() -> None:
        with torch.enable_grad():
            torch.autograd.grad(torch.nn.functional.conv2d(maps, weight, padding=1).sum(), [maps, weight])

    return clocked(job, work) / (3 * 8 * 9 * 32 * 32 * 32 * 32)


def line(job: Job, work: Callable[[Tensor], object], images: Tensor) -> tuple[float, float]:
    """(seconds an image, seconds a call) of `work`, by what one image (n,C,H,W) and all of them take."""
    single, all_of_them = clocked(job, lambda: work(images[:1])), clocked(job, lambda: work(images))
    if len(images) == 1 or all_of_them <= single:
        return all_of_them / len(images), 0.0
    each = (all_of_them - single) / (len(images) - 1)
    return each, max(0.0, single - each)


def clocked(job: Job, work: Callable[[], object]) -> float:
    """Seconds of one call once warm, the device waited for: the median of some, as the first ones fault pages.

    Of the processor, where one thread of it does all: other programs on the machine then count for less.
    """
    alone = job.target.device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    seconds: list[float] = []
    start = time.perf_counter()
    while len(seconds) < FEWEST or (sum(seconds) < LEAST and len(seconds) < MOST):
        if seconds and time.perf_counter() - start > PATIENCE:
            break
        begin = clock()
        work()
        if job.target.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(clock() - begin)
    return median(seconds)
