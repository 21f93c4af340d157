"""What training a generator costs, in units of the target's own work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from auditor.fold import Cost
from auditor.methods.generator.inverse import Wanted
from auditor.methods.generator.network import multiplications, output_size

if TYPE_CHECKING:
    from auditor.target import Target

THRICE = 3
"""A step of training is a forward, and two of its size backwards: to the maps and to the weights."""


def training_work(target: Target, features: int, wanted: Wanted) -> Cost:
    """About: the target's part of each step, and the net's own by multiplications, counted as forwards of the target."""
    size = output_size(target.input_shape, wanted.most)
    own = THRICE * multiplications(features, target.input_shape[0], size, wanted.width) / max(1, through(target))
    images = wanted.steps * wanted.batch
    matching = 1 if wanted.matching > 0 else 0
    return Cost(forwards=images * (own + matching), gradients=images * matching)


def through(target: Target) -> int:
    """Of one image through the convolutions and linear layers of the target."""
    found = 0
    for call in target.trace:
        module = target.model.get_submodule(call.path)
        if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear) or call.shape is None:
            continue
        numbers = 1
        for side in call.shape[1:]:
            numbers *= side
        channels = module.out_features if isinstance(module, nn.Linear) else module.out_channels
        found += module.weight.numel() * numbers // max(1, channels)
    return found


def width_of(target: Target) -> int:
    """D of the penultimate features, by the trace."""
    call = next((call for call in target.trace if call.name == target.head), None)
    if call is None or call.inputs is None:
        last = target.trace[-1].shape if target.trace else None
        return 1 if last is None or len(last) < 2 else last[1]
    return call.inputs[1] if call.kind == "Conv2d" else call.inputs[-1]
