"""A target on its way to another process: the model by its recipe and its weights where it has one, else pickled as it is."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auditor.errors import AuditError, EngineError
from auditor.target import contract
from auditor.target.generator import OwnGenerator, built
from auditor.target.load import digest_of, freeze
from auditor.target.model import Recipe, Target, test_batch
from auditor.target.sources import open_model
from auditor.target.weights import line
from auditor.types import Array

Dumps = Callable[[Any], bytes]
RTOL, ATOL = 1e-3, 1e-4
"""How far the features and scores of a model that was made again may differ, as between two machines of one kind."""


@dataclass(frozen=True)
class Sent:
    """A target, packed."""

    recipe: Recipe | None
    model: bytes
    """The pickled module, where there is no recipe."""
    weights: bytes
    """The state of the module, where there is one."""
    shell: bytes
    """All else of the target, pickled; read when the module is there, since it may name what the user's file defines."""
    seen: Mapping[str, Array]
    """What a seeded batch gave, to be compared."""
    wrapped: bool
    """Whether the scores are taken out of what the model returns."""
    second: Sent | None
    generator: SentGenerator | None


@dataclass(frozen=True)
class SentGenerator:
    """The user's own generator, packed: by its name and its weights where it has one, else pickled as it is."""

    bare: OwnGenerator
    """Without its module."""
    model: bytes
    weights: bytes

    def unpack(self, device: torch.device) -> OwnGenerator:
        """The generator in this process. Raises EngineError."""
        try:
            module = pickle.loads(self.model) if self.model else built(self.bare.source)[0]  # noqa: S301 - our own
            if self.weights:
                load_state(module, self.weights)
        except Exception as error:
            told = f"a worker cannot make the generator {self.bare.source}: {type(error).__name__}: {line(error)}"
            raise EngineError(f"{told}; its file must be on every node, at the same path") from error
        freeze(module, device)
        if self.weights and digest_of(module) != self.bare.digest:
            raise EngineError(f"a worker makes another generator of {self.bare.source} than this process did")
        bounds = None if self.bare.bounds is None else (self.bare.bounds[0].to(device), self.bare.bounds[1].to(device))
        return replace(self.bare, module=module, bounds=bounds)


def pack_generator(found: OwnGenerator, device: torch.device, dumps: Dumps) -> SentGenerator:
    """The generator for another process."""
    bounds = None if found.bounds is None else (found.bounds[0].cpu(), found.bounds[1].cpu())
    bare = replace(found, module=nn.Identity(), bounds=bounds, restore=nothing)
    if ":" in found.source:
        return SentGenerator(bare, b"", state_of(found.module))
    with on_the_cpu(found.module, device):
        return SentGenerator(bare, pickled(found.module, dumps, f"the generator {found.source}"), b"")


def pack(target: Target, dumps: Dumps) -> Sent:
    """A target for another process. `dumps`: a pickler that takes classes and functions by value where it has to.

    Raises EngineError where the model has no recipe and cannot be pickled.
    """
    recipe, model = target.recipe, b""
    if recipe is None:
        with on_the_cpu(target.model, target.device):
            model = pickled(target.model, dumps, f"the model {target.name}")
        weights = b""
    else:
        weights = state_of(target.model)
    bare: dict[str, Any] = {"model": None, "module": None, "second": None, "generator": None, "_restore": nothing}
    shell = pickled(replace(target, **bare), dumps, "the preprocessing")
    second = None if target.second is None else pack(target.second, dumps)
    generator = None if target.generator is None else pack_generator(target.generator, target.device, dumps)
    return Sent(recipe, model, weights, shell, sight(target), target.module is not target.model, second, generator)


def unpack(sent: Sent) -> Target:
    """The target in this process, on the device of its kind. Raises EngineError where it cannot be made, or is another one."""
    try:
        model = pickle.loads(sent.model) if sent.recipe is None else made(sent.recipe, sent.weights)  # noqa: S301 - our own
        shell: Target = pickle.loads(sent.shell)  # noqa: S301
    except Exception as error:
        raise EngineError(f"a worker cannot make the model: {type(error).__name__}: {line(error)}; {hint(sent)}") from error
    device = torch.device(shell.device.type)
    restore = freeze(model, device)
    module = contract.Scores(model) if sent.wrapped else model
    second = None if sent.second is None else unpack(sent.second)
    own = None if sent.generator is None else sent.generator.unpack(device)
    target = replace(shell, model=model, module=module, device=device, second=second, generator=own, _restore=restore)
    if sent.recipe is not None and digest_of(model) != target.digest:
        raise EngineError(f"a worker makes another model of {sent.recipe.spec} than this process did; {hint(sent)}")
    for name, value in sight(target).items():
        if not np.allclose(value, sent.seen[name], rtol=RTOL, atol=ATOL * float(np.abs(value).max())):
            raise EngineError(f"the model in a worker gives other {name} of the same batch than in this process; {hint(sent)}")
    return target


def made(recipe: Recipe, weights: bytes) -> nn.Module:
    """The model of a recipe, with the weights that it has in the first process."""
    model = open_model(recipe.spec, weights=recipe.weights, args=recipe.args).model
    load_state(model, weights)
    return model


def state_of(module: nn.Module) -> bytes:
    """Its parameters and buffers."""
    buffer = io.BytesIO()
    torch.save({name: value.cpu() for name, value in module.state_dict().items() if isinstance(value, Tensor)}, buffer)
    return buffer.getvalue()


def load_state(module: nn.Module, weights: bytes) -> None:
    """What `state_of` gave."""
    module.load_state_dict(torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True), strict=False)


def hint(sent: Sent) -> str:
    """What to do where a worker has not the model."""
    if sent.recipe is None:
        return "name the model with --model file.py:factory, so that each worker makes it for itself"
    return f"{sent.recipe.spec} and its files must be on every node, at the same paths (here {os.getcwd()})"


def pickled(value: Any, dumps: Dumps, what: str) -> bytes:
    """The bytes of a value. Raises EngineError."""
    try:
        return dumps(value)
    except Exception as error:
        raise EngineError(
            f"{what} cannot be sent to a worker: {type(error).__name__}: {line(error)}; "
            "name the model with --model file.py:factory, so that each worker makes it for itself, or run with --engine local"
        ) from error


def sight(target: Target) -> dict[str, Array]:
    """Features and scores of a seeded batch; nothing of a model whose forward is random."""
    if target.random:
        return {}
    try:
        seen = target.look(test_batch(target.preprocess, target.input_shape, target.device))
    except AuditError:
        return {}
    found = {"features": seen.features, "scores": seen.scores}
    return {name: value.cpu().numpy() for name, value in found.items() if value is not None}


@contextmanager
def on_the_cpu(module: nn.Module, device: torch.device) -> Iterator[None]:
    """A module of `device` on the CPU within the block: a worker may have no such device, or another number of it."""
    if device.type != "cpu":
        module.to("cpu")
    try:
        yield
    finally:
        if device.type != "cpu":
            module.to(device)


def nothing() -> None:
    """A worker's model is nobody else's: there is nothing to restore."""
