"""Pictures and labels: listed, decoded once, met with the logits, with a ledger of how each sample ended."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from auditor.dataset.decode import Depth16, Limits
from auditor.dataset.labels import Meeting, meet, short
from auditor.dataset.memory import Decoder, Fate, decode_all, decode_first, identify, images_digest
from auditor.dataset.objects import Objects, find_objects
from auditor.dataset.remote import AT_ONCE
from auditor.dataset.sources import Listing, open_source
from auditor.errors import DataError
from auditor.preprocess import Box
from auditor.types import Array, Json

if TYPE_CHECKING:
    from auditor.preprocess import Opaque, Preprocess

__all__ = ["Dataset", "Sample", "first_shape", "open_dataset"]

MOST_ENTRIES = 1000


@dataclass(frozen=True)
class Sample:
    """One usable image."""

    key: str
    """sha256 of its bytes, a colon, and how many equal ones stand before it."""
    name: str
    """Path relative to the folder or manifest; its number where it is no file."""
    label: int
    """Index of the logits, -1 without a label."""
    status: str = "ok"
    """"ok", or "normalised" by the conversions in `how`."""
    how: str = ""
    slices: Mapping[str, str] = field(default_factory=dict)
    box: Box | None = None
    """Where the object is, in pixels of what the model sees, where the data say so."""


@dataclass
class Dataset:
    """The usable samples in their stable order. N samples."""

    samples: tuple[Sample, ...]
    labels: Array
    """(N,) int64, -1 without a label."""
    classes: tuple[str, ...]
    """Names of the logits; empty where unknown."""
    images: Array
    """uint8 (N,H,W,C) on disk; float32 (N,C,H,W) where the preprocessing cannot be split."""
    preprocess: Preprocess | Opaque
    ledger: dict[str, Json]
    digest: str
    slices: dict[str, Array] = field(default_factory=dict)
    """Column of the manifest -> (N,) strings."""
    masks: Array | None = None
    """uint8 (M,H,W,1) on disk: above 0 on the object, as the model sees it."""
    mask_rows: Array | None = None
    """(N,) int64 row of `masks`, -1 without one."""

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, positions: Sequence[int] | Array | range, device: torch.device | str = "cpu") -> Tensor:
        """(n,C,H,W) float32, normalised, on `device`."""
        rows = torch.from_numpy(self.rows(positions)).to(device)
        if rows.dtype != torch.uint8:
            return rows
        return self.preprocess.normalise(rows.permute(0, 3, 1, 2).contiguous())

    def pixels(self, positions: Sequence[int] | Array | range) -> Array:
        """(n,H,W,C) uint8 as the model sees them; each scaled from its own minimum to maximum where only floats are known."""
        rows = self.rows(positions)
        if rows.dtype == np.uint8:
            return rows
        low = rows.min(axis=(1, 2, 3), keepdims=True)
        spread = np.maximum(rows.max(axis=(1, 2, 3), keepdims=True) - low, np.float32(1e-12))
        return np.asarray(np.rint((rows - low) / spread * 255), dtype=np.uint8).transpose(0, 2, 3, 1)

    def rows(self, positions: Sequence[int] | Array | range) -> Array:
        """A copy of the stored rows: (n,H,W,C) uint8 or (n,C,H,W) float32."""
        return np.array(self.images[np.asarray(positions, dtype=np.int64)])

    def mask(self, position: int) -> Array | None:
        """(H,W) bool: the object in what the model sees of a sample; None where the data have no mask of it."""
        row = -1 if self.mask_rows is None else int(self.mask_rows[position])
        return None if self.masks is None or row < 0 else np.asarray(self.masks[row, ..., 0] > 0)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        for name in ("images", "masks"):
            if isinstance(state[name], np.memmap) and state[name].filename is not None:
                state[name] = str(state[name].filename)  # a worker maps the same file instead of receiving every image
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in ("images", "masks"):
            if isinstance(state[name], str):
                state = state | {name: np.load(state[name], mmap_mode="r", allow_pickle=False)}
        self.__dict__.update(state)


def open_dataset(
    spec: Any,
    *,
    preprocess: Preprocess | Opaque,
    outputs: int,
    names: Sequence[str] | None = None,
    classes_file: str | Path | None = None,
    label_map: str | Path | None = None,
    depth16: str = "full",
    work: str | Path,
    limits: Limits | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """List `spec`, meet its labels with the `outputs` logits called `names`, decode once into `work`.

    `spec`: a folder, CSV manifest, .npz, image, module:factory, (images, labels), or torch Dataset. `outputs` 0: no logits.
    Raises DataError, LabelError (labels and logits do not meet), StoreError (`work` cannot be written).
    """
    decoder = Decoder(preprocess, limits or Limits(), Depth16(depth16))
    listing = open_source(spec)
    meeting = meet(
        [entry.label for entry in listing.entries],
        outputs,
        names=names,
        folders=listing.folders,
        shown=listing.shown,
        classes_file=None if classes_file is None else Path(classes_file),
        label_map=None if label_map is None else Path(label_map),
    )
    threads = 1 if listing.grab is not None else workers or (AT_ONCE if listing.store else min(8, os.cpu_count() or 1))
    found = identify(listing, decoder.limits, threads)
    digest = images_digest(listing, found, decoder)
    folder = Path(work) / digest[:32]
    fates = decode_all(listing, decoder, folder, found, workers=threads, progress=progress)
    objects = find_objects(listing, fates, decoder, Path(work), threads)
    samples = usable(listing, fates, meeting, objects)
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    if len(images) != len(samples):
        raise DataError(f"{folder} holds {len(images)} images where {len(samples)} are expected; delete it and run again")
    columns = {key for sample in samples for key in sample.slices}
    return Dataset(
        samples=samples,
        labels=np.array([s.label for s in samples], dtype=np.int64),
        classes=meeting.classes,
        images=images,
        preprocess=preprocess,
        ledger=make_ledger(listing, fates, meeting, samples, objects),
        digest=whole_digest(f"{digest}|{objects.digest}", samples, meeting),
        slices={c: np.array([s.slices.get(c, "") for s in samples], dtype=np.str_) for c in sorted(columns)},
        masks=objects.masks,
        mask_rows=objects.rows,
    )


def first_shape(
    spec: Any, *, preprocess: Preprocess | Opaque, depth16: str = "full", limits: Limits | None = None
) -> tuple[int, ...]:
    """(C,H,W) of the first image of `spec` that can be used: the input's shape where the preprocessing fixes no size."""
    decoder = Decoder(preprocess, limits or Limits(), Depth16(depth16))
    listing = open_source(spec)
    reason = ""
    for place in range(len(listing.entries)):
        fate, row = decode_first(listing, place, decoder)
        if row is not None:
            return (row.shape[2], *row.shape[:2]) if preprocess.invertible else tuple(row.shape)
        reason = reason or f"{listing.entries[place].name}: {fate.reason}"
    raise DataError(f"none of the {len(listing.entries)} listed images can be used; the first: {reason}; check the data")


def usable(listing: Listing, fates: Sequence[Fate], meeting: Meeting, objects: Objects) -> tuple[Sample, ...]:
    """The samples that are not quarantined, in order."""
    seen: Counter[str] = Counter()
    samples: list[Sample] = []
    for entry, fate, label in zip(listing.entries, fates, meeting.labels.tolist(), strict=True):
        if fate.reason:
            continue
        key = f"{fate.content}:{seen[fate.content]}"
        seen[fate.content] += 1
        status = "normalised" if fate.how else "ok"
        box = objects.boxes[len(samples)]
        samples.append(Sample(key, entry.name, int(label), status, ", ".join(fate.how), dict(entry.slices), box))
    return tuple(samples)


def whole_digest(images: str, samples: Sequence[Sample], meeting: Meeting) -> str:
    """sha256 over decoded images, labels, names, slices and boxes."""
    hasher = hashlib.sha256(f"{images}|{meeting.classes}|{meeting.rule}".encode("utf-8", "backslashreplace"))
    for sample in samples:
        row = (sample.key, sample.name, sample.label, sorted(sample.slices.items()), sample.box)
        hasher.update(repr(row).encode("utf-8", "backslashreplace"))
    return hasher.hexdigest()


def make_ledger(
    listing: Listing, fates: Sequence[Fate], meeting: Meeting, samples: Sequence[Sample], objects: Objects
) -> dict[str, Json]:
    """How every listed sample ended: listed = ok + normalised + quarantined."""
    bad = [{"name": e.name, "reason": f.reason} for e, f in zip(listing.entries, fates, strict=True) if f.reason]
    ok = sum(s.status == "ok" for s in samples)
    normalised = len(samples) - ok
    listed = len(listing.entries)
    assert listed == ok + normalised + len(bad), f"ledger: {listed} != {ok} + {normalised} + {len(bad)}"
    conversions = Counter(how for f in fates if not f.reason for how in f.how)
    per_class = Counter(s.label for s in samples if s.label >= 0)
    with_images = {entry.label for entry, fate in zip(listing.entries, fates, strict=True) if not fate.reason}
    empty = [name for name in listing.folders if name not in with_images]
    return {
        "source": listing.kind,
        "listed": listed,
        "ok": ok,
        "normalised": normalised,
        "quarantined": len(bad),
        "coverage": len(samples) / listed,
        "ignored": listing.ignored,
        "unlabelled": sum(s.label < 0 for s in samples),
        "entries": bad[:MOST_ENTRIES],
        "conversions": dict(sorted(conversions.items())),
        "classes": {meeting.classes[i] if i < len(meeting.classes) else str(i): n for i, n in sorted(per_class.items())},
        "names": list(meeting.classes),
        "empty_classes": empty,
        "label_rule": meeting.rule,
        "boxes": sum(s.box is not None for s in samples),
        "masks": int(np.sum(objects.rows >= 0)),
        "warnings": [*ledger_warnings(listing, meeting, samples, empty, len(bad)), *objects.warnings],
    }


def ledger_warnings(listing: Listing, meeting: Meeting, samples: Sequence[Sample], empty: list[str], bad: int) -> list[str]:
    """What a reader must know before believing a figure."""
    told = [*meeting.warnings, *listing.warnings]
    if bad:
        told.append(f"{bad} of {len(listing.entries)} listed images are quarantined")
    if empty:
        told.append(f"class folders without a usable image: {short(empty)}")
    if len({s.label for s in samples if s.label >= 0}) == 1:
        told.append("only one class")
    labels: dict[str, set[int]] = {}
    for sample in samples:
        labels.setdefault(sample.key.partition(":")[0], set()).add(sample.label)
    twice = {key for key, of in labels.items() if len(of) > 1}
    if twice:
        named = [s.name for s in samples if s.key.partition(":")[0] in twice]
        told.append(f"{len(twice)} images stand under two labels: {short(named)}")
    return told
