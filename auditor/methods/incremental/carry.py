"""One operation of a forward that meets a Patch: by its rule, or on whole images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from auditor.methods.incremental.patch import UnsupportedError, whole

Rule = Callable[..., Any]
RULES: dict[Any, Rule] = {}
"""Torch function -> rule(function, *args, **kwargs); a rule that does not know a case returns NotImplemented."""


def rule(*functions: Any) -> Callable[[Rule], Rule]:
    """Enter a rule for these functions."""

    def enter(made: Rule) -> Rule:
        RULES.update(dict.fromkeys(functions, made))
        return made

    return enter


def carry(function: Any, args: Any, kwargs: Any) -> Any:
    """One operation of the forward: by its rule, as a question about the tensor, or on whole images."""
    name = getattr(function, "__name__", "")
    if name in ASKED or (name == "__get__" and getattr(function, "__self__", None) in ATTRIBUTES):
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **kwargs)
    with torch._C.DisableTorchFunctionSubclass():
        if function in RULES:
            found = RULES[function](function, *args, **kwargs)
            if found is not NotImplemented:
                return found
        if "out" in kwargs or name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
            raise UnsupportedError(f"{name} writes into a tensor")
        return function(*whole(args), **whole(kwargs))


ASKED = ("size", "dim", "ndimension", "numel", "nelement", "is_floating_point", "is_complex", "is_contiguous", "__len__")
QUESTIONS = ("shape", "dtype", "device", "ndim", "layout", "is_cuda", "is_sparse", "is_quantized", "requires_grad")
ATTRIBUTES = tuple(getattr(Tensor, name) for name in QUESTIONS)


def pair(value: Any, default: Any = None) -> tuple[int, int]:
    """(rows, columns)."""
    value = default if value is None or value == [] or value == () else value
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))
