"""Job: all that an audit is made from, and what of it applies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import numpy as np

from auditor.dataset import Dataset
from auditor.errors import ConfigError
from auditor.plan import Plan, run_key
from auditor.probe import Probe
from auditor.target import Target


@dataclass(frozen=True)
class Job:
    """All that an audit is made from."""

    target: Target
    dataset: Dataset
    probes: Sequence[Probe]
    plan: Plan
    name: str
    train: Dataset | None = None
    """What the model was trained on, to be looked through for leaks."""

    @property
    def train_digest(self) -> str:
        """ "" without a training set."""
        return "" if self.train is None else self.train.digest

    def key(self) -> str:
        """Names the work by content."""
        second = self.target.second
        generator = self.target.generator
        model = self.target.identity + ("" if second is None else f":{second.identity}")
        model += "" if generator is None else f":generator:{generator.digest}"
        return run_key(model, self.dataset.digest, self.plan, self.train_digest)


def unmet(probe: Probe, target: Target, dataset: Dataset) -> str | None:
    """Why a probe does not apply here, None where it does."""
    needs = probe.needs
    if needs.scores and target.task == "features":
        return "it needs class scores, and the audit runs with --task features"
    if needs.labels and not bool((np.asarray(dataset.labels) >= 0).any()):
        return "it needs labels, and no sample has one"
    if needs.convolutions and not target.choose("spatial", 1):
        return "no layer of the model gives maps or tokens with a place in the image"
    if needs.pixels and not getattr(target.preprocess, "invertible", True):
        return "the preprocessing is an opaque function: a change cannot be bounded in image space; give --mean, --std, --resize"
    return None


def in_order(probes: Sequence[Probe]) -> list[Probe]:
    """So sorted that every probe comes after those it reads."""
    by_id = {probe.id(): probe for probe in probes}
    graph = {name: [r for r in probe.reads if r in by_id] for name, probe in by_id.items()}
    try:
        return [by_id[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError as error:
        raise ConfigError(f"these probes read each other in a circle: {' -> '.join(error.args[1])}") from error
