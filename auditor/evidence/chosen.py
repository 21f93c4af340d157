"""Which images the costly probes look at."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from auditor.types import Array

if TYPE_CHECKING:
    from auditor.evidence import Evidence


def order(keys: Sequence[str], labels: Array, seed: int) -> Array:
    """(N,) all positions, so ordered that every prefix is spread over the classes in proportion.

    Within a class the lowest sha256(seed, key) comes first; the classes are interleaved by their share, so a small choice
    is a subset of a large one, and does not depend on the order of the data set.
    """
    hashes = [hashlib.sha256(f"{seed}:{key}".encode()).hexdigest() for key in keys]
    share = np.zeros(len(keys))
    for label in np.unique(labels):
        members = sorted(np.flatnonzero(labels == label), key=lambda position: hashes[position])
        for rank, position in enumerate(members):
            share[position] = (rank + 0.5) / len(members)
    return np.array(sorted(range(len(keys)), key=lambda position: (share[position], hashes[position])), dtype=np.int64)


def first_classes(evidence: Evidence, count: int) -> tuple[int, ...]:
    """At most `count` classes of the chosen images, by label, or by prediction where there is none; rising."""
    seen = evidence.predictions
    if seen is None:
        return ()
    known = np.where(seen.labels >= 0, seen.labels, seen.predicted)
    return tuple(sorted(list(dict.fromkeys(int(known[p]) for p in evidence.chosen(len(known))))[:count]))
