"""t-SNE and UMAP in two dimensions, both from one given neighbour graph and one PCA start. N points."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from auditor.methods.repulsion import gradient
from auditor.types import Array

PERPLEXITY, NEIGHBOURS = 30.0, 15
TSNE_SPREAD, UMAP_SPREAD = 1e-4, 10.0
"""Standard deviation of the first component at the start of t-SNE; the farthest coordinate at the start of UMAP."""
FFT_FROM = 30_000
"""Points from which the repulsion is interpolated by FFT (Linderman 2019); below, every pair is counted."""
JITTER = 0.01
"""Noise of the start, as a share of the spread: points that coincide must be able to part."""


def start(coordinates: Array, *, seed: int) -> Array:
    """(N,2) float64: the first two principal coordinates of (N,r), r >= 1, with standard deviation 1 along the first."""
    plane = np.zeros((len(coordinates), 2))
    width = min(2, coordinates.shape[1])
    plane[:, :width] = coordinates[:, :width] - coordinates[:, :width].mean(axis=0)
    spread = plane[:, 0].std()
    plane /= spread if spread > 0 else 1.0
    return plane + np.random.default_rng(seed).normal(0, JITTER, plane.shape)


def lowered(perplexity: float, count: int) -> float:
    """The perplexity, at most a third of the other points: beyond that there are not enough neighbours for it."""
    return min(perplexity, (count - 1) / 3)


def affinities(indices: Array, distances: Array, *, perplexity: float, symmetric: bool = True) -> Any:
    """openTSNE's affinities of a graph (N,k) that leaves out the points themselves; a new object, since fitting changes it.

    Uses the 3 x perplexity nearest. Without `symmetric` the rows of `.P` are the conditional probabilities divided by N.
    """
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    k = min(indices.shape[1], round(3 * perplexity))
    near = PrecomputedNeighbors(np.array(indices[:, :k]), np.array(distances[:, :k], dtype=np.float64))
    return PerplexityBasedNN(perplexity=perplexity, knn_index=near, symmetrize=symmetric, n_jobs=1)


def tsne(indices: Array, distances: Array, plane: Array, *, perplexity: float = PERPLEXITY) -> Array:
    """(N,2) float32, centred (van der Maaten, Hinton 2008) by openTSNE on one thread: equal input, equal bytes."""
    from openTSNE import TSNE

    method = gradient if len(indices) < FFT_FROM else "fft"
    fitted = TSNE(n_jobs=1, random_state=0, negative_gradient_method=method).fit(
        affinities=affinities(indices, distances, perplexity=perplexity), initialization=plane * TSNE_SPREAD
    )
    return centred(np.asarray(fitted))


def umap(indices: Array, distances: Array, plane: Array, *, neighbours: int = NEIGHBOURS, seed: int = 0) -> Array:
    """(N,2) float32, centred (McInnes 2018) by umap-learn on one thread; `neighbours` counts the point itself, as there."""
    with warnings.catch_warnings(), threads_kept():
        warnings.filterwarnings("ignore", message="Tensorflow not installed")
        warnings.filterwarnings("ignore", message=r"precomputed_knn\[2\]")  # only for new points, which are not asked for
        warnings.filterwarnings("ignore", message="The TBB threading layer")
        from umap import UMAP

        k = min(neighbours, indices.shape[1])
        own = np.arange(len(indices), dtype=np.int64)[:, None]
        graph = np.concatenate([own, indices[:, : k - 1]], axis=1)
        apart = np.concatenate([np.zeros((len(indices), 1), np.float32), distances[:, : k - 1].astype(np.float32)], axis=1)
        first = (plane * (UMAP_SPREAD / np.abs(plane).max())).astype(np.float32)
        model = UMAP(n_neighbors=k, random_state=seed % 2**32, n_jobs=1, init=first, precomputed_knn=(graph, apart, None))
        return centred(np.asarray(model.fit_transform(plane.astype(np.float32))))


@contextmanager
def threads_kept() -> Iterator[None]:
    """torch's number of threads as it was: numba sets that of OpenMP, which both share, and float sums follow it."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def centred(layout: Array) -> Array:
    """(N,2) float32 about 0. Raises ValueError where the method gave no finite places."""
    if not np.isfinite(layout).all():
        raise ValueError("expected a finite layout, got NaN or infinity")
    return np.asarray(layout - layout.mean(axis=0), dtype=np.float32)
