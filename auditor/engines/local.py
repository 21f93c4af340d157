"""In this process, one shard after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_shards(tasks: Sequence[tuple[int, Task]], work: Callable[[Task], Result]) -> Iterator[tuple[int, Result]]:
    """Yield (index, work(task)) for each (index, task), in order, as each is done."""
    for index, task in tasks:
        yield index, work(task)
