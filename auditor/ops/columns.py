"""Columns of predictions.parquet: what is known of some images, beside all of them."""

from __future__ import annotations

import numpy as np

from auditor.types import Array


def spread_out(values: Array, positions: Array, count: int) -> Array:
    """(count,) float64: `values` (n,) at `positions` (n,), NaN elsewhere."""
    column = np.full(count, np.nan)
    column[positions] = values
    return column
