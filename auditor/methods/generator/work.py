"""What a generator costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.fold import Cost
from auditor.methods.generator.inverse import Wanted
from auditor.methods.generator.network import multiplications, output_size

if TYPE_CHECKING:
    from auditor.target import Target

TRAINED, FOLLOWED = 3, 2
"""Forwards that a step of training is worth (backwards to the maps and to the weights), and one of ascent (to the maps)."""


BESIDE = 1.6
"""What norms, enlargement and the optimiser add to the multiplications of the net's convolutions: 1.9 was measured at 28 px."""


def training_work(target: Target, features: int, wanted: Wanted, ascents: int = 0) -> Cost:
    """About: the target's part of each step of training, and the net's own in these and in `ascents` steps of ascent."""
    size = output_size(target.input_shape, wanted.most)
    images = wanted.steps * wanted.batch
    own = multiplications(features, target.input_shape[0], size, wanted.width) * (TRAINED * images + FOLLOWED * ascents)
    matched = float(images if wanted.matching > 0 else 0)
    return Cost(forwards=matched, gradients=matched, batch=wanted.batch, multiplications=own * BESIDE)


def width_of(target: Target) -> int:
    """D of the penultimate features, by the trace."""
    call = next((call for call in target.trace if call.name == target.head), None)
    if call is None or call.inputs is None:
        last = target.trace[-1].shape if target.trace else None
        return 1 if last is None or len(last) < 2 else last[1]
    return call.inputs[1] if call.kind == "Conv2d" else call.inputs[-1]
