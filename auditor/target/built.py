"""A model as its source gives it, and how weights from a file come into it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import nn

from auditor.errors import TargetError
from auditor.preprocess import Opaque, Preprocess
from auditor.target.weights import Weights, candidates, classes_of, fit, line, load_into

Preparation = Preprocess | Opaque
RANDOM = "The weights are random (@none): its figures are those of an untrained model."


@dataclass(frozen=True)
class Built:
    """A model with what its source knows of it."""

    model: nn.Module
    preprocess: Preparation | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


class Build(Protocol):
    """Settings of the architecture -> the model, without downloading anything."""

    def __call__(self, settings: Mapping[str, Any], /) -> Built:
        """Build it."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Other people's warnings about other people's defaults are not the user's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def built_with(build: Build, weights: Weights, args: Mapping[str, Any], *, auxiliary: bool = False) -> Built:
    """Build, read the number of classes off the head in the weights, and load.

    `auxiliary`: the architecture has auxiliary heads (`aux_logits`), which weights may lack.
    """
    settings, notes = dict(args), []
    if auxiliary and "aux_logits" not in args and not any("aux" in key.lower() for key in weights.state):
        settings["aux_logits"] = False
        notes.append("Built without auxiliary heads, which the weights do not have.")
    found = build(settings)
    count = inferred(found.model, weights) if "num_classes" not in args else None
    if count is not None:
        found = build({**settings, "num_classes": count})
        notes.append(f"{count} classes, by the head in the weights.")
    told = load_into(found.model, weights)
    return replace(found, notes=(*found.notes, *notes, *told))


def inferred(model: nn.Module, weights: Weights) -> int | None:
    """The number of classes in the weights, where it differs from the model's."""
    counts = (classes_of(fit(model, state)) for _, state in candidates(weights.state))
    return next((count for count in counts if count is not None), None)


def own_words(spec: str, error: Exception, hint: str = "check the name and --model-arg") -> TargetError:
    """Another library's error in one line, with what to do."""
    return TargetError(f"--model {spec}: {type(error).__name__}: {line(error)}; {hint}")
