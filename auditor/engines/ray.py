"""Units of work by actors of Ray, on this machine or on a cluster. The extra `ray`; imported when it is asked for.

Each worker holds one copy of the model and does one unit at a time (another one waits, so that it need not). Results are given
out in the order of the tasks. A worker that dies costs the unit that it had begun: a fresh one does it again.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import torch

from auditor.dataset import Dataset
from auditor.engines import Result, Task, Work
from auditor.engines.handle import Handle, own_threads, require_answer, span_text
from auditor.engines.worker import Outcome, Parcel, Worker
from auditor.errors import AuditError, EngineError, WorkerError
from auditor.target import Target
from auditor.target.sent import pack, pickled
from auditor.target.weights import line
from auditor.types import Json

TRIES = 3
"""How often a unit is begun before its own error, or the death of its workers, is believed."""
PATIENCE = 600.0
"""Seconds without any worker, and none coming: a cluster may have to start a machine first."""
AHEAD = 8
"""Units a worker that may be done before their turn: what is held for its turn stays small."""
STORE = 2**30
"""Bytes of the object store of a Ray that is started here: model and work go through it, images never do."""


class Ray:
    """The engine. A context manager: at its end the workers go, and a Ray that was started here with them."""

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        """`address`: of a cluster (host:port, ray://host:port, auto); None starts Ray on this machine.

        `workers`: as many as there is room for where None. Raises EngineError without ray, or where the address does not answer.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise EngineError("--engine ray needs Ray: pip install 'auditor[ray]', or run with --engine local") from error
        self.ray, self.address, self.wanted = ray, address, workers
        self.threads = own_threads()
        self.hands: list[Handle] = []
        """All workers that there were."""
        self.lost = 0
        self.pool: list[Handle] = []
        self.count = 0
        self.started_here = False
        self.began, self.startup = 0.0, 0.0
        self.parcels: dict[int, tuple[Any, Parcel]] = {}
        if address is not None:
            require_answer(address)
            self.connect()

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all workers so far."""
        return sum(handle.cpu_seconds for handle in self.hands)

    def __enter__(self) -> Ray:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in list(self.pool):
            self.drop(handle)
        self.parcels.clear()
        if self.started_here:
            self.ray.shutdown()

    def connect(self) -> None:
        """Join the cluster, or start Ray here; one that this process has joined already is used as it is."""
        if self.ray.is_initialized():
            return
        own = {
            "address": "local",  # without it Ray joins whatever cluster was last started here
            "num_cpus": self.wanted and self.wanted * torch.get_num_threads(),
            "object_store_memory": STORE,
            "include_dashboard": False,
        }
        given: dict[str, Any] = own if self.address is None else {"address": self.address}
        try:
            self.ray.init(log_to_driver=False, logging_level="ERROR", **given)
        except Exception as error:
            hint = (
                ""
                if self.address is None
                else "; where it asks for a token, set RAY_AUTH_MODE=token and have its ~/.ray/auth_token"
            )
            raise EngineError(f"--engine ray: cannot {self.what()}: {type(error).__name__}: {line(error)}{hint}") from error
        self.started_here = True

    def what(self) -> str:
        """What is connected to."""
        return "start Ray on this machine" if self.address is None else f"join the cluster at {self.address}"

    def facts(self) -> dict[str, Json]:
        """For run.json."""
        return {
            "name": "ray",
            "workers": self.count,
            "threads": torch.get_num_threads(),
            "workers_lost": self.lost,
            "startup_seconds": round(self.startup, 3),
            "cpu_seconds": sorted((round(handle.cpu_seconds, 3) for handle in self.hands), reverse=True),
        }

    def run(
        self, tasks: Sequence[Task], work: Work[Result], target: Target, dataset: Dataset
    ) -> Generator[tuple[int, Result], None, None]:
        """(number, result) of each task, in the order of the tasks; see `Engine`. Raises WorkerError, EngineError."""
        if not tasks:
            return
        self.began = self.began or time.monotonic()
        self.connect()
        parcels = self.parcel(target), self.parcel(dataset), self.put(pickled(work, self.dumps, "the work of a probe"))
        spans, tries, ready, by = dict(tasks), Counter[int](), dict[int, Outcome](), dict[int, Handle]()
        waiting = deque(index for index, _ in tasks)
        self.fill(target, len(tasks))
        try:
            for place, (index, _) in enumerate(tasks):
                while index not in ready or self.again(ready[index], tries[index]):
                    if index in ready:
                        tries[index] += 1
                        waiting.extendleft([*self.renewed(by[index]), index])
                        del ready[index]
                    near = {number for number, _ in tasks[place : place + AHEAD * self.count]}
                    self.hand_out(waiting, near, spans, parcels)
                    for number, found, handle in self.wait(target):
                        if isinstance(found, Outcome):
                            handle.cpu_seconds += found.cpu_seconds
                            ready[number], by[number] = found, handle
                            continue
                        waiting.appendleft(number)
                        tries[number] += found
                        if tries[number] >= TRIES:
                            raise WorkerError(
                                f"workers died {TRIES} times over {span_text(spans[number])}: where memory ran out, give fewer "
                                "--workers or a smaller --batch; Ray's own logs say more"
                            )
                yield index, ready.pop(index).value()
        finally:
            for handle in [handle for handle in self.pool if handle.under_way]:
                self.drop(handle)

    def again(self, outcome: Outcome, tries: int) -> bool:
        """Whether an error is worth another worker: not one that is raised on purpose."""
        return outcome.error is not None and not isinstance(outcome.error, AuditError) and tries + 1 < TRIES

    def renewed(self, handle: Handle) -> list[int]:
        """Let a worker go that gave an error, which may have left it unfit (CUDA). Returns its other tasks, the last first."""
        tasks = [index for _, index in reversed(handle.under_way)] if handle in self.pool else []
        self.drop(handle)
        return tasks

    def hand_out(self, waiting: deque[int], near: set[int], spans: dict[int, range], parcels: tuple[Parcel, ...]) -> None:
        """Tasks to workers: one each, then a second where enough are left for all."""
        for depth in (1, 2):
            for handle in self.pool:
                enough = depth == 1 or len(waiting) > self.count
                if waiting and waiting[0] in near and enough and handle.starting is None and len(handle.under_way) < depth:
                    index = waiting.popleft()
                    handle.under_way.append((handle.actor.do.remote(*parcels, spans[index]), index))

    def wait(self, target: Target) -> Iterator[tuple[int, Outcome | int, Handle]]:
        """Until something has happened: (task, its outcome, by whom); in the place of an outcome 1 where the worker died over
        it, 0 where it died before it had begun with it.
        """
        self.fill(target)
        references = {reference: handle for handle in self.pool for reference in handle.references}
        done, _ = self.ray.wait(list(references), num_returns=1, timeout=PATIENCE)
        if not done and not any(handle.under_way for handle in self.pool):
            raise EngineError(
                f"no worker could start within {PATIENCE:.0f} s: each needs {self.needs(target)}; give the cluster room, or "
                "fewer threads by OMP_NUM_THREADS"
            )
        for reference in done:
            handle = references[reference]
            try:
                found = self.ray.get(reference)
            except self.ray.exceptions.RayError as error:
                yield from self.dead(handle, error)
                continue
            if reference is handle.starting:
                handle.pid, handle.starting = found, None
                self.startup = self.startup or time.monotonic() - self.began
            else:
                yield handle.under_way.popleft()[1], found, handle

    def dead(self, handle: Handle, error: Exception) -> Iterator[tuple[int, int, Handle]]:
        """Take a worker that died out of the pool: its tasks are to be done again."""
        self.lost += 1
        if handle.starting is not None and self.lost >= TRIES * self.count:
            raise EngineError(f"workers die as they start: {type(error).__name__}: {line(error)}") from error
        tasks = [index for _, index in handle.under_way]
        self.drop(handle)
        yield from reversed([(index, int(place == 0), handle) for place, index in enumerate(tasks)])

    def fill(self, target: Target, tasks: int | None = None) -> None:
        """Start workers until there are as many as there is room for; with `tasks`, no more than those."""
        if tasks is not None:
            self.count = max(self.count, min(self.room(target), tasks))
        while len(self.pool) < self.count:
            needs = {"num_cpus": torch.get_num_threads(), "num_gpus": int(target.device.type == "cuda")}
            actor = self.ray.remote(**needs, max_restarts=0)(Worker).remote(torch.get_num_threads(), os.getcwd(), self.ray.get)
            self.pool.append(Handle(actor, actor.ready.remote()))
            self.hands.append(self.pool[-1])

    def room(self, target: Target) -> int:
        """Workers that the cluster has room for."""
        if self.wanted is not None:
            return self.wanted
        held = self.ray.cluster_resources()
        most = held.get("CPU", 1) // torch.get_num_threads()
        return int(max(1, min(most, held.get("GPU", 0)) if target.device.type == "cuda" else most))

    def needs(self, target: Target) -> str:
        """What a worker takes, in words."""
        return f"{torch.get_num_threads()} CPU" + (" and a GPU" if target.device.type == "cuda" else "")

    def drop(self, handle: Handle) -> None:
        """Take a worker out of the pool, and its process with it."""
        if handle not in self.pool:
            return
        self.pool.remove(handle)
        with contextlib.suppress(Exception):
            self.ray.kill(handle.actor)

    def parcel(self, value: Target | Dataset) -> Parcel:
        """A target or a data set, packed once."""
        if id(value) not in self.parcels:
            content: Any
            if isinstance(value, Target):
                content = pack(value, self.dumps)
            else:
                content = pickled(value, self.dumps, "the data")
            self.parcels[id(value)] = (value, self.put(content))
        return self.parcels[id(value)][1]

    def put(self, content: Any) -> Parcel:
        """Into the store."""
        return Parcel(uuid.uuid4().hex, self.ray.put(content))

    def dumps(self, value: Any) -> bytes:
        """Pickled, with classes and functions of a notebook or a script by value."""
        return bytes(self.ray.cloudpickle.dumps(value))
