"""Probe `neighbours`: what the model holds to be alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.bounds import exact, statistic
from auditor.methods.duplicates import Pairs, families, near_duplicates
from auditor.methods.votes import agreement, ceiling, has_company
from auditor.ops.neighbours import nearest
from auditor.ops.thumbnail import area_means, suffix, thumbnail
from auditor.probe import Probe, Results
from auditor.types import Array, Figure, Finding, Json, Measure

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

COMPARED, SHOWN, BLOCK = 16, 128, 256
"""Pixels: side of the thumbnails that are compared and of those that are shown; images read at one time."""
PIXEL_NEIGHBOURS = 2
MOST_PAIRS = 12
"""Pairs of near duplicates in the gallery."""
AGREEMENT, DUPLICATE_OF = "neighbours.label_agreement", "neighbours.duplicate_of"


@dataclass(frozen=True)
class Neighbours(Probe):
    """Asks: What does the model hold to be alike?
    Formula: Euclidean distance of the features that the classifier head is given, no cosine. label_agreement = mean over the
    labelled images of the share of their 5 nearest labelled others with the same label. Near duplicates: features at most
    `share` median distances to the 10th neighbour apart, AND 16 x 16 thumbnails whose mean difference is at most `pixels`/255
    and a tenth of the image's own contrast. near_duplicates = images that have one.
    Read: Neighbours by features should share the thing, not the background or the photographer; neighbours by pixels, beside
    them, show what mere colour would have found. Near duplicates with two labels are suspected wrong labels; between a
    training and a test set they are leaks, and within one set they count one image twice.
    Misleads: Agreement is bounded by the classes' sizes, and high where an object was photographed several times. Duplicates
    that were cropped, mirrored or brightened are not found; icons and digits can be alike without being copies.
    """

    title: ClassVar[str] = "Nearest neighbours"
    cites: ClassVar[tuple[str, ...]] = (
        "Cover, Hart 1967, Nearest neighbor pattern classification",
        "Krizhevsky, Sutskever, Hinton 2012, ImageNet classification with deep convolutional neural networks",
        "Barz, Denzler 2020, Do we train on test data? Purging CIFAR of near-duplicates",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "label_agreement", "Label agreement", "share", "higher", "Share of the 5 nearest neighbours with an image's label."
        ),
        Measure("near_duplicates", "Near duplicates", "images", "lower", "Images that are all but copies of another one."),
    )
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {"quick": {"queries": 8}, "standard": {}, "full": {"queries": 16}}

    queries: int = 12
    neighbours: int = 6
    """Shown beside each query."""
    agreeing: int = 5
    """Neighbours that label_agreement looks at."""
    share: float = 0.75
    pixels: float = 2.0

    def __post_init__(self) -> None:
        if not (0 <= self.queries <= 32 and 1 <= self.neighbours <= 16 and 1 <= self.agreeing <= 50):
            raise ValueError("expected queries from 0 to 32, neighbours from 1 to 16 and agreeing from 1 to 50")
        if not (self.share >= 0 and self.pixels >= 0):
            raise ValueError(f"expected share >= 0 and pixels >= 0, got {self.share} and {self.pixels}")

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Arithmetic on the graph of the features and on the pixels."""
        count = len(evidence.dataset)
        if count < 2:
            return Finding("not_applicable", f"it needs two images to compare, and the data set has {count}")
        graph, thumbs = evidence.graph, thumbnails(evidence.dataset)
        pairs = near_duplicates(graph.indices, graph.distances, thumbs, share=self.share, pixels=self.pixels)
        family = families(pairs, count)
        agreed, notes = self.agreement(evidence)
        values, columns = dict(agreed.values), dict(agreed.columns)
        values["near_duplicates"] = exact(float(np.sum(family >= 0)), "images", n=count)
        columns[DUPLICATE_OF] = duplicate_of(pairs, count)
        artifacts: dict[str, Array] = {}
        figures = [gallery(self, evidence, thumbs, artifacts)] if self.queries else []
        figures += [pair_gallery(self, evidence, pairs, artifacts)] if len(pairs.left) else []
        notes += duplicate_notes(evidence, pairs, family)
        return Finding("done", values=values, figures=tuple(figures), notes=notes, artifacts=artifacts, columns=columns)

    def agreement(self, evidence: Evidence) -> tuple[Finding, tuple[str, ...]]:
        """label_agreement with its column, and the sentences on it."""
        labels, k = np.asarray(evidence.dataset.labels), self.agreeing
        if not (labels >= 0).any():
            return Finding("done"), ("label_agreement is left out: no image has a label.",)
        column = agreement(evidence.graph.indices, labels, k)
        n = int(np.isfinite(column).sum())
        if not n:
            return Finding("done"), ("label_agreement is left out: no class has two labelled images.",)
        value = statistic("mean", {AGREEMENT: column}, unit="share", seed=evidence.seed)
        most = ceiling(labels, k)
        if most < 1:
            value = replace(
                value, flags=(*value.flags, f"at most {most:.1%} is possible: some classes have under {k + 1} images")
            )
        _, sizes = np.unique(labels[labels >= 0], return_counts=True)
        chance = float(np.sum(sizes * (sizes - 1)) / (sizes[sizes > 1].sum() * (sizes.sum() - 1)))
        shared = f"{np.nanmean(column):.1%} have the same label; chance: {chance:.1%}"
        told = [f"Of the {k} nearest neighbours of {n} labelled images {shared}."]
        alone = int(np.sum((labels >= 0) & ~has_company(labels)))
        if alone:
            told.append(f"Images that are the only one of their class do not count there: {alone}.")
        return Finding("done", values={"label_agreement": value}, columns={AGREEMENT: column}), tuple(told)


def thumbnails(dataset: Dataset) -> Array:
    """(N,16,16,C) float16 area means of the images as the model sees them, read BLOCK at a time."""
    count = len(dataset)
    return np.concatenate(
        [
            area_means(dataset.pixels(range(at, min(at + BLOCK, count))), COMPARED).astype(np.float16)
            for at in range(0, count, BLOCK)
        ]
    )


def duplicate_of(pairs: Pairs, count: int) -> Array:
    """(N,) float64 position of each image's likest duplicate, NaN without one."""
    column = np.full(count, np.nan)
    for i, j in zip(pairs.left[::-1].tolist(), pairs.right[::-1].tolist(), strict=True):  # the likest pair is written last
        column[i], column[j] = j, i
    return column


def by_pixels(thumbs: Array, positions: Array, k: int) -> tuple[Array, Array]:
    """(q,k) positions and (q,k) distances of the images nearest by pixels to those at `positions` (q,), themselves left out."""
    flat, distances = thumbs.reshape(len(thumbs), -1), np.empty((len(positions), len(thumbs)), dtype=np.float32)
    for at in range(0, len(flat), 4096):
        block = flat[at : at + 4096].astype(np.float32)
        for row, position in enumerate(positions):
            distances[row, at : at + 4096] = np.sqrt(((block - flat[position].astype(np.float32)) ** 2).mean(axis=1))
    distances[np.arange(len(positions)), positions] = np.inf
    return nearest(distances, min(k, len(flat) - 1))


def name_of(evidence: Evidence, position: int) -> str:
    """The class of an image in words: its label, else what it is taken for."""
    label = int(evidence.dataset.labels[position])
    if label >= 0:
        return evidence.names[label] if label < len(evidence.names) else str(label)
    seen = evidence.predictions
    return "" if seen is None else f"taken for {evidence.names[int(seen.predicted[position])]}"


def picture(evidence: Evidence, position: int, artifacts: dict[str, Array]) -> str:
    """The file of an image's small picture, added to `artifacts`."""
    small = thumbnail(evidence.dataset.pixels([position])[0], SHOWN)
    file = f"image-{position}.{suffix(small)}"
    artifacts[file] = small
    return file


def cell(evidence: Evidence, query: int, position: int, said: str, artifacts: dict[str, Array]) -> dict[str, Json]:
    """A neighbour with its class, its distance, and whether it is of another class than the query."""
    labels = evidence.dataset.labels
    other = labels[query] >= 0 and labels[position] >= 0 and labels[query] != labels[position]
    note = f"{said}, another class" if other and (labels == labels[query]).sum() > 1 else said
    return {"file": picture(evidence, position, artifacts), "label": name_of(evidence, position), "note": note}


def gallery(probe: Neighbours, evidence: Evidence, thumbs: Array, artifacts: dict[str, Array]) -> Figure:
    """Queries beside their neighbours by features, and by pixels."""
    graph, labels = evidence.graph, evidence.dataset.labels
    chosen = evidence.chosen(probe.queries)
    k = min(probe.neighbours, graph.indices.shape[1])
    plain, apart = by_pixels(thumbs, chosen, PIXEL_NEIGHBOURS)
    rows = []
    for row, query in enumerate(int(p) for p in chosen):
        near = list(zip(graph.indices[query, :k].tolist(), graph.distances[query, :k].tolist(), strict=True))
        cells = [{"file": picture(evidence, query, artifacts), "label": name_of(evidence, query), "note": "the image"}]
        cells += [cell(evidence, query, p, f"distance {d:.3g}", artifacts) for p, d in near]
        both = zip(plain[row].tolist(), apart[row].tolist(), strict=True)
        cells += [cell(evidence, query, p, f"pixels {d:.3g}/255", artifacts) for p, d in both]
        same = sum(int(labels[p] == labels[query]) for p, _ in near)
        alone = labels[query] < 0 or (labels == labels[query]).sum() < 2
        note = "" if alone else f"{same} of {k} of its class"
        rows.append({"label": evidence.dataset.samples[query].name, "note": note, "sample": query, "cells": cells})
    columns = ["image", *(f"nearest {i + 1}" for i in range(k)), *(f"by pixels {i + 1}" for i in range(plain.shape[1]))]
    caption = (
        f"{len(rows)} images, the {k} nearest of {len(labels)} by features, then the {plain.shape[1]} nearest by the pixels of "
        f"{COMPARED} x {COMPARED} thumbnails (root mean square)."
    )
    data = {"columns": columns, "rows": rows, "scale": f"as the model sees them, reduced to at most {SHOWN} px", "tile": 112}
    return Figure("nearest", "gallery", "What it holds to be alike", caption, data)


def pair_gallery(probe: Neighbours, evidence: Evidence, pairs: Pairs, artifacts: dict[str, Array]) -> Figure:
    """The likest pairs of near duplicates, those of two labels first."""
    split = differing(evidence, pairs)
    order = np.argsort(~split, kind="stable")[:MOST_PAIRS]
    rows = []
    for at in order.tolist():
        ends = [int(pairs.left[at]), int(pairs.right[at])]
        names = [evidence.dataset.samples[p].name for p in ends]
        cells = [
            {"file": picture(evidence, p, artifacts), "label": name_of(evidence, p), "note": n}
            for p, n in zip(ends, names, strict=True)
        ]
        note = f"pixels differ by {pairs.difference[at]:.2g}/255, features by {pairs.distance[at]:.2g} of a usual distance"
        label = "two labels: one is suspect" if split[at] else "near duplicates"
        rows.append({"label": label, "note": note, "sample": ends[0], "cells": cells})
    caption = f"{len(rows)} of {len(pairs.left)} pairs, those of two labels first, then by pixel difference."
    data = {"columns": ["one", "other"], "rows": rows, "scale": f"as the model sees them, reduced to at most {SHOWN} px"}
    return Figure("duplicates", "gallery", "Near duplicates", caption, data)


def differing(evidence: Evidence, pairs: Pairs) -> Array:
    """(P,) bool: both have a label, and not the same."""
    labels = np.asarray(evidence.dataset.labels)
    left, right = labels[pairs.left], labels[pairs.right]
    return np.asarray((left >= 0) & (right >= 0) & (left != right))


def duplicate_notes(evidence: Evidence, pairs: Pairs, family: Array) -> tuple[str, ...]:
    """How many there are, and which have two labels."""
    involved, count = int(np.sum(family >= 0)), len(family)
    if not involved:
        return (f"None of the {count} images is a near duplicate of another.",)
    told = f"{involved} of {count} images are near duplicates of another; groups: {len(np.unique(family[family >= 0]))}."
    split = np.flatnonzero(differing(evidence, pairs))
    if not len(split):
        return (told,)
    i, j = int(pairs.left[split[0]]), int(pairs.right[split[0]])
    names = [f"{evidence.dataset.samples[p].name} ({name_of(evidence, p)})" for p in (i, j)]
    return (
        told,
        f"Pairs of near duplicates with two labels, one of them suspect: {len(split)}, first {names[0]} and {names[1]}.",
    )
