"""Probe `facets`: the different things that a class is to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from auditor.bounds import exact, proportion
from auditor.evidence.pca import pca
from auditor.evidence.predictions import promised
from auditor.fold import Cost, Item, State, Study
from auditor.methods.ascent import OPERATIONS, Space, Task, Units, ascend, recipe
from auditor.methods.facets import NEAREST, SMALLEST, find_facets
from auditor.methods.inputs import seed_of
from auditor.methods.unit import as_pixels, unit_images
from auditor.ops.colour import is_small, three
from auditor.ops.tiles import Patch, strip, tiled
from auditor.probe import Needs, Probe, Results
from auditor.types import Array, Figure, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

ENOUGH = SMALLEST
"""Images that a class must have."""
RECIPE, STRENGTH = "yosinski_3", 4.0
"""Decay and blur, which leave the start where the class does not ask for something else."""
SHOWN, TILE = 4, 84
"""Images of a facet in its strip, and their side in px."""


@dataclass(frozen=True)
class Facets(Probe):
    """Asks: Into how many different looks do the images of a class fall, and what does each look like to the model?
    Formula: features of a class -> 50 principal components -> t-SNE -> k-means, of 2 to `most` groups those with the largest
    mean silhouette in the components. They are facets where that is more than k-means finds in any of 19 single normal clouds of
    the same variances, and pieces of one facet where it is not. Each starts from the mean of the 15 images nearest to its centre
    in the map; from there its class is raised by gradient ascent with decay and blur. purity = share of the images whose nearest
    neighbour in the components is of their own group.
    Read: Facets that are fronts and backs, indoors and outdoors, or two types of one thing are what a class is made of. A facet
    of one source, one background or one mark is a group that the data set brought in. Pieces of one facet show its range.
    Misleads: Features of a well-trained model pull the images of a class together, so one facet does not mean one look. t-SNE and
    k-means cut whatever they are given, and pieces of a cloud have a high purity too. The pictures start from means of images
    and keep much of them.
    """

    title: ClassVar[str] = "Facets of the classes"
    cites: ClassVar[tuple[str, ...]] = (
        "Nguyen, Yosinski, Clune 2016, Multifaceted feature visualization",
        "van der Maaten, Hinton 2008, Visualizing data using t-SNE",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("facets", "Facets", "facets", "none", "Groups of a class's images that are no pieces of one cloud."),
        Measure(
            "purity", "Purity", "share", "none",
            "Share of a class's images whose nearest neighbour is of their group, be it a facet or a piece of one.",
        ),
    )  # fmt: skip
    needs: ClassVar[Needs] = Needs(scores=True, pixels=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json] | None]] = {"quick": None, "standard": None, "full": {}}

    classes: int = 4
    most: int = 4
    """Facets of a class."""
    sample: int = 300
    """Images of a class, at most."""
    iterations: int = 128

    def __post_init__(self) -> None:
        if self.classes < 1 or not 1 <= self.most <= 8 or self.sample < ENOUGH or self.iterations < 2:
            raise ValueError(
                f"expected classes >= 1, most from 1 to 8, sample >= {ENOUGH}, iterations >= 2; 4, 4, 300, 128 serve"
            )

    def members(self, evidence: Evidence) -> dict[int, Array]:
        """Class -> positions of its images, in the order of the chosen ones: the first classes of these that have enough."""
        seen = promised(evidence.predictions)
        known = np.where(seen.labels >= 0, seen.labels, seen.predicted)
        order = evidence.chosen(len(known))
        found: dict[int, Array] = {}
        for label in dict.fromkeys(int(known[p]) for p in order):
            mine = order[known[order] == label][: self.sample]
            if len(mine) >= ENOUGH and len(found) < self.classes:
                found[label] = mine
        return dict(sorted(found.items()))

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """A class at a time."""
        members = self.members(evidence)
        coordinates = {label: pca(evidence.features[positions]).coordinates for label, positions in members.items()}
        work = partial(
            made, members=members, coordinates=coordinates, most=self.most, iterations=self.iterations, seed=evidence.seed
        )
        return Study(tuple((label,) for label in members), work, 1) if members else None

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """At most: every class may have fewer facets."""
        counts = np.bincount(np.asarray(dataset.labels)[np.asarray(dataset.labels) >= 0], minlength=1)
        labelled = int((counts >= ENOUGH).sum()) if (np.asarray(dataset.labels) >= 0).all() else self.classes
        pictures = min(self.classes, labelled) * self.most
        return Cost(forwards=float(pictures), gradients=float(pictures * self.iterations), operations=OPERATIONS)

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """The facets of each class, and their pictures."""
        rows = results.rows
        if not rows:
            return Finding("not_applicable", f"no class has {ENOUGH} images, which its facets need")
        members = self.members(evidence)
        values: dict[str, Value] = {}
        for i, label in enumerate(rows["class"].tolist()):
            name, n = evidence.names[label], len(members[label])
            values[f"facets.{name}"] = exact(float(rows["count"][i] if rows["apart"][i] else 1), "facets", n=n)
            if rows["count"][i] > 1:
                values[f"purity.{name}"] = proportion(int(rows["alike"][i]), n)
        figure, artifacts = pictures(rows, members, evidence)
        return Finding("done", values=values, figures=(figure,), notes=notes(rows, members, evidence), artifacts=artifacts)


def made(
    target: Target,
    dataset: Dataset,
    items: Sequence[Item],
    *,
    members: Mapping[int, Array],
    coordinates: Mapping[int, Array],
    most: int,
    iterations: int,
    seed: int,
) -> State:
    """Rows of items (class,): its facets, padded to `most`, and a picture for each."""
    space = Space.of(target.preprocess, target.input_shape[1:], target.device)
    rows = []
    objective = Units(target.module).lean(space)
    for (label,) in items:
        found = find_facets(coordinates[label], most=most, seed=seed)
        near = np.full((most, NEAREST), -1, np.int64)
        for f in range(found.count):
            nearest = found.nearest(f)
            near[f, : len(nearest)] = members[label][nearest]
        means = torch.stack([unit_images(dataset, near[f][near[f] >= 0], target.device).mean(0) for f in range(found.count)])
        how = recipe(RECIPE, iterations=iterations, strength=STRENGTH)
        tasks = [Task(how, label, seed_of(seed, f"facets:{label}:{f}"), start=mean) for f, mean in enumerate(means)]
        shown = torch.stack([one.image for one in ascend(objective, tasks, space)])
        with torch.no_grad():
            shares = torch.cat([target.module(space.normalise(x[None])).float().softmax(1) for x in shown])
        best = shares.max(1)
        rows.append({
            "class": label, "count": found.count, "alike": found.alike, "expected": found.expected,
            "silhouette": found.silhouette, "cloud": found.cloud, "apart": found.apart,
            "near": near, "size": padded(np.bincount(found.facet), most),
            "mean": padded(as_pixels(means), most), "picture": padded(as_pixels(shown), most),
            "taken": padded(best.indices.cpu().numpy(), most), "share": padded(best.values.cpu().numpy(), most),
        })  # fmt: skip
    return {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}


def padded(values: Array, most: int) -> Array:
    """(most,...) with zeros behind."""
    return np.concatenate([values, np.zeros((most - len(values), *values.shape[1:]), values.dtype)])


def pictures(rows: State, members: Mapping[int, Array], evidence: Evidence) -> tuple[Figure, dict[str, Array]]:
    """A row a facet: images at its centre, their mean, and the picture that grew from it."""
    small = is_small(rows["picture"].shape[2:4])
    kind = "png" if small else "jpg"
    artifacts: dict[str, Array] = {}
    lines: list[Json] = []
    for i, label in enumerate(rows["class"].tolist()):
        for f in range(int(rows["count"][i])):
            name = f"class-{label}-facet-{f}"
            near = rows["near"][i, f]
            artifacts[f"{name}-images.{kind}"] = square(evidence.dataset.pixels(near[near >= 0][:SHOWN]))
            artifacts[f"{name}-mean.{kind}"] = enlarged(rows["mean"][i, f])
            artifacts[f"{name}.{kind}"] = enlarged(rows["picture"][i, f])
            taken = f"{evidence.names[int(rows['taken'][i, f])]}, {rows['share'][i, f]:.0%}"
            cells = [
                {"file": f"{name}-images.{kind}"},
                {"file": f"{name}-mean.{kind}"},
                {"file": f"{name}.{kind}", "label": taken},
            ]
            kind_of = "facet" if rows["apart"][i] else "piece"
            note = f"{kind_of} {f + 1} of {int(rows['count'][i])}: {int(rows['size'][i, f])} of {len(members[label])} images"
            lines.append({"label": evidence.names[label], "note": note, "sample": int(near[0]), "cells": cells})
    columns = ["images at its centre", f"mean of {NEAREST}", "picture"]
    data = {"columns": columns, "rows": lines, "scale": "as they are, [0,1] to 8 bits", "pixelated": small, "tile": 2 * TILE + 4}
    caption = (
        "Four images at the centre of each facet, the mean of those nearest to it, and the picture that its class grows from it."
    )
    return Figure("facets", "gallery", "What a class is made of", caption, data), artifacts


def enlarged(picture: Array) -> Array:
    """uint8 (s,s,3): a picture on a square of two tiles."""
    side = 2 * TILE + 4
    return tiled(Patch(three(picture), (0, 0)), (picture.shape[0], picture.shape[1]), side)


def square(images: Array) -> Array:
    """uint8 (s,s,3): up to four images (n,H,W,C), two a row."""
    frame = (images.shape[1], images.shape[2])
    tiles = [tiled(Patch(image, (0, 0)), frame, TILE) for image in images]
    tiles += [np.full((TILE, TILE, 3), 255, np.uint8)] * (SHOWN - len(tiles))
    top, bottom = strip(tiles[:2]), strip(tiles[2:])
    return np.concatenate([top, np.full((4, top.shape[1], 3), 255, np.uint8), bottom])


def notes(rows: State, members: Mapping[int, Array], evidence: Evidence) -> tuple[str, ...]:
    """Which classes fall apart, and how clearly."""
    told = []
    for i, label in enumerate(rows["class"].tolist()):
        n, count = len(members[label]), int(rows["count"][i])
        if rows["apart"][i]:
            told.append(
                f"{evidence.names[label]}: {count} facets (silhouette {rows['silhouette'][i]:.2f}, one cloud has "
                f"{rows['cloud'][i]:.2f} at most); {rows['alike'][i] / n:.0%} of {n} images have their nearest neighbour in "
                f"their own, {rows['expected'][i]:.0%} by chance."
            )
    whole = int((~rows["apart"]).sum())
    if whole:
        told.append(
            f"{whole} of {len(rows['count'])} classes are one facet: their images are no further apart than those of one cloud. "
            "What is shown of them are its pieces."
        )
    return tuple(told)
