"""Which images fall to FGSM and to PGD at each of several epsilons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from auditor.methods.attacks.gradient_sign import fgsm, pgd
from auditor.methods.attacks.victim import Images, gradient


@dataclass(frozen=True)
class Fallen:
    """n images, E epsilons, rising. An image that is wrong unchanged has fallen everywhere."""

    fgsm: Tensor
    """(n,E) bool: FGSM at that epsilon, on its own."""
    pgd: Tensor
    """(n,E) bool: PGD at that epsilon or a smaller one."""
    fgsm_8bit: Tensor
    """(n,E) bool: with the changed image stored in 8 bits."""
    pgd_8bit: Tensor
    """(n,E) bool: likewise, at that epsilon or a smaller one."""
    silent: Tensor
    """(n,) bool: right, and the loss has no slope in any pixel, so neither attack can move it."""


def sweep(
    model: nn.Module, images: Tensor, labels: Tensor, epsilons: Sequence[float], *, normalise: Images, steps: int = 10
) -> Fallen:
    """Attack images (n,C,H,W) in [0,1] at each epsilon; an image that fell to PGD both as floats and in 8 bits leaves the batch.

    Raises ValueError where the epsilons do not rise.
    """
    if any(a >= b for a, b in pairwise(epsilons)):
        raise ValueError(f"sweep: expected rising epsilons, got {tuple(epsilons)}; sort them")
    slope, scores = gradient(model, images, labels, normalise)
    wrong = scores.argmax(1) != labels
    down, down_8bit = wrong.clone(), wrong.clone()
    columns: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for epsilon in epsilons:
        if epsilon == 0:
            columns.append((wrong, wrong, wrong, wrong))
            continue
        once = fgsm(model, images, labels, epsilon, normalise=normalise, slope=slope)
        left = torch.nonzero(~(down & down_8bit))[:, 0]
        many = pgd(model, images[left], labels[left], epsilon, normalise=normalise, steps=steps)
        down, down_8bit = down.clone(), down_8bit.clone()
        down[left] |= many.fallen
        down_8bit[left] |= many.fallen_8bit
        columns.append((once.fallen | wrong, down, once.fallen_8bit | wrong, down_8bit))
    one, two, three, four = (torch.stack(column, 1) for column in zip(*columns, strict=True))
    return Fallen(one, two, three, four, (slope.flatten(1) == 0).all(1) & ~wrong)
