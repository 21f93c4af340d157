"""Where models come from: torchvision, timm, Hugging Face, a factory in a module or a file, the demo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auditor.errors import TargetError
from auditor.target.built import Built
from auditor.target.factory import from_demo, from_factory
from auditor.target.hugging_face import from_hugging_face
from auditor.target.weights import read_weights
from auditor.target.zoo import from_timm, from_torchvision

KINDS = "torchvision:NAME[@WEIGHTS|@none], timm:NAME, hf:NAME or hf:./DIR, package.module:factory, file.py:factory, demo:NAME"
SOURCES = {"torchvision": from_torchvision, "timm": from_timm, "hf": from_hugging_face, "demo": from_demo}


def open_model(spec: str, *, weights: Path | None, args: Mapping[str, Any]) -> Built:
    """The model that `--model` names, with `--weights` in it. Raises TargetError or WeightsError."""
    kind, colon, rest = spec.rpartition(":") if spec.partition(":")[0] not in SOURCES else spec.partition(":")
    if not colon or not rest or not kind:
        raise TargetError(f"--model: expected {KINDS}; got {spec!r}")
    loaded = None if weights is None else read_weights(weights)
    if kind in SOURCES:
        return SOURCES[kind](rest, loaded, args)
    if not rest.isidentifier():
        raise TargetError(f"--model: expected {KINDS}; got {spec!r}")
    return from_factory(kind, rest, loaded, args)
