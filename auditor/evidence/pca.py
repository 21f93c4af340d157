"""One principal component analysis of the features, which embeddings and neighbours share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auditor.types import Array

MOST_COMPONENTS = 50


@dataclass(frozen=True)
class Pca:
    """r components of D features over N samples."""

    mean: Array
    """(D,) float64."""
    components: Array
    """(r,D) float64, orthonormal rows, most variance first; the sign makes the largest entry positive."""
    coordinates: Array
    """(N,r) float64."""
    explained: Array
    """(r,) variance along each component (divided by N)."""
    residual: float
    """Variance that the components leave out: the sum of the discarded eigenvalues."""


def pca(features: Array, *, most: int = MOST_COMPONENTS) -> Pca:
    """PCA by the eigenvectors of the covariance in float64 (Pearson 1901). `features` (N,D) with N >= 1."""
    data = np.asarray(features, dtype=np.float64)
    mean = data.mean(axis=0)
    centred = data - mean
    count, width = centred.shape
    if width <= count:
        values, vectors = np.linalg.eigh(centred.T @ centred / count)
        components = vectors[:, ::-1].T
    else:  # fewer samples than features: the small Gram matrix has the same eigenvalues
        values, left = np.linalg.eigh(centred @ centred.T / count)
        scale = np.sqrt(np.maximum(values, 0) * count)
        components = (left / np.where(scale > 1e-12, scale, np.inf)).T @ centred
        components = components[::-1]
    values = np.maximum(values[::-1], 0)
    r = int(min(most, np.count_nonzero(values > values[:1].max(initial=0) * 1e-12), count))
    r = max(r, 1)
    top = components[:r]
    top = top * np.where(top[np.arange(r), np.abs(top).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    return Pca(mean, top, centred @ top.T, values[:r], float(values[r:].sum()))
