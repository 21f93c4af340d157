"""A user's own image generator, through which pictures are made for the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from auditor.errors import AuditError, ConfigError
from auditor.preprocess import Preprocess
from auditor.target.factory import load_module
from auditor.target.load import digest_of, freeze
from auditor.target.model import Target
from auditor.target.weights import line

SLACK = 1e-3
"""That an image may leave [0,1] by, from rounding."""


@dataclass(frozen=True, eq=False)
class OwnGenerator:
    """Codes (n,D) to images (n,C,h,w) in [0,1]."""

    module: nn.Module
    source: str
    digest: str
    features: int
    """D."""
    bounds: tuple[Tensor, Tensor] | None = None
    """(D,) lowest and highest code; None where the codes are the target's penultimate features."""
    restore: Callable[[], None] = field(default=lambda: None, repr=False)


def open_generator(given: str | nn.Module, target: Target) -> OwnGenerator:
    """The generator that `--generator` names (file.py:function or package.module:function), or a module, on the target's device.

    Its codes are the target's penultimate features (n,D), unless it has the attributes `low` and `high` (D,), the bounds of codes
    of its own. It gives images (n,C,h,w) in [0,1] of any size, in the target's channels; they are resized to its input.
    Raises ConfigError where it cannot be built or does so otherwise.
    """
    if not isinstance(target.preprocess, Preprocess):
        raise ConfigError("--generator: the model's preprocessing is an opaque function; give a model with mean and std")
    module, source = built(given)
    restore = freeze(module, target.device)
    try:
        bounds = bounds_of(module, target.device)
        features = width_of(target) if bounds is None else len(bounds[0])
        middle = torch.zeros(features, device=target.device) if bounds is None else (bounds[0] + bounds[1]) / 2
        require_images(module, middle.expand(2, -1), target)
    except BaseException:
        restore()
        raise
    return OwnGenerator(module, source, digest_of(module), features, bounds, restore)


def built(given: str | nn.Module) -> tuple[nn.Module, str]:
    """(module, how it is called)."""
    if isinstance(given, nn.Module):
        return given, type(given).__qualname__
    module, colon, name = given.rpartition(":")
    if not colon or not module or not name.isidentifier():
        raise ConfigError(f"--generator: expected file.py:function or package.module:function, got {given!r}")
    try:
        factory = getattr(load_module(module, "--generator"), name, None)
        made = factory() if callable(factory) else None
    except AuditError as error:
        raise ConfigError(str(error)) from error
    except Exception as error:
        raise ConfigError(f"--generator {given}: {type(error).__name__}: {line(error)}; correct the function") from error
    if not isinstance(made, nn.Module):
        got = "no such function" if factory is None else type(made).__name__
        raise ConfigError(f"--generator {given}: expected a function that returns a torch.nn.Module, got {got}")
    return made, given


def bounds_of(module: nn.Module, device: torch.device) -> tuple[Tensor, Tensor] | None:
    """Its attributes `low` and `high`. Raises ConfigError for those that bound nothing."""
    pair = [getattr(module, name, None) for name in ("low", "high")]
    if pair == [None, None]:
        return None
    low, high = (torch.as_tensor(part, dtype=torch.float32, device=device) if part is not None else None for part in pair)
    if low is None or high is None or low.ndim != 1 or low.shape != high.shape or not bool((low < high).all()):
        shapes = ["none" if part is None else str(tuple(part.shape)) for part in (low, high)]
        raise ConfigError(f"--generator: expected `low` below `high`, (D,) numbers each, got {' and '.join(shapes)}: give both")
    return low, high


def width_of(target: Target) -> int:
    """D of the target's penultimate features."""
    images = torch.zeros(1, *target.input_shape, device=target.device)
    return int(target.look(images).features.shape[1])


def require_images(module: nn.Module, codes: Tensor, target: Target) -> None:
    """Raise ConfigError where codes (n,D) do not give images (n,C,h,w) in [0,1]."""
    try:
        with torch.no_grad():
            made = module(codes)
    except Exception as error:
        raise ConfigError(
            f"--generator fails on codes {tuple(codes.shape)}: {type(error).__name__}: {line(error)}; "
            "its codes are the model's penultimate features, or its own where it has `low` and `high`"
        ) from error
    channels = target.input_shape[0]
    if not isinstance(made, Tensor) or made.ndim != 4 or tuple(made.shape[:2]) != (len(codes), channels):
        got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise ConfigError(f"--generator: expected images ({len(codes)},{channels},h,w) of codes {tuple(codes.shape)}, got {got}")
    low, high = float(made.min()), float(made.max())
    if not -SLACK <= low <= high <= 1 + SLACK:
        raise ConfigError(f"--generator: expected images in [0,1], got values from {low:g} to {high:g}: undo the normalisation")
