"""What workers do in tests/engines/test_ray.py: it stands in a module of its own, which they import."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Squares:
    """The square of each number of the span, by which process. What else happens is marked by files in `folder`."""

    folder: str = ""
    slow: int = -1
    dies_at: int = -1
    fails_at: int = -1
    times: int = 0
    """How often it dies or fails there."""

    def __call__(self, target: Any, dataset: Any, span: range) -> list[tuple[int, int]]:
        assert len(dataset)
        assert next(target.model.parameters()).requires_grad is False
        if span.start == self.slow:
            time.sleep(1.0)
        if span.start in (self.dies_at, self.fails_at) and self.again():
            if span.start == self.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Awkward("planted", span.start)
        return [(i * i, os.getpid()) for i in span]

    def again(self) -> bool:
        """Whether it has not happened `times` times yet."""
        marks = list(Path(self.folder).glob("mark-*"))
        (Path(self.folder) / f"mark-{len(marks)}").touch()
        return len(marks) < self.times


class Awkward(Exception):
    """Pickles, and cannot be made again from what it pickles."""

    def __init__(self, text: str, place: int) -> None:
        super().__init__(f"{text} at {place}")
