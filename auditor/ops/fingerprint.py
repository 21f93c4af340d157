"""What a Python callable computes, as a digest: its code, defaults and state; never an address in memory."""

from __future__ import annotations

import functools
import hashlib
import inspect
import pickle
import re
import types
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np

DEEPEST = 12


def fingerprint(value: Any) -> str:
    """sha256 of what `value` is made of. What cannot be read gives another digest in every process, so it is never mistaken."""
    return hashlib.sha256("|".join(parts(value, 0, {})).encode("utf-8", "backslashreplace")).hexdigest()


def without_addresses(text: str) -> str:
    """A repr without addresses in memory."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def parts(value: Any, depth: int, seen: dict[int, Any]) -> list[str]:
    """The pieces of a fingerprint."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return [f"{type(value).__name__}:{value!r}"]
    if isinstance(value, types.ModuleType):
        return [f"module:{value.__name__}:{getattr(value, '__version__', '')}"]
    if id(value) in seen:
        return ["again"]
    seen[id(value)] = value  # kept, so that no later object gets its number
    if depth > DEEPEST:
        return [f"deep:{uuid.uuid4()}"]
    return [type(value).__qualname__, *pieces(value, depth + 1, seen)]


def pieces(value: Any, depth: int, seen: dict[int, Any]) -> list[str]:
    """The pieces of a value that is made of others."""

    def of(*values: Any) -> list[str]:
        return [part for item in values for part in parts(item, depth, seen)]

    if hasattr(value, "detach") or isinstance(value, np.ndarray):
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        return [str(array.dtype), str(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if isinstance(value, Mapping):
        return of(*(item for key in sorted(value, key=repr) for item in (key, value[key])))
    if isinstance(value, list | tuple):
        return of(*value)
    if isinstance(value, set | frozenset):
        return of(*sorted(value, key=repr))
    if isinstance(value, functools.partial):
        return of(value.func, value.args, value.keywords)
    if isinstance(value, types.MethodType):
        return of(value.__func__, value.__self__)
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        names = {name: value.__globals__[name] for name in value.__code__.co_names if name in value.__globals__}
        return of(value.__code__, value.__defaults__, value.__kwdefaults__, cells, names)
    if isinstance(value, types.CodeType):
        return [value.co_code.hex(), *value.co_names, *of(value.co_consts)]
    if isinstance(value, type):
        return [f"{value.__module__}.{value.__qualname__}", source_of(value)]
    state = getattr(value, "__dict__", None)
    if state is not None:
        return [source_of(type(value)), *of(state)]
    try:
        return [hashlib.sha256(pickle.dumps(value)).hexdigest()]
    except Exception:  # noqa: BLE001 - any object may refuse in its own way
        return [f"{type(value).__module__}:{uuid.uuid4()}"]


def source_of(value: Any) -> str:
    """The source of a function or class; its code or its name where Python does not have it."""
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        code = getattr(value, "__code__", None)
        return code.co_code.hex() if code is not None else f"{value.__module__}.{value.__qualname__}"
