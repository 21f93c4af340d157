"""Images in words and small pictures, and the gallery of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from auditor.ops.neighbours import nearest
from auditor.ops.room import Room, in_memory
from auditor.ops.thumbnail import area_means, suffix, thumbnail
from auditor.types import Array, Figure, Json

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence

COMPARED, SHOWN, BLOCK = 16, 128, 256
"""Pixels: side of the thumbnails that are compared and of those that are shown; images read at one time."""
PIXEL_NEIGHBOURS = 2
SCALE = f"as the model sees them, reduced to at most {SHOWN} px"


def thumbnails(dataset: Dataset, positions: Sequence[int] | Array | range, room: Room = in_memory) -> Array:
    """(n,16,16,C) float16 area means of images as the model sees them, n at least 1, read BLOCK at a time, in `room`."""
    channels = dataset.pixels(positions[:1]).shape[-1]
    found = room((len(positions), COMPARED, COMPARED, channels), np.float16)
    for at in range(0, len(positions), BLOCK):
        found[at : at + BLOCK] = area_means(dataset.pixels(positions[at : at + BLOCK]), COMPARED)
    return found


def by_pixels(thumbs: Array, positions: Array, k: int) -> tuple[Array, Array]:
    """(q,k) positions and (q,k) distances of the images nearest by pixels to those at `positions` (q,), themselves left out."""
    flat, distances = thumbs.reshape(len(thumbs), -1), np.empty((len(positions), len(thumbs)), dtype=np.float32)
    for at in range(0, len(flat), 4096):
        block = flat[at : at + 4096].astype(np.float32)
        for row, position in enumerate(positions):
            distances[row, at : at + 4096] = np.sqrt(((block - flat[position].astype(np.float32)) ** 2).mean(axis=1))
    distances[np.arange(len(positions)), positions] = np.inf
    return nearest(distances, min(k, len(flat) - 1))


@dataclass(frozen=True)
class Pictures:
    """Names and small pictures of the images, gathered as a section's artifacts."""

    evidence: Evidence
    artifacts: dict[str, Array] = field(default_factory=dict)

    def name_of(self, position: int) -> str:
        """The class of an image in words: its label, else what it is taken for."""
        evidence = self.evidence
        label = int(evidence.dataset.labels[position])
        if label >= 0:
            return evidence.names[label] if label < len(evidence.names) else str(label)
        seen = evidence.predictions
        return "" if seen is None else f"taken for {evidence.names[int(seen.predicted[position])]}"

    def small(self, dataset: Dataset, position: int, stem: str) -> str:
        """The file of an image's small picture."""
        shown = thumbnail(dataset.pixels([position])[0], SHOWN)
        file = f"{stem}-{position}.{suffix(shown)}"
        self.artifacts[file] = shown
        return file

    def cell(self, position: int, note: str) -> dict[str, Json]:
        """An image of the audited set, with its class."""
        return {"file": self.small(self.evidence.dataset, position, "image"), "label": self.name_of(position), "note": note}

    def train_cell(self, position: int, note: str) -> dict[str, Json]:
        """An image of the training set, with its class."""
        train = self.evidence.train
        assert train is not None, "there are pairs with it"
        return {"file": self.small(train.dataset, position, "train"), "label": train.class_name(position), "note": note}

    def neighbour(self, query: int, position: int, said: str) -> dict[str, Json]:
        """A neighbour with its class, its distance, and whether it is of another class than the query."""
        labels = self.evidence.dataset.labels
        other = labels[query] >= 0 and labels[position] >= 0 and labels[query] != labels[position]
        return self.cell(position, f"{said}, another class" if other and (labels == labels[query]).sum() > 1 else said)


def gallery(pictures: Pictures, thumbs: Array, *, queries: int, neighbours: int) -> Figure:
    """Queries beside their neighbours by features, and by pixels."""
    evidence = pictures.evidence
    graph, labels = evidence.graph, evidence.dataset.labels
    chosen = evidence.chosen(queries)
    k = min(neighbours, graph.indices.shape[1])
    plain, apart = by_pixels(thumbs, chosen, PIXEL_NEIGHBOURS)
    rows = []
    for row, query in enumerate(int(p) for p in chosen):
        near = list(zip(graph.indices[query, :k].tolist(), graph.distances[query, :k].tolist(), strict=True))
        cells = [pictures.cell(query, "the image")]
        cells += [pictures.neighbour(query, p, f"distance {d:.3g}") for p, d in near]
        both = zip(plain[row].tolist(), apart[row].tolist(), strict=True)
        cells += [pictures.neighbour(query, p, f"pixels {d:.3g}/255") for p, d in both]
        same = sum(int(labels[p] == labels[query]) for p, _ in near)
        alone = labels[query] < 0 or (labels == labels[query]).sum() < 2
        note = "" if alone else f"{same} of {k} of its class"
        rows.append({"label": evidence.dataset.samples[query].name, "note": note, "sample": query, "cells": cells})
    columns = ["image", *(f"nearest {i + 1}" for i in range(k)), *(f"by pixels {i + 1}" for i in range(plain.shape[1]))]
    caption = (
        f"{len(rows)} images, the {k} nearest of {len(labels)} by features, then the {plain.shape[1]} nearest by the pixels of "
        f"{COMPARED} x {COMPARED} thumbnails (root mean square)."
    )
    data = {"columns": columns, "rows": rows, "scale": SCALE, "tile": 112}
    return Figure("nearest", "gallery", "What it holds to be alike", caption, data)
