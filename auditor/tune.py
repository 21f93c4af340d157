"""--tune: which batch, layout, folding and precision make the pass over the data quickest here, and agree with the model.

For each way to compute the forward (the model as it is; channels last; batch norms folded; both; with channels last also the
convolutions laid out; all but these in bfloat16 too where that was asked for) the pass is timed on BATCHES batches of 1, 2, 4 ...
images, with all that the probes watch, until larger batches are clearly slower. A way is refused where it does not give the
classes that the model gives. The quickest one goes into the plan; another than the model's own has to be GAIN quicker. Only
choosing reads the clock: the plan repeats without it.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
import torch

from auditor.errors import AuditError, ConfigError, TargetError
from auditor.evidence import Outputs
from auditor.fold import Fold
from auditor.gather import OUTPUTS, looks
from auditor.job import Job, unmet
from auditor.ops.batching import MOST
from auditor.ops.lean import AGREEMENT
from auditor.plan import shard_of
from auditor.planning import read_plan, repeated
from auditor.store import write_json
from auditor.stream import look_at
from auditor.target import Forward
from auditor.types import Array, Json

BATCHES = 3
"""That are timed, after one that is not; the quickest counts."""
COMPARED = 96
"""Images, spread over the data, on which predictions must agree."""
SLOWER = 1.25
"""Once two sizes running take so many times as long an image as the best one, no larger one is tried."""
GAIN = 0.95
"""What differs from the model by rounding must take at most this share of its time, and bfloat16 of the best in float32."""
MOST_BYTES = 4 << 30
"""Of the outputs of all layers of one batch together: beyond it a batch is not tried."""


@dataclass(frozen=True)
class Trial:
    """One candidate."""

    forward: Forward
    seconds: float | None = None
    """An image."""
    refused: str = ""
    """Why it is no candidate."""


@dataclass(frozen=True)
class Tuned:
    """A job whose plan says how its forwards are computed."""

    job: Job
    trials: Sequence[Trial]
    """Empty where an earlier run that was stopped had chosen."""
    path: Path
    """Where its plan waits for a rerun, should this run be stopped: tuning reads the clock, and a rerun is to go on."""

    def done(self) -> None:
        """The run has ended well."""
        self.path.unlink(missing_ok=True)

    def facts(self) -> list[Json]:
        """The trials, for run.json."""
        return [{**dataclasses.asdict(t.forward), "seconds_an_image": t.seconds, "refused": t.refused} for t in self.trials]


def tuned(job: Job, precisions: Sequence[str], work: Path) -> Tuned:
    """The job with the quickest forward that agrees; the one that an earlier run was stopped in, where there is one."""
    path = work / "plans" / f"{job.key()[:32]}-tuned-{'-'.join(precisions)}.json"
    if path.exists():
        plan = read_plan(path)
        return Tuned(replace(job, plan=plan, probes=repeated(plan, job.target)), (), path)
    forward, facts, trials = chosen(job, precisions)
    job.target.compute_as(forward)
    plan = replace(job.plan, batch=forward.batch, shard=shard_of(forward.batch), forward=dataclasses.asdict(forward), tuned=facts)
    write_json(path, dataclasses.asdict(plan))
    return Tuned(replace(job, plan=plan), trials, path)


def chosen(job: Job, precisions: Sequence[str]) -> tuple[Forward, dict[str, Json], list[Trial]]:
    """The quickest forward that agrees, what was seen of its agreement, and all trials."""
    folds = watching(job)
    positions = np.unique(np.linspace(0, len(job.dataset) - 1, min(COMPARED, len(job.dataset))).astype(np.int64))
    job.target.compute_as(Forward())
    expected = outputs(job, positions, job.plan.batch)
    trials: list[Trial] = []
    for way in ways(precisions, lays_out=job.target.device.type == "cpu"):
        try:
            job.target.compute_as(way)
        except TargetError as error:
            trials.append(Trial(way, refused=str(error)))
            continue
        why, _ = disagreement(expected, outputs(job, positions, job.plan.batch), way.precision)
        trials += [Trial(way, refused=why)] if why else timed(job, way, folds)
    job.target.compute_as(Forward())
    for trial in ranked(trials):
        job.target.compute_as(trial.forward)
        why, apart = disagreement(expected, outputs(job, positions, trial.forward.batch), trial.forward.precision)
        if not why:
            return trial.forward, {"images": len(positions), "apart": apart}, trials
        trials[trials.index(trial)] = replace(trial, refused=why)
    raise ConfigError("--tune: the model gives other classes for the same images from batch to batch; leave out --tune")


def ways(precisions: Sequence[str], *, lays_out: bool) -> Iterator[Forward]:
    """All ways to compute, without a batch; the model as it is first. `lays_out`: whether this device gains by laying out."""
    for precision in precisions:
        for channels_last, folded in ((False, False), (True, False), (False, True), (True, True)):
            yield Forward(0, channels_last, folded, precision)
            if lays_out and channels_last and precision == "float32":
                yield Forward(0, channels_last, folded, precision, laid_out=True)


def watching(job: Job) -> dict[str, Fold]:
    """What looks at the pass."""
    active = [probe for probe in job.probes if unmet(probe, job.target, job.dataset) is None]
    return {OUTPUTS: Outputs()} | looks(active, job.target, {})


def outputs(job: Job, positions: Array, batch: int) -> Mapping[str, Array]:
    """Scores (n,K), where there are any, and features (n,D) of the images at `positions` (n,)."""
    seen = [
        job.target.look(job.dataset.load(positions[i : i + batch], job.target.device)) for i in range(0, len(positions), batch)
    ]
    found = {"features": np.concatenate([look.features.cpu().numpy() for look in seen])}
    scores = [look.scores.cpu().numpy() for look in seen if look.scores is not None]
    return {**found, "scores": np.concatenate(scores)} if scores else found


def disagreement(expected: Mapping[str, Array], found: Mapping[str, Array], precision: str) -> tuple[str, float]:
    """Why outputs are not those expected, "" where they are; and how far they are apart, as a share of the largest.

    Predictions must be equal, each one; without scores, features to the precision's rounding.
    """
    name = "scores" if "scores" in expected else "features"
    one, other = expected[name].astype(np.float64), found[name].astype(np.float64)
    apart = float(np.abs(one - other).max() / max(float(np.abs(one).max()), 1e-30))
    if not np.isfinite(apart):
        return f"{name} are NaN or infinite", apart
    if precision == "float32" and apart > AGREEMENT:
        return f"{name} differ by {apart:.1e} of the largest, more than {AGREEMENT:g}", apart
    if name == "features":
        most = AGREEMENT if precision == "float32" else 2e-2
        return (f"features differ by {apart:.1e} of the largest, more than {most:g}" if apart > most else ""), apart
    other_class = int(np.count_nonzero(one.argmax(1) != other.argmax(1)))
    return (f"{other_class} of {len(one)} images get another class" if other_class else ""), apart


def timed(job: Job, way: Forward, folds: Mapping[str, Fold]) -> list[Trial]:
    """Batches of rising size, until they are clearly slower."""
    found: list[Trial] = []
    best, slow = float("inf"), 0
    size = 4 * sum(prod(call.shape[1:]) for call in job.target.trace if call.shape)
    batch = 1
    while batch <= min(MOST, len(job.dataset)) and (batch == 1 or batch * size <= MOST_BYTES):
        try:
            seconds = clocked(job, folds, batch)
        except (AuditError, torch.OutOfMemoryError) as error:
            found.append(Trial(replace(way, batch=batch), refused=str(error).splitlines()[0]))
            break
        found.append(Trial(replace(way, batch=batch), seconds))
        best = min(best, seconds)
        slow = slow + 1 if seconds > SLOWER * best else 0
        if slow == 2:
            break
        batch *= 2
    return found


def clocked(job: Job, folds: Mapping[str, Fold], batch: int) -> float:
    """Seconds an image of the pass: the quickest of BATCHES batches, or of as many as the data have.

    Of the processor, where one thread of it does all: other programs on the machine then count for less.
    """
    alone = job.target.device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    starts = range(0, max(1, len(job.dataset) - batch + 1), batch)[:BATCHES]
    seconds = []
    for number, begin in enumerate([starts[0], *starts]):  # the first one is not counted
        fresh = {name: copy.deepcopy(fold) for name, fold in folds.items()}
        before = clock()
        look_at(job.target, job.dataset, range(begin, begin + batch), fresh, batch)
        if job.target.device.type == "cuda":
            torch.cuda.synchronize()
        if number:
            seconds.append((clock() - before) / batch)
    return min(seconds)


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Those that were timed, quickest first, with what must be GAIN quicker taken as slower by so much."""

    def cost(trial: Trial) -> float:
        way = trial.forward
        assert trial.seconds is not None
        rounds, rough = way.channels_last or way.folded, way.precision != "float32"
        return trial.seconds / GAIN ** (int(rounds) + int(rough))

    return sorted((trial for trial in trials if trial.seconds is not None), key=cost)
