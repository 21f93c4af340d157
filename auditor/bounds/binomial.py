"""The exact binomial interval (Clopper and Pearson 1934)."""

from __future__ import annotations

import numpy as np

from auditor.types import Array


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The two one-sided exact bounds of a share seen `k` times in `n`, each at `confidence`.

    Each bound errs with probability at most 1 - confidence, so at 0.95 both together are the two-sided 90 % interval.
    (0.0, 1.0) for n = 0. Raises ValueError unless 0 <= k <= n and 0 < confidence < 1.
    """
    if not 0 <= k <= n:
        raise ValueError(f"expected 0 <= k <= n, got k = {k}, n = {n}; count again")
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, got {confidence}; 0.95 is the default")
    low, high = exact_bounds(np.array([k]), np.array([n]), 1 - confidence, 1 - confidence)
    return float(low[0]), float(high[0])


def exact_bounds(k: Array, n: Array, below: float, above: float) -> tuple[Array, Array]:
    """(C,) lower bounds that err with probability at most `below`, and (C,) upper ones at most `above`, for k (C,) of n (C,)."""
    from scipy.special import betaincinv  # here, not above: scipy takes a quarter of a second, and not every check needs it

    k, n = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    low, high = np.zeros(len(k)), np.ones(len(k))
    some, short = k > 0, k < n
    low[some] = betaincinv(k[some], n[some] - k[some] + 1, below)
    high[short] = betaincinv(k[short] + 1, n[short] - k[short], 1 - above)
    return low, high
