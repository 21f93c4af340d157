"""Probe `embedding`: how the model arranges the data, and how far a flat map of it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.bounds import proportion, statistic
from auditor.fold import Cost
from auditor.methods.layout import lowered
from auditor.methods.trustworthiness import NEIGHBOURS, most_neighbours, shared, trustworthiness
from auditor.methods.votes import class_sizes, has_company, vote
from auditor.ops.columns import spread_out
from auditor.ops.neighbours import knn
from auditor.ops.points import broken_rows
from auditor.probe import Probe, Results
from auditor.probes.embedding.figures import compared, scatter, variance
from auditor.probes.embedding.pictures import Pictured, pictured
from auditor.probes.embedding.sample import MAPS, Sample, chosen, layouts
from auditor.types import Array, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

FEWEST = 10
"""Images below which no map is drawn."""
EXACT = 5_000
"""Images of which trustworthiness is worked out; beyond, of a seeded sample of them against all."""
VOTERS = 10
TOUCHING = 8
"""Neighbours in a map whose place in the features is asked: as many as a cell of a grid has."""
PIXELS = (1000, 2000, 4000)
STARTED, LAID, PAIRED = 7.5, 0.0012, 5e-8
"""Seconds on one core: until the compiled parts of UMAP are there, for an image of t-SNE and UMAP, and for a pair of images."""


@dataclass(frozen=True)
class Embedding(Probe):
    """Asks: How does the model arrange the data, and do classes lie apart?
    Formula: PCA, t-SNE and UMAP of the features that the head is given; the last two start from that PCA and share one exact
    graph of nearest neighbours. trustworthiness = 1 - 2 / (n k (2n - 3k - 1)) sum of max(0, r - k) over the k = 12 nearest of
    each point in the map, r their rank in the features. knn_accuracy = share of labelled images whose label the majority of
    their 10 nearest others has: in the map (2d), and in the features (full). kept_neighbours = share of an image's neighbours in
    a picture (the 8 nearest in a map, those in touching cells of a grid) that are among its as many nearest by features.
    Nearest-image grid: each cell shows the image whose place is nearest to its centre, so one can fill many cells (Karpathy's
    program takes each image once, cell by cell, so its last cells get what is left). One-to-one grid: as many images as cells, a
    sample, assigned with the least sum of squared moves. Seams: Euclidean distance of two cells' images in the features.
    Read: Clumps of one colour are classes that the model tells apart; images in a foreign clump are worth a look. A bright seam
    is a border that the flat picture hides. Where knn_accuracy_2d is far below knn_accuracy_full the map hides order that is
    there; below a trustworthiness of about 0.9 many neighbours in the map are none.
    Misleads: Sizes of clumps and distances between them mean nothing in t-SNE, little in UMAP. Another seed or perplexity
    gives another picture. Grids fill the empty ground: side by side there is not near, and a rim image can take many cells.
    Classes far apart do not prove that the model is right for the right reason.
    """

    title: ClassVar[str] = "Embedding"
    cites: ClassVar[tuple[str, ...]] = (
        "Pearson 1901, On lines and planes of closest fit to systems of points in space",
        "Venna, Kaski 2001, Neighborhood preservation in nonlinear projection methods",
        "van der Maaten, Hinton 2008, Visualizing data using t-SNE",
        "McInnes, Healy, Melville 2018, UMAP: uniform manifold approximation and projection",
        "Karpathy 2014, t-SNE visualization of CNN codes",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "trustworthiness", "Trustworthiness", "", "higher", "1 where neighbours in the map are neighbours in the features."
        ),
        Measure(
            "knn_accuracy_2d", "10-NN accuracy in the map", "share", "higher", "Labels told by the nearest others in the map."
        ),
        Measure("knn_accuracy_full", "10-NN accuracy", "share", "higher", "Labels told by the nearest others in the features."),
        Measure(
            "kept_neighbours",
            "Neighbours kept",
            "share",
            "higher",
            "Neighbours in a picture that are as near by features.",
        ),
        Measure(
            "grid_moves", "Moved for the grid", "cells", "lower", "How far the one-to-one grid moves an image from its place."
        ),
    )
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {
        "quick": {"most": 2_000, "pixels": 1000}, "standard": {"most": 10_000}, "full": {},
    }  # fmt: skip
    only_shown: ClassVar[frozenset[str]] = frozenset({"pixels"})

    most: int = 20_000
    """Images that are laid out; of more, a sample in proportion to the classes."""
    perplexity: float = 30.0
    neighbours: int = 15
    pictured: str = "tsne"
    """The map that is drawn with its images: tsne, umap or both."""
    cells: int = 32
    """Most cells a side of a grid; fewer where there are fewer images than cells."""
    pixels: int = 2000
    """Side of the PNG to download, one a picture: 1000, 2000, or 4000 (in 256 colours)."""

    def __post_init__(self) -> None:
        if not (self.most >= FEWEST and 1 <= self.perplexity <= 30 and 2 <= self.neighbours <= 90):
            raise ValueError(f"expected most >= {FEWEST}, perplexity from 1 to 30 and neighbours from 2 to 90")
        if self.pictured not in ("tsne", "umap", "both"):
            raise ValueError(f"expected pictured tsne, umap or both, got {self.pictured!r}")
        if self.pixels not in PIXELS or not 3 <= self.cells <= 64:
            raise ValueError(f"expected pixels 1000, 2000 or 4000 and cells from 3 to 64, got {self.pixels} and {self.cells}")

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """About, without the model: t-SNE and UMAP."""
        count = min(self.most, len(dataset))
        return Cost(seconds=STARTED + LAID * count + PAIRED * count**2) if len(dataset) >= FEWEST else Cost()

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Arithmetic on the features."""
        count = len(evidence.dataset)
        if count < FEWEST:
            return Finding("not_applicable", f"it needs {FEWEST} images to draw a map, and the data set has {count}")
        broken = broken_rows(evidence.features)
        if broken:
            raise ValueError(f"expected finite features, got NaN or infinity on {broken} of {count} images")
        if evidence.pca.explained[0] <= 1e-14 * float(np.sum(evidence.pca.mean**2)):  # what rounding alone leaves
            return Finding("not_applicable", "the features of all images are equal: there is nothing to arrange")
        sample = chosen(evidence, self.most)
        maps = layouts(sample, perplexity=self.perplexity, neighbours=self.neighbours, seed=evidence.seed)
        near = {name: knn(flat, NEIGHBOURS)[0] for name, flat in maps.items()}
        parts = [trust(sample, near, evidence), votes(sample, maps, near, evidence), kept(sample, near, evidence)]
        chart, artifacts = scatter(sample, maps)
        for name in ("tsne", "umap") if self.pictured == "both" else (self.pictured,):
            of = Pictured(evidence, sample, name, maps[name], self.pixels)
            parts.append(pictured(of, cells=self.cells))
        values = {name: value for part in parts for name, value in part.values.items()}
        figures = [chart, compared(values), *(figure for part in parts for figure in part.figures), variance(evidence)]
        return Finding(
            "done",
            values=values,
            figures=tuple(figures),
            notes=notes(self, sample, values, count) + tuple(note for part in parts for note in part.notes),
            artifacts=artifacts | {name: array for part in parts for name, array in part.artifacts.items()},
            columns={name: column for part in parts for name, column in part.columns.items()},
        )


def trust(sample: Sample, near: Mapping[str, Array], evidence: Evidence) -> Finding:
    """Trustworthiness of each map, with its column. `near`: (M,12) neighbours in each map."""
    m = len(sample.positions)
    k = most_neighbours(m)
    rows = np.arange(m)
    if m > EXACT:
        rows = np.sort(np.random.default_rng(evidence.seed).permutation(m)[:EXACT])
    each = trustworthiness(sample.features, list(near.values()), k=k, rows=rows)
    flags = [f"approximate: of {len(rows):,} of {m:,} images, drawn by seed"] if m > EXACT else []
    flags += [f"of {k} neighbours: {m} images are too few for {NEIGHBOURS}"] if k < NEIGHBOURS else []
    values, columns = {}, {}
    for name, column in zip(near, each, strict=True):
        key = f"embedding.trustworthiness.{name}"
        columns[key] = spread_out(column, sample.positions[rows], len(evidence.dataset))
        value = statistic("mean", {key: columns[key]}, unit="", seed=evidence.seed)
        values[f"trustworthiness.{name}"] = replace(value, flags=(*value.flags, *flags))
    return Finding("done", values=values, columns=columns)


def votes(sample: Sample, maps: Mapping[str, Array], near: Mapping[str, Array], evidence: Evidence) -> Finding:
    """How well the nearest others tell the label, in the features and in each map."""
    labels = np.asarray(evidence.dataset.labels)[sample.positions]
    known = np.flatnonzero(has_company(labels))
    if len(np.unique(labels[known])) < 2:
        return Finding("done", notes=("knn_accuracy is left out: it needs two classes of two labelled images.",))
    k = min(VOTERS, len(known) - 1)
    whole = len(known) == len(labels)  # then the graphs that there are already serve
    found = {"knn_accuracy_full": sample.graph.indices[:, :k] if whole else knn(sample.features[known], k)[0]}
    for name, flat in maps.items():
        found[f"knn_accuracy_2d.{name}"] = near[name][:, :k] if whole else knn(flat[known], k)[0]
    small = int(np.sum(class_sizes(labels)[known] <= k // 2))  # the own class cannot be half of the voters
    flags = (f"{small} of {len(known)} images are of classes too small for a majority of {k}",) if small else ()
    values: dict[str, Value] = {}
    columns: dict[str, Array] = {}
    for name, indices in found.items():
        right = vote(indices, labels[known]) == labels[known]
        columns[f"embedding.{name}"] = spread_out(right, sample.positions[known], len(evidence.dataset))
        value = proportion(int(right.sum()), len(known), columns=(f"embedding.{name}",))
        values[name] = replace(value, flags=(*value.flags, *flags))
    left = int(np.sum(labels >= 0)) - len(known)
    told = (f"Images that are the only one of their class do not count in knn_accuracy: {left}.",) if left else ()
    return Finding("done", values=values, columns=columns, notes=told)


def kept(sample: Sample, near: Mapping[str, Array], evidence: Evidence) -> Finding:
    """How many neighbours in each map are neighbours in the features. `near`: (M,12) neighbours in each map."""
    k = min(TOUCHING, len(sample.positions) - 1)
    values, columns = {}, {}
    for name, indices in near.items():
        key = f"embedding.kept_neighbours.{name}"
        share = shared(indices[:, :k], sample.graph.indices[:, :k])
        columns[key] = spread_out(share, sample.positions, len(evidence.dataset))
        values[f"kept_neighbours.{name}"] = statistic("mean", {key: columns[key]}, unit="share", seed=evidence.seed)
    return Finding("done", values=values, columns=columns)


def notes(probe: Embedding, sample: Sample, values: Mapping[str, Value], count: int) -> tuple[str, ...]:
    """How far the maps can be trusted, and what was reduced."""
    m = len(sample.positions)
    kept = {name: values[f"trustworthiness.{name}"].value or 0.0 for name in MAPS}
    told = ["Trustworthiness: " + ", ".join(f"{MAPS[name]} {value:.3f}" for name, value in kept.items()) + "."]
    if "knn_accuracy_full" in values:
        flat = values["knn_accuracy_2d.tsne"].value or 0.0
        told.append(
            f"The 10 nearest others tell the label of {values['knn_accuracy_full'].value or 0.0:.1%} of the images by features, "
            f"of {flat:.1%} in the t-SNE map."
        )
    if not sample.whole:
        told.append(f"{m:,} of {count:,} images are laid out, chosen in proportion to the classes by seed.")
    perplexity = lowered(probe.perplexity, m)
    if perplexity < probe.perplexity:
        told.append(f"The perplexity is {perplexity:.1f} in place of {probe.perplexity:g}: {m} images are too few for it.")
    return tuple(told)
