"""What a style net and optimisation cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.fold import Cost
from auditor.methods.faststyle.lesson import Setting, Wanted
from auditor.methods.faststyle.network import multiplications

if TYPE_CHECKING:
    from auditor.target import Target

THRICE = 3
"""A step of training is a forward, and two of its size backwards: to the maps and to the weights."""


def training_work(target: Target, setting: Setting, wanted: Wanted) -> Cost:
    """About: the target's part of each step, and the net's own by multiplications."""
    images, seen = wanted.whole * wanted.batch, wanted.whole * wanted.batch * part_of(target, setting)
    own = THRICE * images * net_work(target, setting.size, wanted)
    return Cost(forwards=seen, gradients=seen, batch=wanted.batch, multiplications=own)


def net_work(target: Target, size: tuple[int, int], wanted: Wanted) -> float:
    """Multiplications of one picture of `size` through the net."""
    return multiplications(target.input_shape[0], size, wanted.width, wanted.blocks)


def part_of(target: Target, setting: Setting) -> float:
    """The share of a forward that ends at the deepest layer, at the size of the pictures."""
    order = {call.name: call.order for call in target.trace}
    area = setting.size[0] * setting.size[1] / (target.input_shape[1] * target.input_shape[2])
    return area * (order[setting.names[-1]] + 1) / len(target.trace)
