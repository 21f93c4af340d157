"""The worst case of several attacks, each on the images that the ones before it left standing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from auditor.methods.attacks.apgd import TARGETS, apgd, apgd_targeted
from auditor.methods.attacks.ball import Norm
from auditor.methods.attacks.gradient_sign import pgd
from auditor.methods.attacks.square import QUERIES, square
from auditor.methods.attacks.victim import Attacked, Images, cheap, errs

WHITE = ("pgd", "apgd_ce", "apgd_t")
ATTACKS = (*WHITE, "square")
"""In the order in which they are tried: the cheap ones first, the one that needs no gradient last."""
UNCHANGED, STANDS = -1, -2


@dataclass(frozen=True)
class Budget:
    """What each attack may take an image."""

    steps: int = 100
    targets: int = TARGETS
    queries: int = QUERIES
    batch: int = 0
    """Images in one forward with its gradient; where 0 all, on the CPU as many as `ops.lean.at_once` says."""
    query_batch: int = 0
    """Images in one forward without, likewise."""


@dataclass(frozen=True)
class Worst:
    """For n images."""

    images: Tensor
    """(n,C,H,W) in [0,1]: the image that fell, or the last that was tried."""
    by: Tensor
    """(n,) int64: the place in ATTACKS of the attack that it fell to; UNCHANGED: wrong as it is; STANDS: fell to none."""
    fallen_8bit: Tensor
    """(n,) bool: wrong as it is, or fell when stored in 8 bits too."""
    steps: Tensor
    """(n,) int64 steps and queries, all attacks together."""

    @property
    def fallen(self) -> Tensor:
        """(n,) bool."""
        return self.by != STANDS


def worst_case(
    model: Images,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    normalise: Images,
    norm: Norm = "linf",
    attacks: Sequence[str] = ATTACKS[1:],
    seeds: Sequence[int] | None = None,
    budget: Budget | None = None,
) -> Worst:
    """The attacks of ATTACKS that are named, in that order; an image that falls is not attacked again.

    APGD-CE, APGD-T and Square, the default, are AutoAttack (Croce & Hein 2020) without FAB. `seeds`: one an image, 0, 1, 2, ...
    where None. The attacks ask the model as `ops.lean` makes it, and the model itself whether an image has fallen.
    Raises ValueError for an attack that is not known.
    """
    unknown = [name for name in attacks if name not in ATTACKS]
    if unknown:
        raise ValueError(f"worst_case: expected attacks among {', '.join(ATTACKS)}, got {unknown[0]!r}; choose one of these")
    budget = Budget() if budget is None else budget
    wrong = errs(model, images, labels, normalise, budget.query_batch)
    best, by = images.clone(), torch.full_like(labels, STANDS)
    by[wrong] = UNCHANGED
    grid, taken = wrong.clone(), torch.zeros_like(labels)
    asked = model if bool(wrong.all()) else cheap(model, images, normalise)
    numbers = list(range(len(images))) if seeds is None else [int(seed) for seed in seeds]
    for place, name in enumerate(ATTACKS):
        left = torch.nonzero(by == STANDS)[:, 0]
        if name not in attacks or not len(left):
            continue
        mine = [numbers[i] for i in left.tolist()]
        found = RUNS[name](budget, asked, images[left], labels[left], epsilon, normalise=normalise, norm=norm, seeds=mine)
        best[left], grid[left] = found.images, found.fallen_8bit
        taken[left] += found.steps
        by[left[found.fallen]] = place
    return Worst(best, by, grid, taken)


def run_pgd(budget: Budget, *given: Any, **named: Any) -> Attacked:
    """PGD from a random start."""
    return pgd(*given, steps=budget.steps, eight_bits=False, batch=budget.batch, **named)


def run_apgd(budget: Budget, *given: Any, **named: Any) -> Attacked:
    """APGD-CE."""
    return apgd(*given, steps=budget.steps, batch=budget.batch, **named)


def run_targeted(budget: Budget, *given: Any, **named: Any) -> Attacked:
    """APGD-T."""
    return apgd_targeted(*given, steps=budget.steps, targets=budget.targets, batch=budget.batch, **named)


def run_square(budget: Budget, *given: Any, **named: Any) -> Attacked:
    """Square."""
    return square(*given, queries=budget.queries, batch=budget.query_batch, **named)


RUNS: dict[str, Callable[..., Attacked]] = {
    "pgd": run_pgd, "apgd_ce": run_apgd, "apgd_t": run_targeted, "square": run_square,
}  # fmt: skip
"""Each attack as (budget, model, images, labels, epsilon, normalise=, norm=, seeds=)."""
