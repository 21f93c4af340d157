"""The exact nearest-neighbour graph of the features: neighbours, t-SNE and UMAP all read this one."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.ops.neighbours import knn
from auditor.ops.room import Room, in_memory
from auditor.types import Array

MOST_NEIGHBOURS = 91
"""t-SNE at perplexity 30 looks at 3 x 30 neighbours (van der Maaten 2014)."""


@dataclass(frozen=True)
class Graph:
    """k nearest others of each of N samples, by Euclidean distance; ties by position."""

    indices: Array
    """(N,k) int64."""
    distances: Array
    """(N,k) float32, ascending."""


def graph(features: Array, *, room: Room = in_memory) -> Graph:
    """The graph of `features` (N,D), k = min(91, N-1); `room`: what it is written to."""
    indices, distances = knn(features, min(MOST_NEIGHBOURS, len(features) - 1), room=room)
    return Graph(indices, distances)
