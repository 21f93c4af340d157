"""About how much memory and disk an audit takes: for a plan's lines, never for a figure."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from auditor.evidence.graph import MOST_NEIGHBOURS
from auditor.job import Job
from auditor.methods.generator import width_of
from auditor.ops.frozen import laid_out_bytes

EACH = 2_500
"""Bytes of one image: its name, key, label and columns. RssAnon of 50,000 images less that of 5,000 (`benchmarks.report`)."""
AT_WORK = 200_000_000
"""Bytes that do not grow with the data: what decodes, one block of distances, the page."""
THUMB = 16 * 16 * 2
"""Bytes of a channel of a thumbnail, by which pictures are compared."""


@dataclass(frozen=True)
class Room:
    """Bytes."""

    held: int | None
    """That the process holds already, program and model; None where the system does not say."""
    memory: int
    """More of the process's own. Files that it maps are not counted: the system takes their pages back where it needs them."""
    files: int
    """In --work: decoded images, scores, features, and the graph of neighbours while it is in use."""


def room(job: Job) -> Room:
    """Of an audit of these data."""
    target, count = job.target, len(job.dataset)
    outputs = sum(prod(call.shape[1:]) for call in target.trace if call.shape)
    numbers = 4 * (width_of(target) + target.outputs) + 12 * min(MOST_NEIGHBOURS, count) + THUMB * target.input_shape[0]
    decoded = prod(target.input_shape) * (1 if target.preprocess.invertible else 4)
    images = count + (0 if job.train is None else len(job.train))
    laid_out = laid_out_bytes(target.model) if target.device.type == "cpu" else 0
    memory = AT_WORK + EACH * images + 4 * outputs * job.plan.batch + laid_out
    return Room(held(), memory, images * (decoded + numbers))


def held() -> int | None:
    """Bytes of memory of this process's own (RssAnon of Linux)."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), None)
