"""One principal component analysis of the features, which embeddings and neighbours share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from auditor.ops.spans import spans
from auditor.types import Array

MOST_COMPONENTS = 50


@dataclass(frozen=True)
class Pca:
    """r components of D features over N samples."""

    features: Array
    """(N,D) that they are of, as given: they may lie in a file."""
    mean: Array
    """(D,) float64."""
    components: Array
    """(r,D) float64, orthonormal rows, most variance first; the sign makes the largest entry positive."""
    explained: Array
    """(r,) variance along each component (divided by N)."""
    residual: float
    """Variance that the components leave out: the sum of the discarded eigenvalues."""

    def at(self, positions: Array | slice) -> Array:
        """(n,r) float64 coordinates of some samples."""
        return np.asarray((self.features[positions].astype(np.float64) - self.mean) @ self.components.T)

    @property
    def coordinates(self) -> Array:
        """(N,r) float64, of all."""
        return self.at(slice(None))


def pca(features: Array, *, most: int = MOST_COMPONENTS) -> Pca:
    """PCA by the eigenvectors of the covariance in float64 (Pearson 1901). `features` (N,D) with N >= 1.

    Memory: some rows and the covariance (D,D), or, with fewer samples than features, those in float64.
    """
    features = np.asarray(features)
    count, width = features.shape

    def parts() -> Iterator[Array]:
        return (features[at].astype(np.float64) for at in spans(count, width))

    mean = np.sum([part.sum(axis=0) for part in parts()], axis=0) / count
    if width <= count:
        covariance = np.zeros((width, width))
        for part in parts():
            part -= mean
            covariance += part.T @ part
        values, vectors = np.linalg.eigh(covariance / count)
        components = vectors[:, ::-1].T
    else:  # fewer samples than features: the small Gram matrix has the same eigenvalues
        centred = features.astype(np.float64) - mean
        values, left = np.linalg.eigh(centred @ centred.T / count)
        scale = np.sqrt(np.maximum(values, 0) * count)
        components = (left / np.where(scale > 1e-12, scale, np.inf)).T @ centred
        components = components[::-1]
    values = np.maximum(values[::-1], 0)
    r = int(min(most, np.count_nonzero(values > values[:1].max(initial=0) * 1e-12), count))
    r = max(r, 1)
    top = components[:r]
    top = top * np.where(top[np.arange(r), np.abs(top).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    return Pca(features, mean, top, values[:r], float(values[r:].sum()))
