"""Cue conflicts made from the audited data by style transfer, where no folder of them is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from auditor.fold import Item, State
from auditor.methods.gram import phi_of
from auditor.methods.shape_bias import Cue, Cues, category_scores
from auditor.methods.style import Weights, style_layers, transfer
from auditor.methods.unit import as_pixels, as_unit, unit_images
from auditor.ops.colour import three
from auditor.probes.shape_bias.look import squared
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

WEIGHTS = Weights(content=1.0, style=10.0, variation=1e-3)


@dataclass(frozen=True)
class Conflicts:
    """The pictures to be made."""

    pairs: tuple[tuple[int, int], ...]
    """(position of the content, position of the texture): images that the model gets right, of two classes."""
    classes: tuple[int, ...]
    """The classes of all of them, rising: the categories that decide."""
    cues: Cues

    @property
    def groups(self) -> tuple[Array, ...]:
        """Each category is one class."""
        return tuple(np.array([k], dtype=np.int64) for k in self.classes)


def conflicts_of(evidence: Evidence, count: int) -> Conflicts | None:
    """At most `count`: each image as content once, and as texture once, before any comes again. None without two classes."""
    predictions = evidence.predictions
    if predictions is None or count < 1:
        return None
    labels = np.asarray(evidence.dataset.labels)
    right = [int(p) for p in evidence.chosen(len(evidence.dataset)) if predictions.correct[p]][: max(count, 2)]
    pairs = [
        (right[i], right[(i + shift) % len(right)])
        for shift in range(1, len(right))
        for i in range(len(right))
        if labels[right[i]] != labels[right[(i + shift) % len(right)]]
    ][:count]
    if not pairs:
        return None
    classes = tuple(sorted({int(labels[p]) for pair in pairs for p in pair}))
    place = {k: i for i, k in enumerate(classes)}
    items = tuple(Cue(Path(f"{a}-{b}"), place[int(labels[a])], place[int(labels[b])]) for a, b in pairs)
    return Conflicts(tuple(pairs), classes, Cues(tuple(evidence.names[k] for k in classes), items))


def made(target: Target, dataset: Dataset, items: Sequence[Item], *, conflicts: Conflicts, evaluations: int) -> State:
    """Rows of items (number of a pair): as for pictures of a folder; and how far each is from its content and its texture."""
    names, layers = style_layers(target)
    phi, rows = phi_of(target, names), []
    for (number,) in items:
        content, texture = unit_images(dataset, conflicts.pairs[number], target.device)
        found = transfer(phi, content, [texture], layers=layers, weights=WEIGHTS, evaluations=evaluations)
        pixels = as_pixels(found.picture[None])
        scores = target.look(target.preprocess.normalise(as_unit(pixels, target.device))).scores
        assert scores is not None
        shares = category_scores(torch.softmax(scores.double(), 1).cpu().numpy(), conflicts.groups)[0]
        rows.append(
            {
                "item": np.array(number), "category": np.array(shares.argmax()), "score": np.array(shares.max()),
                "picture": squared(three(pixels[0])), "content": np.array(found.content), "style": np.array(found.style),
            }
        )  # fmt: skip
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
