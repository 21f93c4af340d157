"""Near duplicates within the audited set: how many, which have two labels, and what they look like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from auditor.bounds import exact
from auditor.methods.duplicates import Pairs, families, near_duplicates
from auditor.probes.neighbours.pictures import SCALE, Pictures
from auditor.types import Array, Figure, Finding

if TYPE_CHECKING:
    from auditor.evidence import Evidence

DUPLICATE_OF = "neighbours.duplicate_of"
MOST_PAIRS = 12
"""Pairs in a gallery."""


def duplicates(pictures: Pictures, thumbs: Array, *, share: float, pixels: float) -> Finding:
    """near_duplicates with its column, gallery and sentences."""
    evidence = pictures.evidence
    count = len(evidence.dataset)
    pairs = near_duplicates(evidence.graph.indices, evidence.graph.distances, thumbs, share=share, pixels=pixels)
    family = families(pairs, count)
    return Finding(
        "done",
        values={"near_duplicates": exact(float(np.sum(family >= 0)), "images", n=count)},
        figures=(pair_gallery(pictures, pairs),) if len(pairs.left) else (),
        notes=told(pictures, pairs, family),
        columns={DUPLICATE_OF: duplicate_of(pairs, count)},
    )


def duplicate_of(pairs: Pairs, count: int) -> Array:
    """(N,) float64 position of each image's likest duplicate, NaN without one."""
    column = np.full(count, np.nan)
    for i, j in zip(pairs.left[::-1].tolist(), pairs.right[::-1].tolist(), strict=True):  # the likest pair is written last
        column[i], column[j] = j, i
    return column


def content(key: str) -> str:
    """The sha256 of a sample's bytes, from its key."""
    return key.partition(":")[0]


def evidence_of(difference: float, distance: float) -> str:
    """How alike a pair is, in words."""
    return f"pixels differ by {difference:.2g}/255, features by {distance:.2g} of a usual distance"


def pair_gallery(pictures: Pictures, pairs: Pairs) -> Figure:
    """The likest pairs of near duplicates, those of two labels first."""
    samples = pictures.evidence.dataset.samples
    split = differing(pictures.evidence, pairs)
    rows = []
    for at in np.argsort(~split, kind="stable")[:MOST_PAIRS].tolist():
        ends = [int(pairs.left[at]), int(pairs.right[at])]
        same = content(samples[ends[0]].key) == content(samples[ends[1]].key)
        label = "the same file twice" if same else "near duplicates"
        label = f"{label}, two labels: one is suspect" if split[at] else label
        note = evidence_of(pairs.difference[at], pairs.distance[at])
        cells = [pictures.cell(p, samples[p].name) for p in ends]
        rows.append({"label": label, "note": note, "sample": ends[0], "cells": cells})
    caption = f"{len(rows)} of {len(pairs.left)} pairs, those of two labels first, then by pixel difference."
    return Figure(
        "duplicates", "gallery", "Near duplicates", caption, {"columns": ["one", "other"], "rows": rows, "scale": SCALE}
    )


def differing(evidence: Evidence, pairs: Pairs) -> Array:
    """(P,) bool: both have a label, and not the same."""
    labels = np.asarray(evidence.dataset.labels)
    left, right = labels[pairs.left], labels[pairs.right]
    return np.asarray((left >= 0) & (right >= 0) & (left != right))


def told(pictures: Pictures, pairs: Pairs, family: Array) -> tuple[str, ...]:
    """How many there are, and which have two labels."""
    involved, count = int(np.sum(family >= 0)), len(family)
    if not involved:
        return (f"None of the {count} images is a near duplicate of another.",)
    found = f"{involved} of {count} images are near duplicates of another; groups: {len(np.unique(family[family >= 0]))}."
    split = np.flatnonzero(differing(pictures.evidence, pairs))
    if not len(split):
        return (found,)
    i, j = int(pairs.left[split[0]]), int(pairs.right[split[0]])
    names = [f"{pictures.evidence.dataset.samples[p].name} ({pictures.name_of(p)})" for p in (i, j)]
    return (
        found,
        f"Pairs of near duplicates with two labels, one of them suspect: {len(split)}, first {names[0]} and {names[1]}.",
    )
