"""Which images are laid out, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.evidence.graph import Graph, graph
from auditor.methods.layout import lowered, start, tsne, umap
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.evidence import Evidence

MAPS = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}
GRIDS = {"nearest": "nearest-image grid", "one_to_one": "one-to-one grid"}


@dataclass(frozen=True)
class Sample:
    """The M images that are laid out, with their graph."""

    positions: Array
    """(M,) int64, rising."""
    features: Array
    """(M,D)."""
    coordinates: Array
    """(M,r) principal coordinates, of the PCA of all images."""
    graph: Graph
    whole: bool
    """Whether these are all images."""


def chosen(evidence: Evidence, most: int) -> Sample:
    """All images, or `most` of them in proportion to the classes."""
    count = len(evidence.dataset)
    whole = count <= most
    positions = np.arange(count) if whole else np.sort(evidence.chosen(most))
    features = evidence.features[positions]
    near = evidence.graph if whole else graph(features)
    return Sample(positions, features, evidence.pca.at(positions), near, whole)


def layouts(sample: Sample, *, perplexity: float, neighbours: int, seed: int) -> dict[str, Array]:
    """The maps (M,2) float32 by the names of MAPS."""
    plane = start(sample.coordinates, seed=seed)
    near = (sample.graph.indices, sample.graph.distances)
    perplexity = lowered(perplexity, len(sample.positions))
    flat = np.zeros((len(plane), 2), dtype=np.float32)
    width = min(2, sample.coordinates.shape[1])
    flat[:, :width] = sample.coordinates[:, :width]
    laid = {"tsne": tsne(*near, plane, perplexity=perplexity)}
    laid["umap"] = umap(*near, plane, neighbours=neighbours, seed=seed)
    return {**laid, "pca": flat}
