"""Helper nets are trained once, step by step, with checkpoints, and kept by content."""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auditor.checkpoint import Pace, write_work
from auditor.dataset import Dataset
from auditor.lesson import Lesson, Trained
from auditor.plan import Plan, sources_digest, versions
from auditor.store import dumps
from auditor.stream import Late, OutOfTime, Progress, on_time, silent
from auditor.target import Target


def lesson_key(lesson: Lesson, target: Target, dataset: Dataset, plan: Plan) -> str:
    """What names a helper net: all that it follows from, by content."""
    parts = {
        "lesson": [lesson.name, dict(lesson.settings), lesson.steps],
        "target": target.identity,
        "dataset": dataset.digest,
        "machine": [plan.device, plan.threads, plan.seed],
        "sources": sources_digest(),
        "versions": versions(),
    }
    return hashlib.sha256(dumps(parts)).hexdigest()


def learn(
    lesson: Lesson,
    target: Target,
    dataset: Dataset,
    plan: Plan,
    folder: Path,
    *,
    progress: Progress = silent,
    late: Late = on_time,
) -> Trained:
    """The trained net: as `folder` keeps it, or trained now and kept there, from the checkpoint of a stopped run on.

    Raises FloatingPointError where the loss is no number any more, OutOfTime where `late` says so between two steps. Whatever
    stops it loses what came after the last checkpoint: a step that was cut short is never kept.
    """
    path = folder / f"{lesson.name}-{lesson_key(lesson, target, dataset, plan)[:32]}.pt"
    state = read(path)
    torch.manual_seed(plan.seed)
    learner = lesson.start(target, dataset, plan.seed)
    losses: list[float] = []
    before = 0.0
    if state is not None:
        learner.load(state["learner"])
        losses, before = list(state["losses"]), float(state["seconds"])
    begin, pace = time.monotonic(), Pace()
    seconds = before

    def save() -> None:
        nonlocal seconds
        seconds = before + time.monotonic() - begin
        with pace.writing():
            write(path, {"learner": learner.save(), "losses": losses, "seconds": seconds})

    for index in range(len(losses), lesson.steps):
        if late():
            save()
            raise OutOfTime(f"{index} of {lesson.steps} steps of training {lesson.name!r} were taken")
        torch.manual_seed(plan.seed * 1_000_003 + index)
        losses.append(finite(learner.step(index), lesson, index))
        progress(f"train {lesson.name}", index + 1, lesson.steps)
        if index + 1 == lesson.steps or pace.due():
            save()
    return Trained(learner.module.eval().requires_grad_(False), np.asarray(losses, dtype=np.float64), seconds)


def finite(loss: float, lesson: Lesson, index: int) -> float:
    """The loss. Raises FloatingPointError where it is none."""
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the training of {lesson.name} diverged: its loss is {loss} at step {index} of {lesson.steps}; "
            "lower its learning rate in [probes]"
        )
    return loss


def read(path: Path) -> Mapping[str, Any] | None:
    """What `write` wrote; a missing, torn or damaged file counts as none."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError):
        return None
    return state if isinstance(state, dict) and {"learner", "losses", "seconds"} <= set(state) else None


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Replace the file as a whole."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_work(path, buffer.getvalue())
