"""Where units of work run: in this process, or in workers of Ray.

A unit of work is a function of (target, dataset, span): a shard of the pass, or some items of a study. Whoever computes them,
they come back in their order and are merged in that order, so that the audit is the same to the byte.
"""

from __future__ import annotations

import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from auditor.dataset import Dataset
from auditor.errors import ConfigError
from auditor.ops.heap import hold_memory
from auditor.target import Target
from auditor.types import Json

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
Task = tuple[int, range]
"""(number, what of the data or of the items)."""


class Work(Protocol[Result_co]):
    """What is done with each span. It depends on nothing but its arguments and what it holds, and can be pickled."""

    def __call__(self, target: Target, dataset: Dataset, span: range, /) -> Result_co:
        """Do one unit."""


class Engine(Protocol):
    """Carries out units of work."""

    @property
    def threads(self) -> int | None:
        """Threads of one worker, where a plan is still to be made; None where torch's own number stands."""

    @property
    def cpu_seconds(self) -> float:
        """Processor time that was spent outside this process so far."""

    def run(
        self, tasks: Sequence[Task], work: Work[Result], target: Target, dataset: Dataset
    ) -> Generator[tuple[int, Result], None, None]:
        """(number, result) of each task, in the order of the tasks, as they are done. Raises what `work` raises, at its turn,
        with the traceback of `traceback_of`; closing the iterator drops what is still under way.
        """

    def facts(self) -> dict[str, Json]:
        """For run.json."""


def attempt(work: Work[Result], target: Target, dataset: Dataset, span: range) -> Result:
    """One unit of work; what it raises keeps its traceback from here on, which is the same in every process."""
    hold_memory()
    try:
        return work(target, dataset, span)
    except Exception as error:
        error.trace = traceback.format_exc()  # type: ignore[attr-defined]
        raise


def traceback_of(error: BaseException) -> str:
    """The traceback of an exception: from the unit of work on, where it was one that raised it."""
    return getattr(error, "trace", None) or "".join(traceback.format_exception(error))


@contextmanager
def opened(spec: str | Engine, workers: int | None = None) -> Iterator[Engine]:
    """The engine that `--engine` names: local, ray (on this machine), ray:ADDRESS; what was started for it goes at the end.

    `workers`: of Ray, as many as there is room for where None. Raises ConfigError, EngineError.
    """
    if not isinstance(spec, str):
        yield spec
        return
    kind, colon, address = spec.partition(":")
    if kind not in ("local", "ray") or (colon and (kind == "local" or not address)):
        raise ConfigError(f"--engine: expected local, ray or ray:ADDRESS such as ray:10.0.0.1:6379, got {spec!r}")
    if kind == "local":
        if workers is not None:
            raise ConfigError("--workers are those of --engine ray; one process does the work of --engine local")
        from auditor.engines.local import LOCAL

        yield LOCAL
        return
    from auditor.engines.ray import Ray

    with Ray(address or None, workers) as engine:
        yield engine
