"""Progress: bars with an estimate on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EVERY = 10.0
"""Seconds between two plain lines of one step."""


class Bars:
    """Called as progress(what, done, total) from anywhere in a run."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.progress: Progress | None = None
        self.tasks: dict[str, TaskID] = {}
        self.began: dict[str, float] = {}
        self.told: dict[str, float] = {}
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description:<12}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self.progress = Progress(*columns, console=self.console)

    def __enter__(self) -> Self:
        if self.progress is not None:
            self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.progress is not None:
            self.progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        self.began.setdefault(what, now)
        if self.progress is not None:
            if what not in self.tasks:
                self.tasks[what] = self.progress.add_task(what, total=total)
            self.progress.update(self.tasks[what], completed=done, total=total)
            return
        if done >= total > 1 or now - self.told.get(what, self.began[what]) >= EVERY:
            self.told[what] = now
            spent = now - self.began[what]
            left = spent / done * (total - done) if done else float("nan")
            print(
                f"{what}: {done} of {total}, {spent:.0f} s" + (f", about {left:.0f} s left" if done < total else ""),
                file=sys.stderr,
                flush=True,
            )
