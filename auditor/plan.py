"""The plan: everything that decides the numbers, fixed before the pass, written to the audit and read on resume."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from auditor.store import dumps
from auditor.types import Json

SHARD, BATCHES = 256, 4
"""Samples and batches that a unit of work, checkpoint and resume holds at least, where there are so many."""

LIBRARIES = ("torch", "torchvision", "captum", "umap-learn", "openTSNE", "scikit-learn", "scipy", "numpy", "pillow")
ZOOS = ("timm", "transformers")
"""Counted where they are loaded: only then a model can come from them."""


@dataclass(frozen=True)
class Plan:
    """At an equal plan on an equal machine the audit has the identical bytes."""

    profile: str
    probes: Mapping[str, Mapping[str, Json]]
    """Probe id -> its parameters."""
    batch: int
    shard: int
    threads: int
    device: str
    """The class of the device: cpu, cuda, mps."""
    seed: int = 0
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Probe id -> why it is not run."""
    cuts: Mapping[str, str] = field(default_factory=dict)
    """Probe id -> what a budget made smaller in it."""
    forward: Mapping[str, Json] = field(default_factory=dict)
    """How forwards without a gradient are computed, as `target.forward.Forward` has it; empty: as the model is."""
    tuned: Mapping[str, Json] = field(default_factory=dict)
    """What was seen when `forward` was chosen: on how many images predictions agreed, and how far the scores were apart."""

    def digest(self) -> str:
        """sha256 of the plan's canonical JSON."""
        return hashlib.sha256(dumps(dataclasses.asdict(self))).hexdigest()


def shard_of(batch: int) -> int:
    """Consecutive samples that make one unit of work, in whole batches: of small images, which are fast, so many that to save and
    merge a state hardly counts.
    """
    return batch * max(BATCHES, -(-SHARD // batch))


def versions() -> dict[str, str]:
    """Library -> installed version."""
    found = {}
    for name in ("auditor", *LIBRARIES, *(zoo for zoo in ZOOS if zoo in sys.modules)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "source"
    return found


def sources_digest() -> str:
    """sha256 over auditor's own Python files: a changed program never continues another's work."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def run_key(target_digest: str, dataset_digest: str, plan: Plan, train_digest: str = "") -> str:
    """What names a run's work: model, data, training data ("" without), plan, program and libraries, by content."""
    parts = {
        "target": target_digest,
        "dataset": dataset_digest,
        "train": train_digest,
        "plan": plan.digest(),
        "sources": sources_digest(),
        "versions": versions(),
    }
    return hashlib.sha256(dumps(parts)).hexdigest()
