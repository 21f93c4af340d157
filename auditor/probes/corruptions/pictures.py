"""One image under every kind at every severity, and the images that fall first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from auditor.methods.corruptions import KINDS, corrupt
from auditor.methods.unit import as_pixels, unit_images
from auditor.ops.thumbnail import suffix, thumbnail
from auditor.probes.corruptions.seen import Seen, image_seed, words
from auditor.types import Array, Figure, Json

if TYPE_CHECKING:
    from auditor.evidence import Evidence

SIDE, TILE = 150, 128
"""Pixels of a kept picture, and how wide it is shown."""
LARGER = 200
FALLEN = 8
"""Images that fall first, at most."""


def told_as(evidence: Evidence, said: int, label: int) -> dict[str, Json]:
    """What the model takes it for."""
    return {"label": evidence.names[said], "note": "right" if said == label else "wrong"}


def unchanged(evidence: Evidence, position: int) -> tuple[Tensor, list[int], int]:
    """(1,C,H,W) the image, its seed and its label."""
    seeds = [image_seed(evidence.seed, evidence.dataset.samples[position].key)]
    return unit_images(evidence.dataset, [position], "cpu"), seeds, int(np.asarray(evidence.dataset.labels)[position])


def kinds_gallery(evidence: Evidence, seen: Seen) -> tuple[Figure, dict[str, Array]]:
    """The first image that is right unchanged, under all kinds at all severities."""
    place = int(np.flatnonzero(seen.clean)[0]) if seen.clean.any() else 0
    position = int(seen.positions[place])
    images, seeds, label = unchanged(evidence, position)
    original = thumbnail(as_pixels(images)[0], SIDE)
    ending = suffix(original)
    artifacts, rows = {f"original.{ending}": original}, []
    for k, kind in enumerate(seen.kinds):
        cells: list[Json] = [{"file": f"original.{ending}", "label": evidence.names[label], "note": "unchanged"}]
        for s, severity in enumerate(seen.severities):
            file = f"{kind}-{severity}.{ending}"
            artifacts[file] = thumbnail(as_pixels(corrupt(images, kind, severity, seeds=seeds))[0], SIDE)
            cells.append({"file": file, **told_as(evidence, int(seen.told[place, k, s]), label)})
        rows.append({"label": words(kind), "note": KINDS[kind].group, "sample": position, "cells": cells})
    columns = ["unchanged", *(f"severity {s}" for s in seen.severities)]
    data = {"columns": columns, "rows": rows, "tile": TILE, "scale": "as the model sees them"}
    caption = "The first of the chosen images that is right unchanged, with what the model takes it for under each of them."
    return Figure("gallery", "gallery", "One image under every corruption", caption, data), artifacts


def mildest(seen: Seen, place: int) -> tuple[int, int] | None:
    """The kind and severity, least severe first, that first makes an image wrong."""
    for s in range(len(seen.severities)):
        wrong = np.flatnonzero(~seen.right[place, :, s])
        if len(wrong):
            return int(wrong[np.argmax(seen.sure[place, wrong, s])]), s
    return None


def lost_gallery(evidence: Evidence, seen: Seen) -> tuple[tuple[Figure, ...], dict[str, Array]]:
    """The images that are right unchanged and wrong under most corruptions."""
    share = seen.right.mean((1, 2))
    order = [int(p) for p in np.argsort(share, kind="stable") if seen.clean[p] and mildest(seen, int(p)) is not None][:FALLEN]
    artifacts: dict[str, Array] = {}
    rows = []
    for place in order:
        found, position = mildest(seen, place), int(seen.positions[place])
        assert found is not None, "only those that fall are taken"
        k, s = found
        images, seeds, label = unchanged(evidence, position)
        changed = corrupt(images, seen.kinds[k], seen.severities[s], seeds=seeds)
        pair = [thumbnail(as_pixels(picture)[0], LARGER) for picture in (images, changed)]
        files = [f"lost-{position}-{name}.{suffix(pair[0])}" for name in ("before", "after")]
        artifacts |= dict(zip(files, pair, strict=True))
        after = f"{words(seen.kinds[k])}, severity {seen.severities[s]}, says {seen.sure[place, k, s]:.0%}"
        cells = [
            {"file": files[0], "label": evidence.names[label]},
            {"file": files[1], "label": evidence.names[int(seen.told[place, k, s])], "note": after},
        ]
        name = evidence.dataset.samples[position].name
        rows.append({"label": name, "note": f"right in {share[place]:.0%} of all", "sample": position, "cells": cells})
    if not rows:
        return (), {}
    data = {"columns": ["unchanged", "mildest that fools it"], "rows": rows, "tile": 176, "scale": "as the model sees them"}
    caption = f"Of {int(seen.clean.sum())} images that are right unchanged, those that are wrong under most corruptions."
    return (Figure("lost", "gallery", "Images that fall first", caption, data),), artifacts
