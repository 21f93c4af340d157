"""The pass over the data set, and the studies after it: shards in order, merged in order, checkpointed as they finish."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auditor.checkpoint import Checkpoint
from auditor.dataset import Dataset
from auditor.engines import Engine
from auditor.engines.local import LOCAL
from auditor.fold import Batch, Fold, Rows, State, Study, concatenate
from auditor.ops.maxima import maxima
from auditor.plan import Plan
from auditor.rowfiles import RowFiles
from auditor.target import Target
from auditor.types import Array

Progress = Callable[[str, int, int], None]
"""(what, done, total)."""


def silent(_what: str, _done: int, _total: int) -> None:
    """No progress shown."""


Late = Callable[[], bool]
"""Whether the time that was granted is used up."""


def on_time() -> bool:
    """Time without end."""
    return False


class OutOfTime(Exception):  # noqa: N818 - no error: a budget that was kept
    """The time that was granted is used up; what is finished is kept. Its text says how far the work came."""


def chunks(count: int, most: int) -> list[tuple[int, range]]:
    """(index, positions) of `count` items in as few parts of at most `most` as can be, in order and about equally large: a small
    one behind large ones would leave one of two workers idle.
    """
    edges = np.linspace(0, count, -(-count // most) + 1).round().astype(int).tolist()
    return [(index, range(begin, end)) for index, (begin, end) in enumerate(pairwise(edges))]


def shards(count: int, size: int, batch: int) -> list[tuple[int, range]]:
    """(index, positions) of `count` samples in shards of whole batches, of about `size` at most, shared out evenly."""
    parts = chunks(-(-count // batch), max(1, size // batch))
    return [(index, range(part.start * batch, min(part.stop * batch, count))) for index, part in parts]


def look_at(target: Target, dataset: Dataset, positions: range, folds: Mapping[str, Fold], batch: int) -> dict[str, str]:
    """Show one shard to the folds, one forward a batch. Returns fold name -> traceback of those that raised."""
    failed: dict[str, str] = {}
    for begin in range(positions.start, positions.stop, batch):
        index = np.arange(begin, min(begin + batch, positions.stop), dtype=np.int64)
        layers = tuple(dict.fromkeys(layer for name, fold in folds.items() if name not in failed for layer in fold.layers))
        images = dataset.load(index, target.device)
        early = {name: fold for name, fold in folds.items() if fold.by_layer}
        output = target.look(images, layers, partial(show_layer, folds, failed, index)) if early else target.look(images, layers)
        seen = Batch(index, np.asarray(dataset.labels)[index], images, output.scores, output.features, output.activations)
        for name, fold in folds.items():
            if name not in failed and name not in early:
                with failing(name, failed), torch.no_grad():
                    fold.see(seen)
    return failed


def show_layer(folds: Mapping[str, Fold], failed: dict[str, str], positions: Array, layer: str, output: Tensor) -> bool:
    """Show what a layer gave to the folds that see layer by layer; whether others want it when the forward has ended."""
    wanted = {name: fold for name, fold in folds.items() if name not in failed and layer in fold.layers}
    for name, fold in wanted.items():
        if fold.by_layer:
            with failing(name, failed), torch.no_grad():
                fold.see_layer(layer, output, positions)
    maxima.forget()
    return any(not fold.by_layer for fold in wanted.values())


@contextmanager
def failing(name: str, failed: dict[str, str]) -> Iterator[None]:
    """What a fold raises in the block is its own finding; the run goes on."""
    try:
        yield
    except Exception:  # noqa: BLE001 - as said
        failed[name] = traceback.format_exc()


@dataclass(frozen=True)
class Shard:
    """The work on one shard of the pass."""

    empty: Mapping[str, Fold]
    """Folds that have seen nothing."""
    failed: dict[str, str]
    """Those that raised need see no more; in this process it grows while the pass goes on."""
    batch: int
    seed: int
    merged: dict[str, Fold] = field(default_factory=dict)
    """What other shards gave: in this process all before, as the pass goes on; in another one those that it did itself."""
    sent: bool = False
    """Whether this is another process than the one that merges."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "merged": {}, "sent": True}

    def __call__(self, target: Target, dataset: Dataset, positions: range) -> tuple[dict[str, State], dict[str, str]]:
        """Fold name -> what it saved of these positions; fold name -> traceback of those that raised."""
        torch.manual_seed(self.seed * 1_000_003 + positions.start)  # a forward that is random draws the same in any process
        fresh = {name: copy.deepcopy(fold) for name, fold in self.empty.items() if name not in self.failed}
        for name, fold in fresh.items():
            if name in self.merged:
                fold.beside(self.merged[name])
        broken = look_at(target, dataset, positions, fresh, self.batch)
        states = {name: fold.save() for name, fold in fresh.items() if name not in broken}
        if self.sent:
            for name, state in states.items():
                if type(self.empty[name]).beside is not Fold.beside:  # the others have no use for it
                    take_in(self.merged, self.empty, name, state)
        return states, broken


def take_in(merged: dict[str, Fold], empty: Mapping[str, Fold], name: str, state: State) -> None:
    """Merge what a fold saved into that of its name; a fold that has seen nothing is the unit."""
    fresh = copy.deepcopy(empty[name])
    fresh.load(state)
    if name not in merged:
        merged[name] = copy.deepcopy(empty[name])
    merged[name].merge(fresh)


@dataclass(frozen=True)
class Chunk:
    """The work on some items of a study."""

    study: Study
    seed: int

    def __call__(self, target: Target, dataset: Dataset, span: range) -> State:
        """Row name -> one row an item."""
        torch.manual_seed(self.seed)
        rows = self.study.work(target, dataset, [self.study.items[i] for i in span])
        return {key: np.asarray(value) for key, value in rows.items()}


def run_pass(
    target: Target,
    dataset: Dataset,
    folds: Mapping[str, Fold],
    plan: Plan,
    work: Path,
    *,
    what: str = "pass",
    progress: Progress = silent,
    engine: Engine = LOCAL,
) -> tuple[dict[str, Fold], dict[str, str]]:
    """Every sample exactly once through the model, shown to all folds.

    Returns the merged folds, and fold name -> traceback of those that raised. Goes on from the checkpoint of `what` in `work`.
    """
    empty = dict(folds)
    merged = {name: copy.deepcopy(fold) for name, fold in empty.items()}
    files = {name: RowFiles(work, f"{what}-{name}") for name, fold in folds.items() if isinstance(fold, Rows)}
    todo = shards(len(dataset), plan.shard, plan.batch)
    checkpoint = taken_up(work / f"{what}.npz", files, len(todo))
    failed: dict[str, str] = dict(checkpoint.facts.get("failed", {}))
    for name, state in checkpoint.states.items():
        merged[name].load(state)
    task = Shard(empty, failed, plan.batch, plan.seed, merged)
    done, whole = checkpoint.done, True

    def save() -> None:
        checkpoint.facts |= {"failed": failed, "files": {name: of.facts() for name, of in files.items() if name not in failed}}
        held = {name: fold for name, fold in merged.items() if name not in failed and name not in files}
        checkpoint.write(done, {name: fold.save() for name, fold in held.items()})
        for of in files.values():
            of.alone()

    try:
        with closing(engine.run(todo[done:], task, target, dataset)) as results:
            for index, (states, broken) in results:
                whole = False  # a shard that is stopped half-way through is in no checkpoint
                failed.update({name: trace for name, trace in broken.items() if name not in failed})
                for name, state in states.items():
                    if name in failed:
                        continue
                    if name in files:
                        files[name].append(state)
                        continue
                    take_in(merged, empty, name, state)
                done, whole = index + 1, True
                progress(what, todo[index][1].stop, len(dataset))
                if checkpoint.pace.due():
                    save()
        for name, of in files.items():
            merged[name].load(of.arrays())
    finally:
        if done > checkpoint.done and whole:
            save()
        for of in files.values():
            of.close()
    return {name: fold for name, fold in merged.items() if name not in failed}, failed


def taken_up(path: Path, files: Mapping[str, RowFiles], count: int) -> Checkpoint:
    """The checkpoint of a pass of `count` shards; one whose rows are not all there counts as none."""
    found = Checkpoint(path).read()
    known = found.facts.get("files", {})
    for name, of in files.items():
        if name in found.facts.get("failed", {}) or not found.done:
            continue
        if not known.get(name) or not of.take_up(known[name], more=found.done < count):
            for other in files.values():
                other.forget()
            return Checkpoint(path)
    return found


def run_study(
    name: str,
    study: Study,
    target: Target,
    dataset: Dataset,
    plan: Plan,
    work: Path,
    *,
    progress: Progress = silent,
    late: Late = on_time,
    engine: Engine = LOCAL,
) -> State:
    """The rows of all items, in their order. Goes on from the checkpoint in `work`.

    Raises OutOfTime where `late` says so between two chunks.
    """
    todo = chunks(len(study.items), study.chunk)
    checkpoint = Checkpoint(work / f"study-{name}.npz").read()
    parts = [checkpoint.states["rows"]] if checkpoint.states.get("rows") else []
    done = checkpoint.done
    try:
        with closing(engine.run(todo[done:], Chunk(study, plan.seed), target, dataset)) as results:
            for index, rows in results:
                for key, value in rows.items():
                    if len(value) != len(todo[index][1]):
                        raise ValueError(f"study of {name}: expected {len(todo[index][1])} rows of {key!r}, got {len(value)}")
                parts.append(rows)
                done = index + 1
                progress(name, todo[index][1].stop, len(study.items))
                if checkpoint.pace.due():
                    parts = [concatenate(parts)]
                    checkpoint.write(done, {"rows": parts[0]})
                if done < len(todo) and late():
                    raise OutOfTime(f"{todo[index][1].stop} of {len(study.items)} items were finished")
    finally:
        if done > checkpoint.done:
            checkpoint.write(done, {"rows": concatenate(parts)})
    return concatenate(parts)
