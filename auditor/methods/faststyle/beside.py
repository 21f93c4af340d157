"""A style net beside the optimisation that it stands for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def equal_evaluations(losses: Sequence[float], loss: float) -> tuple[float, bool]:
    """(N, reached): after how many evaluations the best of `losses` so far is as low as `loss`.

    `losses` (E,) are those at each evaluation, the first at the start, which is N = 0; between two evaluations the best loss is
    taken as linear. Where it is never as low, N = E - 1 and reached is False: N is at least that. Raises ValueError without any.
    """
    best = np.minimum.accumulate(np.asarray(losses, dtype=np.float64))
    if not len(best):
        raise ValueError("expected the losses of at least one evaluation, got none; give those of an optimisation")
    below = np.flatnonzero(best <= loss)
    if not len(below):
        return float(len(best) - 1), False
    first = int(below[0])
    if first == 0:
        return 0.0, True
    high, low = best[first - 1], best[first]
    return first - 1 + float((high - loss) / (high - low)), True
