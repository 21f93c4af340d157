"""The facets of a class: groups of its images that look different, each a start for a picture of its own (Nguyen 2016).

Features of a class -> principal components -> t-SNE -> k-means; ascent begins at the mean of the images nearest to a group's
centre. n images of one class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auditor.methods.layout import PERPLEXITY, lowered, start, tsne
from auditor.ops.neighbours import knn
from auditor.types import Array

NEAREST = 15
"""Images whose mean a facet starts from."""
SMALLEST = 8
"""Images below which a class is one facet: a map of fewer says nothing."""
CLOUDS = 19
"""Single clouds that groups are compared with: groups that are no groups pass for some in one of 20 classes."""


@dataclass(frozen=True)
class Facets:
    """How the images of a class fall apart. F facets, the largest first."""

    facet: Array
    """(n,) int64."""
    plane: Array
    """(n,2) their map."""
    silhouette: float
    """Of the groups, in the space of the principal components (Rousseeuw 1987); NaN for one facet."""
    cloud: float
    """The largest silhouette of as many groups cut from single normal clouds of the same variances; NaN for one facet."""
    alike: int
    """Images whose nearest neighbour among the principal components is of their facet."""

    @property
    def count(self) -> int:
        """F."""
        return int(self.facet.max()) + 1

    @property
    def apart(self) -> bool:
        """Whether the groups are further apart than pieces of one cloud are."""
        return self.silhouette > self.cloud

    @property
    def expected(self) -> float:
        """Share of images whose neighbour would be of their facet were neighbours drawn at random."""
        sizes = np.bincount(self.facet)
        n = len(self.facet)
        return float((sizes * (sizes - 1)).sum() / max(n * (n - 1), 1))

    def nearest(self, facet: int, count: int = NEAREST) -> Array:
        """(<= count,) the facet's images, from its centre in the map outwards; ties by number."""
        members = np.flatnonzero(self.facet == facet)
        apart = np.linalg.norm(self.plane[members] - self.plane[members].mean(axis=0), axis=1)
        return np.asarray(members[np.lexsort((members, apart))][:count])


def find_facets(coordinates: Array, *, most: int, seed: int = 0) -> Facets:
    """Facets of the images with principal coordinates (n,r): of 2 to `most` groups those with the largest mean silhouette.

    One facet where there are fewer than SMALLEST images, or `most` is 1. Raises ValueError for most < 1.
    """
    if most < 1:
        raise ValueError(f"facets: expected most >= 1, got {most}; 4 is usual")
    points = np.asarray(coordinates, dtype=np.float64)
    alone = np.zeros(len(points), np.int64)
    if len(points) < SMALLEST:
        plane = np.zeros((len(points), 2))
        plane[:, : min(2, points.shape[1])] = points[:, :2]
        return Facets(alone, plane, float("nan"), float("nan"), alike(points, alone))
    indices, distances = knn(points, len(points) - 1)
    plane = tsne(indices, distances, start(points, seed=seed), perplexity=lowered(PERPLEXITY, len(points)))
    best, found = float("nan"), alone
    for count in range(2, min(most, len(points) // 2) + 1):
        groups = grouped(plane, count, seed)
        score = silhouette(points, groups)
        if found is alone or score > best:
            best, found = score, groups
    cloud = float("nan") if found is alone else of_one_cloud(points, int(found.max()) + 1, seed)
    return Facets(found, plane, best, cloud, alike(points, found))


def of_one_cloud(points: Array, count: int, seed: int) -> float:
    """The largest silhouette that k-means finds with `count` groups in CLOUDS normal clouds of the variances of (n,r)."""
    rng = np.random.default_rng(seed)
    clouds = (rng.normal(0, 1, points.shape) * points.std(axis=0) for _ in range(CLOUDS))
    return max(silhouette(cloud, grouped(cloud, count, seed)) for cloud in clouds)


def grouped(plane: Array, count: int, seed: int) -> Array:
    """(n,) int64 groups of k-means in a map (n,d), the largest first."""
    from sklearn.cluster import KMeans

    labels = np.asarray(KMeans(count, n_init=10, random_state=seed % 2**32).fit_predict(plane.astype(np.float64)))
    order = np.argsort(-np.bincount(labels, minlength=count), kind="stable")
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    return np.asarray(rank[labels])


def silhouette(points: Array, groups: Array) -> float:
    """Mean silhouette; -1 where a group has fewer than two points."""
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(points, groups)) if np.bincount(groups).min() > 1 else -1.0


def alike(points: Array, groups: Array) -> int:
    """Points whose nearest neighbour is of their group."""
    if len(points) < 2:
        return 0
    nearest, _ = knn(points, 1)
    return int((groups[nearest[:, 0]] == groups).sum())
