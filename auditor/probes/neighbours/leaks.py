"""Leaks: images of the audited set that are, all but for their encoding, in the training set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from auditor.bounds import proportion
from auditor.methods.duplicates import Pairs, copies, yardstick
from auditor.ops.neighbours import across
from auditor.probes.neighbours.pictures import SCALE, Pictures, thumbnails
from auditor.probes.neighbours.twice import MOST_PAIRS, content, evidence_of
from auditor.types import Array, Figure, Finding, Value

if TYPE_CHECKING:
    from auditor.evidence import Evidence, Training

LEAKED, LEAK_OF = "neighbours.leaked_images", "neighbours.leak_of"
CLEAN, OF_LEAKS = "neighbours.top1_without_leaks", "neighbours.top1_of_leaks"
NEAREST = 30
"""Training images by features whose pixels are looked at, for each audited image."""


@dataclass(frozen=True)
class Leaks:
    """The audited images that are in the training set, each once, beside their likest there: equal files first."""

    pairs: Pairs
    exact: Array
    """(P,) bool: byte for byte the same file."""
    split: Array
    """(P,) bool: labelled in both sets, and not alike."""


def leaks(pictures: Pictures, thumbs: Array, *, share: float, pixels: float) -> Finding:
    """leaked_images with its column, gallery and sentences; says so where there is no training set."""
    evidence, train = pictures.evidence, pictures.evidence.train
    if train is None:
        return Finding("done", notes=("Leaks were not looked for: no training set was given (--train).",))
    found = looked_for(evidence, train, thumbs, share=share, pixels=pixels)
    count = len(evidence.dataset)
    leaked, leak_of = np.zeros(count), np.full(count, np.nan)
    leaked[found.pairs.left], leak_of[found.pairs.left] = 1, found.pairs.right
    value = proportion(len(found.pairs.left), count, columns=(LEAKED,))
    lost = int(train.dataset.ledger["quarantined"])
    if lost:
        flag = f"{lost} of {train.dataset.ledger['listed']} listed training images could not be read and were not compared"
        value = replace(value, flags=(*value.flags, flag))
    accuracy = accuracies(evidence, leaked > 0)
    return Finding(
        "done",
        values={"leaked_images": value, **accuracy.values},
        figures=(leak_gallery(pictures, train, found),) if len(found.pairs.left) else (),
        notes=(*told(found, count, len(train.dataset)), *accuracy.notes),
        columns={LEAKED: leaked, LEAK_OF: leak_of, **accuracy.columns},
    )


def looked_for(evidence: Evidence, train: Training, thumbs: Array, *, share: float, pixels: float) -> Leaks:
    """Equal files by their sha256, all else by features and pixels."""
    indices, distances = across(evidence.features, train.features, NEAREST, room=evidence.room)
    near = copies(
        indices, distances, yardstick(evidence.graph.distances), thumbs.__getitem__, lambda at: thumbnails(train.dataset, at),
        share=share, pixels=pixels,
    )  # fmt: skip
    files: dict[str, int] = {}
    for position, sample in enumerate(train.dataset.samples):
        files.setdefault(content(sample.key), position)
    same = [(i, files[content(s.key)]) for i, s in enumerate(evidence.dataset.samples) if content(s.key) in files]
    own = np.array([i for i, _ in same], dtype=np.int64)
    _, first = np.unique(near.left, return_index=True)  # pairs are sorted, so this is the likest of each image
    first = np.sort(first[~np.isin(near.left[first], own)])
    left = np.concatenate([own, near.left[first]])
    right = np.concatenate([np.array([j for _, j in same], dtype=np.int64), near.right[first]])
    nothing = np.zeros(len(own))
    pairs = Pairs(left, right, np.concatenate([nothing, near.distance[first]]), np.concatenate([nothing, near.difference[first]]))
    return Leaks(pairs, np.arange(len(left)) < len(own), differing(evidence, train, pairs))


def differing(evidence: Evidence, train: Training, pairs: Pairs) -> Array:
    """(P,) bool: labels that meet the same logits are compared as they are; without logits, by the names of their classes."""
    mine, theirs = np.asarray(evidence.dataset.labels)[pairs.left], np.asarray(train.dataset.labels)[pairs.right]
    if evidence.predictions is None:
        names = [evidence.names[k] if 0 <= k < len(evidence.names) else str(k) for k in mine.tolist()]
        other = np.array([a != train.class_name(p) for a, p in zip(names, pairs.right.tolist(), strict=True)], dtype=bool)
    else:
        other = mine != theirs
    return np.asarray((mine >= 0) & (theirs >= 0) & other)


def accuracies(evidence: Evidence, leaked: Array) -> Finding:
    """Top-1 on what is in the training set and on what is not; nothing without scores and labels."""
    seen = evidence.predictions
    if seen is None or not seen.labelled.any():
        return Finding("done")
    values: dict[str, Value] = {}
    columns: dict[str, Array] = {}
    for key, chosen in ((CLEAN, seen.labelled & ~leaked), (OF_LEAKS, seen.labelled & leaked)):
        if chosen.any():
            columns[key] = np.where(chosen, seen.correct.astype(float), np.nan)
            values[key.partition(".")[2]] = proportion(int(seen.correct[chosen].sum()), int(chosen.sum()), columns=(key,))
    if len(values) < 2:
        return Finding("done", values=values, columns=columns)
    whole = f"{seen.correct[seen.labelled].mean():.1%} on all {int(seen.labelled.sum())} labelled images"
    clean, of = (values[key.partition(".")[2]] for key in (CLEAN, OF_LEAKS))
    note = (
        f"Top-1 accuracy: {whole}, {clean.value or 0:.1%} on the {clean.n} that are not in the training set, "
        f"{of.value or 0:.1%} on the {of.n} that are."
    )
    return Finding("done", values=values, columns=columns, notes=(note,))


def leak_gallery(pictures: Pictures, train: Training, found: Leaks) -> Figure:
    """Pairs: those whose labels differ first, then equal files, then by pixel difference."""
    pairs, samples = found.pairs, pictures.evidence.dataset.samples
    rows = []
    for at in np.lexsort((pairs.difference, ~found.exact, ~found.split))[:MOST_PAIRS].tolist():
        own, other = int(pairs.left[at]), int(pairs.right[at])
        label = "the same file" if found.exact[at] else "near duplicates"
        label = f"{label}, labels differ" if found.split[at] else label
        note = "byte for byte" if found.exact[at] else evidence_of(pairs.difference[at], pairs.distance[at])
        cells = [pictures.cell(own, samples[own].name), pictures.train_cell(other, train.dataset.samples[other].name)]
        rows.append({"label": label, "note": note, "sample": own, "cells": cells})
    caption = (
        f"{len(rows)} of {len(pairs.left)} images of the audited set that are in the training set, beside their likest there: "
        "first those whose labels differ, then equal files, then by pixel difference."
    )
    data = {"columns": ["audited", "training"], "rows": rows, "scale": SCALE}
    return Figure("leaks", "gallery", "Leaks from the training set", caption, data)


def told(found: Leaks, count: int, trained: int) -> tuple[str, ...]:
    """How many leaks, of which kind."""
    number, same, split = len(found.pairs.left), int(found.exact.sum()), int(found.split.sum())
    if not number:
        return (f"Leaks: none of the {count} images was found among the {trained} of the training set.",)
    kinds = [f"{same} as the very same file"] + ([f"{split} with another label there"] if split else [])
    return (f"Leaks: {number} of the {count} images are among the {trained} of the training set ({', '.join(kinds)}).",)
