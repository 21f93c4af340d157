"""In this process, one unit of work after the other."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from auditor.dataset import Dataset
from auditor.engines import Result, Task, Work, attempt
from auditor.target import Target
from auditor.types import Json


class Local:
    """The engine of a single process."""

    threads: int | None = None
    cpu_seconds = 0.0

    def run(
        self, tasks: Sequence[Task], work: Work[Result], target: Target, dataset: Dataset
    ) -> Generator[tuple[int, Result], None, None]:
        """(number, result) of each task, in order, as each is done."""
        for index, span in tasks:
            yield index, attempt(work, target, dataset, span)

    def facts(self) -> dict[str, Json]:
        """For run.json."""
        return {"name": "local"}


LOCAL = Local()
