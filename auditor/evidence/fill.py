"""What covers an image: the mean pixel of those looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auditor.types import Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.target import Target


def mean_pixel(target: Target, dataset: Dataset, positions: Array) -> tuple[float, ...]:
    """(C,) mean pixel of the images at `positions`, normalised; zeros where there is none."""
    means = [dataset.load(positions[i : i + 1], target.device).mean(dim=(0, 2, 3)).tolist() for i in range(len(positions))]
    return tuple(np.mean(means, axis=0).tolist()) if means else (0.0,) * target.input_shape[0]
