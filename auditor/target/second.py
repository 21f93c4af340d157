"""A second model that is shown the pictures made for the first. K1 and K2 classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.errors import ConfigError
from auditor.preprocess import Preprocess
from auditor.target.load import load_target
from auditor.target.model import Target

GREY = (0.299, 0.587, 0.114)


def open_second(model: str | nn.Module, first: Target) -> Target:
    """The second model on the first one's device; it is given the first one's preprocessing where it brings none.

    Raises TargetError (cannot be built), ConfigError (its preprocessing cannot be undone, its classes are others).
    """
    if first.task != "classification":
        raise ConfigError("--second-model needs class scores, and the audit runs with --task features; leave one of them out")
    second = load_target(model, fallback=first.preprocess, device=first.device, input_shape=first.input_shape)
    if not second.preprocess.invertible:
        second.restore()
        raise ConfigError("--second-model: its preprocessing is an opaque function; give a model with mean and std")
    try:
        same_class(first.classes, second.classes, first.outputs, second.outputs)
    except ConfigError:
        second.restore()
        raise
    return second


def same_class(first: Sequence[str] | None, second: Sequence[str] | None, outputs: int, others: int) -> tuple[int | None, ...]:
    """(K1,) the second model's class for each of the first's: of the same name where both have names, else of the same number.

    None where there is none. Raises ConfigError where no class is common.
    """
    if first and second and tuple(first) != tuple(second):
        number: dict[str, int] = {}
        for i, name in enumerate(second):
            number.setdefault(name.strip().casefold(), i)
        found = tuple(number.get(name.strip().casefold()) for name in first)
        if any(i is not None for i in found):
            return found
    if outputs != others:
        raise ConfigError(
            f"--second-model: expected the classes of the audited model, got {others} where it has {outputs} and no "
            "common name; give a model for the same task"
        )
    return tuple(range(outputs))


def scores_of_second(second: Target, images: Tensor) -> Tensor:
    """(n,K2) scores for images (n,C,H,W) in [0,1], at the second model's own size and with its own normalisation."""
    assert isinstance(second.preprocess, Preprocess), "open_second holds"
    channels, high, wide = second.input_shape
    given = images
    if images.shape[1] != channels:
        weights = torch.tensor(GREY, dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
        given = images.expand(-1, 3, -1, -1) if channels == 3 else (images * weights).sum(1, keepdim=True)
    if given.shape[-2:] != (high, wide):
        given = functional.interpolate(given, size=(high, wide), mode="bilinear", antialias=True, align_corners=False)
    scores = second.look(second.preprocess.normalise(given.clamp(0.0, 1.0))).scores
    assert scores is not None, "a second model is a classifier"
    return scores
