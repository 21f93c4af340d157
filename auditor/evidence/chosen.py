"""Which images the costly probes look at."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from auditor.types import Array


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
