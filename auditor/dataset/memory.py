"""Decode once: every usable image becomes a row of one .npy in the work folder, named by the digest of all that made it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from PIL import Image

from auditor.dataset.decode import DECODE_ERRORS, Depth16, Limits, Refused, decode, from_array, one_line
from auditor.dataset.sources import Entry, Listing
from auditor.errors import DataError, StoreError
from auditor.store import dumps, sync_folder, write_bytes
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.preprocess import Opaque, Preprocess

VERSION = 1
"""Raised when decoding changes, so that nothing older is re-used."""
CHUNK = 64  # images in memory at one time
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Fate:
    """How one listed sample ended."""

    content: str
    """sha256 of its bytes; "" where they could not be read."""
    how: tuple[str, ...] = ()
    reason: str = ""
    """Why it is quarantined; "" where it is usable."""
    size: tuple[int, int] = (0, 0)
    """(H,W) as decoded and turned upright, before any resize; 0 where it is not known."""


@dataclass(frozen=True)
class Decoder:
    """What turns a sample into a row."""

    preprocess: Preprocess | Opaque
    limits: Limits
    depth16: Depth16

    @property
    def mode(self) -> str:
        made_by: Any = self.preprocess
        if made_by.invertible:
            return str(made_by.geometry.mode)
        return "L" if getattr(made_by, "channels", 3) == 1 else "RGB"

    def row(self, image: Image.Image) -> Array:
        """uint8 (H,W,C); float32 (C,H,W) where the preprocessing cannot be split."""
        prepared: Any = self.preprocess
        if prepared.invertible:
            return np.ascontiguousarray(prepared.geometry.apply(image))
        value = prepared(image)
        row = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, dtype=np.float32)
        if not np.isfinite(row).all():
            raise Refused("the preprocessing gives NaN or infinite values")
        return np.ascontiguousarray(row)

    def digest(self) -> str:
        """What the rows depend on beside the content."""
        split = self.preprocess.invertible
        made_by = self.preprocess.geometry.digest if split else self.preprocess.digest
        return hashlib.sha256(f"{VERSION}|{made_by}|{self.depth16.rule}|{self.limits}".encode()).hexdigest()


def read(entry: Entry, root: Path | None, limits: Limits) -> bytes:
    """The bytes of a listed file. Raises Refused for a link out of the root, a pipe, what cannot be read."""
    if entry.problem or entry.path is None:
        raise Refused(entry.problem or "no file")
    try:
        inside = Path(os.path.abspath(entry.path)).is_relative_to(os.path.abspath(root)) if root else False
        if root and inside and not Path(os.path.realpath(entry.path, strict=True)).is_relative_to(os.path.realpath(root)):
            raise Refused("link out of the data folder")
        handle = os.open(entry.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise Refused("not a regular file")
            if found.st_size > limits.bytes:
                raise Refused(f"{found.st_size:,} bytes, more than the limit of {limits.bytes:,}")
            return file.read(limits.bytes + 1)
    except FileNotFoundError:
        raise Refused("missing file") from None
    except (OSError, ValueError, RuntimeError) as error:
        raise Refused(f"cannot be read: {one_line(error)}") from None


def array_bytes(value: Any) -> bytes:
    """What identifies a picture that is no file: type, shape and values."""
    array = np.asarray(value)
    mode = value.mode if isinstance(value, Image.Image) else ""
    return f"{mode}|{array.dtype.str}|{array.shape}|".encode() + np.ascontiguousarray(array).tobytes()


def content(listing: Listing, place: int, limits: Limits) -> tuple[str, Any]:
    """(sha256, bytes or picture) of one sample. Raises Refused."""
    if listing.grab is None:
        entry = listing.entries[place]
        far = listing.store if entry.path is not None and not entry.problem else None
        data = read(entry, listing.root, limits) if far is None else far.read(entry.path or Path(), limits)
        return hashlib.sha256(data).hexdigest(), data
    picture = listing.grab(place)
    return hashlib.sha256(array_bytes(picture)).hexdigest(), picture


def in_order(work: Callable[[int], Any], count: int, workers: int) -> Iterator[Any]:
    """`work` of 0 to count - 1 by threads (Pillow lets the others run while it decodes), at most CHUNK ahead."""
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=workers) as pool:
        warnings.simplefilter("ignore")  # Pillow warns of damage that is refused or converted here
        for start in range(0, count, CHUNK):
            yield from pool.map(work, range(start, min(start + CHUNK, count)))


def identify(listing: Listing, limits: Limits, workers: int) -> list[Fate]:
    """The digest of every listed sample, or why it cannot be read."""

    def one(place: int) -> Fate:
        try:
            return Fate(content(listing, place, limits)[0])
        except Refused as refused:
            return Fate("", reason=str(refused))

    return list(in_order(one, len(listing.entries), workers))


def images_digest(listing: Listing, fates: Sequence[Fate], decoder: Decoder) -> str:
    """Names the decoded images: content in order, and all that decodes it."""
    hasher = hashlib.sha256(decoder.digest().encode())
    for entry, fate in zip(listing.entries, fates, strict=True):
        hasher.update(f"{entry.name}|{fate.content}|{fate.reason}\n".encode("utf-8", "backslashreplace"))
    return hasher.hexdigest()


def stored(folder: Path, count: int) -> list[Fate] | None:
    """What an earlier run decoded, None where nothing is there or its checksum disagrees."""
    try:
        meta = json.loads((folder / "images.json").read_bytes())
        fates = [Fate(f["content"], tuple(f["how"]), f["reason"], tuple(f["size"])) for f in meta["fates"]]
        if len(fates) != count or meta["sha256"] != file_digest(folder / "images.npy"):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return fates


def file_digest(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def decode_all(
    listing: Listing, decoder: Decoder, folder: Path, fates: list[Fate], *, workers: int, progress: Progress | None
) -> list[Fate]:
    """Decode into folder/images.npy, re-used where it is whole; a run that is killed leaves only a temporary file."""
    old = stored(folder, len(fates))
    if old is not None:
        return old
    temporary = folder / f".images.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("w+b") as file:
            ended = write_rows(listing, decoder, fates, file, workers=workers, progress=progress)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / "images.npy")
        sync_folder(folder)
        write_bytes(folder / "images.json", dumps({"sha256": file_digest(folder / "images.npy"), "fates": ended}))
    except OSError as error:
        raise StoreError(f"cannot write decoded images to {folder}: {error.strerror or error}; free space or --work") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return ended


def write_rows(
    listing: Listing, decoder: Decoder, fates: Sequence[Fate], file: BinaryIO, *, workers: int, progress: Progress | None
) -> list[Fate]:
    """Append each usable image as one row; the first fixes the shape. Returns how each sample ended."""

    def one(place: int) -> tuple[Fate, Array | None]:
        fate = fates[place]
        return (fate, None) if fate.reason else decode_one(listing, place, fate, decoder)

    ended: list[Fate] = []
    shape: tuple[int, ...] | None = None
    kind, rows, total = "|u1" if decoder.preprocess.invertible else "<f4", 0, len(fates)
    for fate, row in in_order(one, total, workers):
        if row is not None and shape is None:
            shape = row.shape
            npy.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": (total, *shape)})
            start = file.tell()
        if row is not None and row.shape != shape:
            text = f"{row.shape} where the first image is {shape}; give --resize or --crop so that all are of one size"
            fate, row = Fate(fate.content, reason=text), None
        if row is not None:
            file.write(row.tobytes())
            rows += 1
        ended.append(fate)
        if progress is not None:
            progress(len(ended), total)
    if shape is None:
        first = next(f.reason for f in ended)
        raise DataError(f"none of the {total} listed images can be used; the first: {first}; check the data")
    file.seek(0)
    npy.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": (rows, *shape)})
    if file.tell() != start:
        raise DataError(f"the header of {total} images does not hold {rows}; report this as a fault")
    return ended


def decode_one(listing: Listing, place: int, fate: Fate, decoder: Decoder) -> tuple[Fate, Array | None]:
    """(how it ended, its row); DataError where its content is no longer what was listed."""
    how: tuple[str, ...] = ()
    try:
        digest, picture = content(listing, place, decoder.limits)
        if digest != fate.content:
            raise DataError(
                f"{listing.entries[place].name} is not the same as when it was listed; "
                "audit data that stands still (no random augmentation)"
            )
        settings: dict[str, Any] = {"mode": decoder.mode, "limits": decoder.limits, "depth16": decoder.depth16}
        if isinstance(picture, bytes):
            image, how = decode(picture, **settings)
        else:
            image, how = from_array(picture.convert("RGB") if is_wide(picture) else picture, **settings)
        return Fate(fate.content, how, size=(image.height, image.width)), decoder.row(image)
    except Refused as refused:
        return Fate(fate.content, reason=str(refused)), None
    except DECODE_ERRORS as error:
        return Fate(fate.content, reason=f"cannot be preprocessed: {one_line(error)}"), None


def decode_first(listing: Listing, place: int, decoder: Decoder) -> tuple[Fate, Array | None]:
    """As `decode_one`, of a sample that was not listed by content before."""
    try:
        fate = Fate(content(listing, place, decoder.limits)[0])
    except Refused as refused:
        return Fate("", reason=str(refused)), None
    return decode_one(listing, place, fate, decoder)


def is_wide(picture: Any) -> bool:
    """A PIL image in a mode whose array is not grey, RGB or RGBA."""
    return isinstance(picture, Image.Image) and picture.mode in ("P", "CMYK", "LAB", "HSV", "YCbCr")
