"""A worker as the first process sees it, and what is known before there is one. Needs no ray."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from auditor.errors import EngineError
from auditor.target.weights import line


def own_threads() -> int:
    """Threads of one worker: OMP_NUM_THREADS, one where it is not set."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) > 0 else 1


@dataclass(eq=False)
class Handle:
    """One worker, from here."""

    actor: Any
    starting: Any
    """Reference to its number, while it starts; None when it has started."""
    pid: int = 0
    cpu_seconds: float = 0.0
    """Processor time that it spent."""
    under_way: deque[tuple[Any, int]] = field(default_factory=deque)
    """(reference to the outcome, number of the task): the first has begun, another one may wait."""

    @property
    def references(self) -> list[Any]:
        """What it is waited for."""
        return [self.starting] if self.starting is not None else [self.under_way[0][0]] if self.under_way else []


def span_text(span: range) -> str:
    """Which items, in words."""
    return f"item {span.start}" if len(span) == 1 else f"items {span.start} to {span.stop - 1}"


def require_answer(address: str, seconds: float = 5.0) -> None:
    """Raise EngineError where nothing listens at host:port: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        if address in ("auto", "local"):
            return
        raise EngineError(f"--engine ray:{address}: expected host:port, ray://host:port or auto")
    begin = time.monotonic()
    try:
        with socket.create_connection((host, int(port)), timeout=seconds):
            return
    except (OSError, OverflowError) as error:
        raise EngineError(
            f"--engine ray:{address}: nothing answers there ({line(error)} after {time.monotonic() - begin:.0f} s); "
            "start a cluster with `ray start --head --port=6379` and give its address"
        ) from error
