"""Where the object is: boxes and masks that come with the data, in the pixels that the model sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auditor.dataset.decode import Depth16
from auditor.dataset.memory import Decoder, Fate, decode_all, identify, images_digest
from auditor.dataset.sources import Entry, Listing
from auditor.errors import DataError
from auditor.preprocess import Box, Geometry, Preprocess
from auditor.types import Array


@dataclass(frozen=True)
class Objects:
    """Of N usable samples."""

    boxes: tuple[Box | None, ...]
    """(N,) in pixels of what the model sees."""
    rows: Array
    """(N,) int64 row of `masks`, -1 without a mask."""
    masks: Array | None
    """uint8 (M,H,W,1) on disk, above 0 on the object; None where no sample has one."""
    digest: str
    """Of the masks."""
    warnings: tuple[str, ...]


def find_objects(listing: Listing, fates: Sequence[Fate], decoder: Decoder, folder: Path, workers: int) -> Objects:
    """The boxes and masks of the samples that are not quarantined. Whatever cannot be used is a warning, not an error."""
    entries = [(entry, fate) for entry, fate in zip(listing.entries, fates, strict=True) if not fate.reason]
    given = sum(entry.box is not None or entry.mask is not None for entry, _ in entries)
    nowhere = np.full(len(entries), -1, dtype=np.int64)
    if given and not isinstance(decoder.preprocess, Preprocess):
        why = f"{given} boxes or masks are not used: the preprocessing is a function, so their place in its result is not known"
        return Objects((None,) * len(entries), nowhere, None, "", (why,))
    boxes, told = placed(entries, decoder.preprocess.geometry)
    masked = [i for i, (entry, _) in enumerate(entries) if entry.mask is not None]
    if not masked or not isinstance(decoder.preprocess, Preprocess):
        return Objects(boxes, nowhere, None, "", told)
    masks = Listing(
        "masks", tuple(Entry(entries[i][0].name, None, entries[i][0].mask) for i in masked), listing.root, store=listing.store
    )
    geometry = dataclasses.replace(decoder.preprocess.geometry, mode="L", interpolation="nearest")
    reader = Decoder(Preprocess(geometry, (0.0,), (1.0,)), decoder.limits, Depth16("max=1"))
    found = identify(masks, reader.limits, workers)
    digest = images_digest(masks, found, reader)
    place = folder / digest[:32]
    try:
        ended = decode_all(masks, reader, place, found, workers=workers, progress=None)
    except DataError as error:
        return Objects(boxes, nowhere, None, digest, (*told, f"no mask can be used: {error}"))
    rows, more = matched(masked, ended, [fate for _, fate in entries], nowhere)
    stored = np.load(place / "images.npy", mmap_mode="r", allow_pickle=False)
    return Objects(boxes, rows, stored, digest, (*told, *more))


def placed(entries: Sequence[tuple[Entry, Fate]], geometry: Geometry) -> tuple[tuple[Box | None, ...], tuple[str, ...]]:
    """The boxes in pixels of what the model sees, and how many lie outside of it."""
    boxes: list[Box | None] = []
    outside = 0
    for entry, fate in entries:
        box = None if entry.box is None else geometry.box(entry.box, fate.size)
        outside += entry.box is not None and box is None
        boxes.append(box)
    return tuple(boxes), (f"{outside} boxes lie outside of what the model sees of their image",) if outside else ()


def matched(masked: Sequence[int], ended: Sequence[Fate], images: Sequence[Fate], rows: Array) -> tuple[Array, tuple[str, ...]]:
    """(N,) row of each sample's mask: of those that could be read and are as large as their image."""
    out, next_row, refused = rows.copy(), 0, []
    for sample, fate in zip(masked, ended, strict=True):
        if fate.reason:
            refused.append(fate.reason)
            continue
        if fate.size == images[sample].size:
            out[sample] = next_row
        else:
            refused.append("{1} x {0} px where its image has {3} x {2}".format(*fate.size, *images[sample].size))
        next_row += 1
    return out, (f"{len(refused)} of {len(masked)} masks are not used; the first: {refused[0]}",) if refused else ()
