"""How many images stand the first attacks, told by attacking a few: how much work the attacks behind them are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from auditor.methods.attacks.worst import STANDS, worst_case
from auditor.methods.robustness import sweep
from auditor.methods.unit import unit_images
from auditor.probes.adversarial.attacks import Plan

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.target import Target

TRIED = 16
"""Images that are attacked: a share of 1/2 is told to about 1/8."""


@dataclass(frozen=True)
class Standing:
    """Shares of the images."""

    linf: tuple[float, ...]
    """That stand PGD at each epsilon of the curve, rising."""
    l2: float
    """That stand PGD in the ball of L2."""


_known: dict[tuple[object, ...], Standing] = {}


def standing(target: Target, dataset: Dataset, plan: Plan, *, most: int, strong: bool) -> Standing:
    """Of at most TRIED and `most` labelled images at equal distances; kept for the same model, data and attacks, since a budget
    asks again. `strong`: whether L2 is asked about; 0 where not.
    """
    names = (getattr(target, "identity", None), getattr(dataset, "digest", None))
    key = (*names, plan.epsilons, plan.epsilon_l2, plan.steps, plan.budget.steps, most, strong)
    if None in names or key not in _known:
        _known.clear()
        _known[key] = attacked(target, dataset, plan, max(1, min(TRIED, most)), strong=strong)
    return _known[key]


def attacked(target: Target, dataset: Dataset, plan: Plan, count: int, *, strong: bool) -> Standing:
    """The sweep of epsilons, and PGD in L2."""
    labelled = np.flatnonzero(np.asarray(dataset.labels) >= 0)
    if not len(labelled):
        return Standing((0.0,) * len(plan.epsilons), 0.0)
    some = labelled[np.unique(np.linspace(0, len(labelled) - 1, min(count, len(labelled))).astype(np.int64))]
    images = unit_images(dataset, some, target.device)
    labels = torch.as_tensor(np.asarray(dataset.labels)[some], device=target.device)
    given = {"normalise": target.preprocess.normalise}
    fallen = sweep(target.module, images, labels, plan.epsilons, steps=plan.steps, **given)
    stand = tuple((~(fallen.pgd & fallen.pgd_8bit)).float().mean(0).tolist())
    if not strong:
        return Standing(stand, 0.0)
    other = worst_case(
        target.module, images, labels, plan.epsilon_l2, norm="l2", attacks=("pgd",), seeds=range(len(some)), budget=plan.budget,
        **given,
    )  # fmt: skip
    return Standing(stand, float((other.by == STANDS).float().mean()))
