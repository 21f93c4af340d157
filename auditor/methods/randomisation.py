"""Cascading randomisation (Adebayo 2018): does a map still look the same when the model has unlearned its top layers?"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.inputs import seed_of, seeded
from auditor.types import Array

LINE = 0.7
"""From this rank correlation on, with the top quarter of the layers randomised, a map does not depend on the weights.

Calibrated on three trained networks (EfficientNet-Lite0 on photographs, ResNet-20 on CIFAR-10, a small digit network; 16 images
each, eight methods): guided backprop, which is known to fail (Adebayo 2018), kept 0.94, 0.79 and 0.88, deconvnet 0.87, 0.47 and
0.80; no other method kept more than 0.60, the plain gradient 0.37, 0.33 and 0.54. The line lies midway of 0.60 and 0.79.
"""


def weighted_layers(model: nn.Module, inputs: Tensor) -> list[str]:
    """Names of the modules that own parameters, in the order in which a forward of `inputs` (N,C,H,W) first enters them.

    A module that is never entered counts with the nearest ancestor that is and owns parameters (the projection inside an
    attention, which reads its weights itself), and not at all where there is none (an auxiliary head).
    """
    modules = dict(model.named_modules())
    entered: dict[str, int] = {}

    def note(name: str) -> None:
        entered.setdefault(name, len(entered))

    hooks = [m.register_forward_pre_hook(lambda _m, _i, name=name: note(name)) for name, m in modules.items()]
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()

    owning = {name for name, module in modules.items() if next(module.parameters(recurse=False), None) is not None}
    found = []
    for position, name in enumerate(modules):
        caller = name
        while caller and not (caller in entered and caller in owning):
            caller = caller.rpartition(".")[0]
        if name in owning and caller in entered and caller in owning:
            found.append((entered[caller], position, name))
    return [name for _, _, name in sorted(found)]


def randomise(model: nn.Module, *, fraction: float = 1.0, layers: Sequence[str] | None = None, seed: int = 0) -> nn.Module:
    """A deep copy of the model in which the top layers have fresh weights; the model itself is left alone.

    `layers`: names of the modules that own parameters, bottom first (`weighted_layers`; the order of registration where
    None); the last ceil(`fraction` of them) are randomised, at least one: a larger fraction unlearns the same layers and more.
    A module with `reset_parameters` is initialised as when it was built; other weights are drawn from a normal distribution
    of their own deviation, and vectors are shuffled. Drawn on the CPU, so every device gets the same weights.
    """
    names = [n for n, m in model.named_modules() if next(m.parameters(recurse=False), None) is not None]
    names = names if layers is None else list(layers)
    if not 0 < fraction <= 1:
        raise UsageError(f"expected a fraction of layers above 0 and at most 1, got {fraction}")
    if not names:
        raise UsageError("expected a model with at least one layer of weights, got none: there is nothing to randomise")
    fresh = copy.deepcopy(model)
    for name in names[len(names) - top_count(len(names), fraction) :]:
        module = fresh.get_submodule(name)
        with seeded(torch.device("cpu"), seed_of(seed, name)), torch.no_grad():
            renew(module)
    return fresh


def in_words(count: int, layers: int) -> str:
    """Which layers are random: "the head (1 of 4 layers)", "the top 25 of 99 layers"."""
    return f"the head (1 of {layers} layers)" if count == 1 else f"the top {count} of {layers} layers"


def top_count(layers: int, fraction: float) -> int:
    """How many of `layers` are the top `fraction`: rounded up, at least one."""
    return max(1, math.ceil(fraction * layers - 1e-9))


def levels(layers: int, fractions: Sequence[float]) -> tuple[int, ...]:
    """How many of `layers` are randomised at each of `fractions` (0 is the head alone), rising, each number once."""
    return tuple(sorted({top_count(layers, fraction) for fraction in fractions}))


def renew(module: nn.Module) -> None:
    """Fresh values for the module's own parameters, in place, from the CPU's generator."""
    own = dict(module.named_parameters(recurse=False))
    reset = getattr(module, "reset_parameters", None)
    if callable(reset) and next(module.children(), None) is None:
        device = next(iter(own.values())).device
        module.cpu()
        reset()
        module.to(device)
        return
    for weight in own.values():
        value = weight.detach().cpu()
        if value.squeeze().ndim < 2:
            drawn = value.flatten()[torch.randperm(value.numel())].reshape(value.shape)
        else:
            deviation = float(value.double().std())
            drawn = torch.randn(value.shape, dtype=value.dtype) * (deviation or 1 / math.sqrt(value[0].numel()))
        weight.copy_(drawn)


def spearman(first: Tensor, second: Tensor) -> Array:
    """(N,) rank correlation of each pair of maps (N,...), ties shared; NaN where a map is constant."""
    found = []
    for a, b in zip(first.flatten(1).cpu().numpy(), second.flatten(1).cpu().numpy(), strict=True):
        x, y = (ranks - ranks.mean() for ranks in (rankdata(a), rankdata(b)))
        spread = math.sqrt(float(x @ x) * float(y @ y))
        found.append(float(x @ y) / spread if spread > 0 else math.nan)
    return np.array(found)
