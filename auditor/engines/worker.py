"""What a worker process does: take the model once, the data and the work as they come, and do one unit after the other."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from auditor.engines import attempt, traceback_of
from auditor.errors import AuditError, EngineError
from auditor.target.sent import unpack
from auditor.target.weights import line


@dataclass(frozen=True)
class Parcel:
    """Something that every worker fetches once."""

    key: str
    reference: Any
    """To its bytes, in the engine's store."""


@dataclass(frozen=True)
class Outcome:
    """How one unit of work ended."""

    result: Any = None
    error: Exception | None = None
    trace: str = ""
    cpu_seconds: float = 0.0
    """Processor time of this process for it, with what had to be fetched."""

    def value(self) -> Any:
        """The result; raises the error, with its traceback in the worker."""
        if self.error is not None:
            self.error.trace = self.trace  # type: ignore[attr-defined]
            raise self.error
        return self.result


class Worker:
    """One process with one copy of the model."""

    def __init__(self, threads: int, folder: str, fetch: Callable[[Any], Any]) -> None:
        """`folder`: where the first process stands: relative paths in a model's spec mean the same here."""
        if os.path.isdir(folder):
            os.chdir(folder)
        torch.set_num_threads(threads)
        self.fetch = fetch
        self.held: dict[str, tuple[str, Any]] = {}
        """Kind of parcel -> (key, what was in it): one of each kind, so that memory does not grow."""

    def ready(self) -> int:
        """The number of this process."""
        return os.getpid()

    def do(self, model: Parcel, data: Parcel, work: Parcel, span: range) -> Outcome:
        """One unit of work. Never raises: what goes wrong is the outcome."""
        begin = time.process_time()
        try:
            target = self.opened("model", model, unpack)
            dataset = self.opened(data.key, data, taken, "the data: put --work on a file system that every node mounts")
            task = self.opened("work", work, taken, "what is to be done: a probe that is installed on every node is needed")
            found = Outcome(attempt(task, target, dataset, span))
        except Exception as error:  # noqa: BLE001 - it is raised in the first process
            found = Outcome(error=portable(error), trace=traceback_of(error))
        return Outcome(found.result, found.error, found.trace, time.process_time() - begin)

    def opened(self, kind: str, parcel: Parcel, open_: Callable[[Any], Any], what: str = "") -> Any:
        """What is in a parcel, opened once. Raises EngineError."""
        key, value = self.held.get(kind, ("", None))
        if key != parcel.key:
            self.held.pop(kind, None)
            try:
                value = open_(self.fetch(parcel.reference))
            except AuditError:
                raise
            except Exception as error:
                raise EngineError(f"a worker cannot read {what} ({type(error).__name__}: {line(error)})") from error
            self.held[kind] = (parcel.key, value)
        return value


def taken(content: bytes) -> Any:
    """What was pickled by the first process."""
    return pickle.loads(content)  # noqa: S301 - our own


def portable(error: Exception) -> Exception:
    """The error itself where it can be sent, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:  # noqa: BLE001 - exceptions whose constructors ask for more, or that hold what cannot be sent
        return RuntimeError(f"{type(error).__name__}: {error}")
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error
