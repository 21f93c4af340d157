"""What a style net and optimisation cost, in units of the target's own work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from auditor.fold import Cost
from auditor.methods.faststyle.lesson import Setting, Wanted
from auditor.methods.faststyle.network import multiplications

if TYPE_CHECKING:
    from auditor.target import Target

THRICE = 3
"""A step of training is a forward, and two of its size backwards: to the maps and to the weights."""


def training_work(target: Target, setting: Setting, wanted: Wanted) -> Cost:
    """About: the target's part of each step, and the net's own by multiplications, counted as forwards of the target."""
    images, part = wanted.whole * wanted.batch, part_of(target, setting)
    return Cost(forwards=images * (part + THRICE * net_work(target, setting.size, wanted)), gradients=images * part)


def net_work(target: Target, size: tuple[int, int], wanted: Wanted) -> float:
    """One picture of `size` through the net, in forwards of the target."""
    return multiplications(target.input_shape[0], size, wanted.width, wanted.blocks) / max(1, through(target))


def part_of(target: Target, setting: Setting) -> float:
    """The share of a forward that ends at the deepest layer, at the size of the pictures."""
    order = {call.name: call.order for call in target.trace}
    area = setting.size[0] * setting.size[1] / (target.input_shape[1] * target.input_shape[2])
    return area * (order[setting.names[-1]] + 1) / len(target.trace)


def through(target: Target) -> int:
    """Multiplications of one image through the convolutions and linear layers of the target."""
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
