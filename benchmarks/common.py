"""What the stages of the benchmark share: a clock that lets the sides take turns, one kind of row, and how rows are written.

A stage is a module that takes --out DIR and --small, and writes DIR/STAGE.json, a list of rows:

    python -m benchmarks.occlusion --out DIR

Times are CPU seconds of the process. On a machine that others use too a lone figure means nothing: what counts is the ratio of
sides that took turns: in one process, or, batch by batch, in forks of one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from importlib import metadata
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
import torch

ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1") | {
    "OMP_WAIT_POLICY": "passive",
    "PYTHONHASHSEED": "0",
}
"""What a stage's process is started with; some libraries read it before a stage's first line runs."""
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    stage: str
    case: str
    ours_s: float | None
    """CPU seconds, the median of the rounds; None where ours did not run."""
    peer: str
    """What was measured beside ours, with its version; that it is not installed, where it is not."""
    peer_s: float | None
    ratio: float | None
    """Peer over ours where the target is `>=` (times as fast), else ours over peer: the median of the rounds' own ratios."""
    target: str
    """`>= x` or `<= x`; "" where none is set."""
    met: bool | None
    """None where there is no target, or no ratio."""
    note: str = ""


@dataclass(frozen=True)
class Turns:
    """CPU seconds of sides that took turns."""

    seconds: Mapping[str, Sequence[float]]
    """Side -> one number a round."""

    def median(self, side: str) -> float:
        """Seconds of a side."""
        return statistics.median(self.seconds[side])

    def ratios(self, over: str, under: str) -> list[float]:
        """`over` divided by `under`, round by round: what slows a whole round down leaves them as they are."""
        return [a / b for a, b in zip(self.seconds[over], self.seconds[under], strict=True)]

    def ratio(self, over: str, under: str) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios(over, under))


def in_turn(rounds: int, sides: Mapping[str, Callable[[], object]], *, warm: bool = True) -> Turns:
    """Call every side once a round, in their order (ABAB); one round before that is not counted where `warm`."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(-1 if warm else 0, rounds):
        for name, run in sides.items():
            begin = time.process_time()
            run()
            took = time.process_time() - begin
            if turn >= 0:
                seconds[name].append(took)
    return Turns(seconds)


class Baton:
    """Lets processes run one at a time, each until it passes on."""

    def __init__(self, count: int) -> None:
        self.place = 0
        """Of the process that holds this copy."""
        self.turns = [FORK.Semaphore(int(place == 0)) for place in range(count)]
        self.left = FORK.Array("b", [1] * count, lock=False)
        """Written by the one whose turn it is."""

    def begin(self, place: int) -> None:
        """Wait for the first turn of this process."""
        self.place = place
        self.turns[place].acquire()

    def passed(self) -> None:
        """To the next that is not done, and wait for it to come back."""
        self.give()
        self.turns[self.place].acquire()

    def give(self, *, done: bool = False) -> None:
        """To the next; `done`: this one wants it no more."""
        self.left[self.place] = int(not done)
        order = [*range(self.place + 1, len(self.turns)), *range(self.place + 1)]
        following = next((place for place in order if self.left[place]), None)
        if following is not None:
            self.turns[following].release()


def woven(
    rounds: int,
    sides: Mapping[str, Callable[[], object]],
    baton: Callable[[Baton], AbstractContextManager[object]],
    warm: Callable[[], object],
) -> Turns:
    """As `in_turn` without a round before, but the sides of a round run piece by piece, each in a fork of this process: memory is
    then given and taken back as in a run of its own, which threads of one process would share.

    While the context that `baton` makes is open, whatever a side does must pass the baton on between its pieces. So all sides see
    the same minutes of a machine that is now faster, now slower. What is measured is the CPU time of a side's process, after
    `warm`. Raises RuntimeError where a side fails.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        held, found = Baton(len(sides)), FORK.SimpleQueue()

        def side(place: int, run: Callable[[], object], held: Baton = held, found: Any = found) -> None:
            held.begin(place)
            try:
                warm()
                with baton(held):
                    begin = time.process_time()
                    run()
                    found.put((place, time.process_time() - begin))
            finally:
                held.give(done=True)

        workers = [FORK.Process(target=side, args=(place, run), daemon=True) for place, run in enumerate(sides.values())]
        for worker in workers:
            worker.start()
        alive = {worker.sentinel: worker for worker in workers}
        while alive:
            for sentinel in wait(list(alive)):
                alive.pop(sentinel).join()  # type: ignore[call-overload]
            failed = [name for name, worker in zip(sides, workers, strict=True) if worker.exitcode]
            if failed:  # one that was killed has passed nothing on: the others would wait for ever
                for worker in alive.values():
                    worker.terminate()
                raise RuntimeError(f"{', '.join(failed)} failed; what it printed stands above")
        names = list(sides)
        for _ in names:
            place, took = found.get()
            seconds[names[place]].append(took)
    return Turns(seconds)


def row(
    stage: str,
    case: str,
    turns: Turns,
    peer: str,
    *,
    ours: str = "ours",
    theirs: str = "peer",
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Row:
    """The row of two sides. `at_least`: times as fast as the peer; `at_most`: share of the peer's time; at most one of them."""
    faster = at_most is None
    over, under = (theirs, ours) if faster else (ours, theirs)
    found, ratios = turns.ratio(over, under), turns.ratios(over, under)
    target = "" if at_least is None and at_most is None else f">= {at_least:g}" if faster else f"<= {at_most:g}"
    met = None if not target else found >= at_least if at_least is not None else found <= (at_most or 0.0)
    told = f"{len(ratios)} rounds: {min(ratios):.3g} to {max(ratios):.3g}"
    return Row(
        stage, case, turns.median(ours), peer, turns.median(theirs), found, target, met, f"{note}; {told}" if note else told
    )  # fmt: skip


def missing(stage: str, case: str, peer: str, target: str = "", note: str = "") -> Row:
    """The row of a case whose peer is not installed."""
    return Row(stage, case, None, f"{peer}: not installed", None, None, target, None, note)


def named(distribution: str) -> str:
    """A distribution with its version, its name alone where it is not installed."""
    try:
        return f"{distribution} {metadata.version(distribution)}"
    except metadata.PackageNotFoundError:
        return distribution


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A stage's parser, with --out and --small."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that gets STAGE.json")
    parser.add_argument("--small", action="store_true", help="fewer images, models and rounds: a try, no measurement")
    return parser


def prepared(seed: int = 0) -> None:
    """One thread, seeded."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def written(out: Path, stage: str, rows: Sequence[Row]) -> Path:
    """Write the rows so far to OUT/STAGE.json, and show the last."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{stage}.json"
    path.write_text(json.dumps([asdict(one) for one in rows], indent=1) + "\n", encoding="utf-8")
    if rows:
        print(line(rows[-1]), flush=True)
    return path


def read(path: Path) -> list[Row]:
    """The rows of a stage's file; none where it holds something else."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return [Row(**one) for one in found] if isinstance(found, list) else []


HEAD = """\
| stage | case | ours (s) | peer | peer (s) | ratio | target | met | |
| --- | --- | ---: | --- | ---: | ---: | --- | --- | --- |"""


def line(one: Row) -> str:
    """One row of the table."""
    numbers = ["-" if x is None else f"{x:.3g}" for x in (one.ours_s, one.peer_s, one.ratio)]
    met = "-" if one.met is None else "yes" if one.met else "no"
    cells = (one.stage, one.case, numbers[0], one.peer, numbers[1], numbers[2], one.target or "-", met, one.note)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(rows: Sequence[Row]) -> str:
    """All rows in Markdown."""
    return "\n".join([HEAD, *(line(one) for one in rows)])


def processor() -> str:
    """The model of the CPU, as the system names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [text.partition(":")[2].strip() for text in lines if text.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


LIBRARIES = ("torch", "torchvision", "numpy")


def about() -> dict[str, str | int | float]:
    """When, on what and with what was measured."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "threads": 1,
        "load": round(load, 2),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }
