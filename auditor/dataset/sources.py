"""Where samples come from: class folders, a CSV manifest, an .npz, loose images, a store, a factory, arrays, a torch Dataset."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image

from auditor.dataset.labels import Label, is_index
from auditor.dataset.remote import Store, is_remote
from auditor.errors import DataError
from auditor.preprocess import Box

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
NOT_IMAGES = frozenset({".h5", ".hdf", ".pdf", ".mpg", ".mpeg", ".bufr", ".grib", ".fli", ".flc"})


@dataclass(frozen=True)
class Entry:
    """One listed sample, before anything of it is read."""

    name: str
    label: Label
    path: Path | None = None
    slices: Mapping[str, str] = field(default_factory=dict)
    box: Box | None = None
    """Where the object is, in pixels of the upright picture."""
    mask: Path | None = None
    """A picture of the same size that is black beside the object."""
    problem: str = ""
    """Why it cannot be read, where that is known from the listing."""


@dataclass(frozen=True)
class Listing:
    """Every sample of a data set in its stable order."""

    kind: str
    entries: tuple[Entry, ...]
    root: Path | None = None
    """Files below it may not be links out of it."""
    grab: Callable[[int], Any] | None = None
    """Place -> PIL image or array, for what is no file."""
    store: Store | None = None
    """What the files are read from, where that is not this machine."""
    folders: tuple[str, ...] = ()
    """Class folders, empty ones too."""
    ignored: int = 0
    """Files that are no images."""
    shown: Mapping[int, str] = field(default_factory=dict)
    """Index -> name of a manifest's class_name column."""
    warnings: tuple[str, ...] = ()


def image_extensions() -> frozenset[str]:
    """Extensions of images that Pillow knows, and .svg (an image that is listed, and quarantined)."""
    known = {e for e, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return frozenset(known - NOT_IMAGES | {".svg"})


def open_source(spec: Any) -> Listing:
    """List `spec`. Raises DataError in one line."""
    if isinstance(spec, str | Path):
        return from_text(str(spec))
    if isinstance(spec, tuple | list) and len(spec) == 2:
        return from_arrays(spec[0], spec[1], "arrays")
    if hasattr(spec, "__getitem__") and hasattr(spec, "__len__"):
        return from_torch(spec)
    raise DataError(f"data expects a path, (images, labels) or a torch Dataset with a length; got {type(spec).__name__}")


def from_text(spec: str) -> Listing:
    """What --data takes."""
    if is_remote(spec):
        return from_store(Store(spec))
    path = Path(spec).expanduser()
    if path.is_dir():
        return from_folder(path)
    if not path.exists():
        module, colon, name = spec.rpartition(":")
        if colon and name.isidentifier():
            return from_factory(module, name)
        raise DataError(f"--data expects a folder, manifest.csv, .npz or module:factory; {spec} does not exist; check the path")
    if path.suffix.lower() == ".csv":
        return from_manifest(path)
    if path.suffix.lower() == ".npz":
        return from_npz(path)
    if path.suffix.lower() in image_extensions():
        return Listing("loose", (Entry(path.name, None, path),), path.parent)
    raise DataError(f"--data expects a folder, manifest.csv, .npz or module:factory; got the file {path}")


def walk(root: Path, extensions: frozenset[str]) -> Iterator[tuple[str, bool, str]]:
    """(relative posix path, is it an image, problem) of all that is not hidden; links to folders are named, not followed."""

    def fail(error: OSError) -> None:
        raise DataError(f"cannot list {error.filename}: {error.strerror}; make it readable or leave it out") from error

    for folder, folders, files in os.walk(root, onerror=fail):
        here = Path(folder)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        for name in folders:
            if (here / name).is_symlink():
                yield (here / name).relative_to(root).as_posix(), True, "link to a folder, which is not followed"
        for name in files:
            if not name.startswith("."):
                yield (here / name).relative_to(root).as_posix(), Path(name).suffix.lower() in extensions, ""


def refuse_splits(root: str, names: list[str]) -> None:
    """Raise where train/ or val/ stands above class folders: one of them must be chosen."""
    splits = sorted({n.split("/")[0] for n in names if n.count("/") >= 2 and n.split("/")[0].lower() in SPLITS})
    if splits:
        choice = next((s for s in splits if s.lower() in ("test", "testing")), splits[-1])
        raise DataError(
            f"{root} holds the splits {', '.join(splits)} above class folders; audit one: --data {root.rstrip('/')}/{choice}"
        )


def from_folder(root: Path) -> Listing:
    """Class folders (the first part of the path is the class), or loose images without a label."""
    found = sorted(walk(root, image_extensions()))
    inside = (f for f in root.iterdir() if f.is_dir() and not f.is_symlink())
    folders = sorted(f.name for f in inside if not f.name.startswith(".") and f.name != "__MACOSX")
    return of_names(str(root), found, folders, lambda name: root / name)


def of_names(
    root: str, found: list[tuple[str, bool, str]], folders: list[str], place: Callable[[str], Path], store: Store | None = None
) -> Listing:
    """The listing of (name, is it an image, problem) below `root`; `place`: where a name is read."""
    names = [name for name, image, _ in found if image]
    refuse_splits(root, names)
    if not names:
        raise DataError(f"{root} holds no images ({len(found)} other files); class folders or images are expected")
    in_classes = any("/" in name for name in names)
    entries = tuple(
        Entry(name, name.split("/")[0] if "/" in name else None, place(name), problem=problem)
        for name, image, problem in found
        if image
    )
    stray = sum(e.label is None and not e.problem for e in entries)
    warnings = (f"{stray} images beside the class folders have no label",) if in_classes and stray else ()
    kind, classes = ("folder", tuple(folders)) if in_classes else ("loose", ())
    base = None if store is not None else Path(root)
    return Listing(kind, entries, base, None, store, classes, len(found) - len(names), warnings=warnings)


def from_store(store: Store) -> Listing:
    """A folder of a store, or a manifest in it whose paths are relative to it: as on this machine."""
    base = Path(store.root)
    if store.kind() == "folder":
        extensions = image_extensions()
        found = [(name, Path(name).suffix.lower() in extensions, "") for name in store.names()]
        folders = sorted({name.split("/")[0] for name, _, _ in found if "/" in name})
        return of_names(store.spec, found, folders, lambda name: base / name, store)
    if base.suffix.lower() != ".csv":
        raise DataError(f"--data {store.spec}: expected a folder or a manifest.csv in a store; copy other files to this machine")
    return of_rows(store.spec, lambda: io.StringIO(store.text(), newline=""), base.parent, store)


def from_manifest(path: Path) -> Listing:
    """CSV with `path` (relative to it), `label` (index or name), `class_name` (display), `box` (x0,y0,x1,y1) and `mask` (a path)
    of the object, and slices: every other column.
    """
    return of_rows(str(path), lambda: path.open(encoding="utf-8-sig", newline=""), path.parent)


def of_rows(path: str, opened: Callable[[], TextIO], folder: Path, store: Store | None = None) -> Listing:
    """The listing of a manifest; `folder`: what its paths are relative to."""
    try:
        with opened() as file:
            reader = csv.DictReader(file, restkey="", strict=True)
            columns = [c.strip() for c in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"manifest {path} expects readable UTF-8 CSV; got {error}; correct it") from error
    if "path" not in columns:
        raise DataError(f"manifest {path} expects a column `path`; got {', '.join(columns) or 'nothing'}; add it")
    if not rows:
        raise DataError(f"manifest {path} lists no images; add rows below its header")
    wide = next((i for i, row in enumerate(rows, 2) if "" in row or None in row.values()), None)
    if wide is not None:
        raise DataError(f"manifest {path} line {wide} has not the {len(columns)} columns of its header; correct it")
    label = "label" if "label" in columns else "class_name"
    texts = [(row.get(label) or "").strip() for row in rows]
    integers = label == "label" and all(t == "" or t == "-1" or is_index(t) for t in texts)
    labels: list[Label] = [None if t == "" else int(t) if integers else t for t in texts]
    pairs = [(g, (row.get("class_name") or "").strip()) for g, row in zip(labels, rows, strict=True)]
    shown = {g: name for g, name in pairs if isinstance(g, int) and g >= 0 and name}
    extra = [c for c in columns if c not in ("path", "label", "class_name", "box", "mask")]
    entries = [
        Entry(
            row["path"].strip(), given, folder / row["path"].strip(), {c: row[c].strip() for c in extra},
            box_of((row.get("box") or "").strip(), f"manifest {path} line {line}"),
            folder / row["mask"].strip() if (row.get("mask") or "").strip() else None,
            "" if row["path"].strip() else "empty path in the manifest",
        )
        for line, (row, given) in enumerate(zip(rows, labels, strict=True), 2)
    ]  # fmt: skip
    entries.sort(key=lambda e: e.name)
    return Listing("manifest", tuple(entries), None if store is not None else folder, store=store, shown=shown)


def box_of(text: str, where: str) -> Box | None:
    """`x0,y0,x1,y1` in pixels as a box, None where empty. Raises DataError."""
    if not text:
        return None
    try:
        x0, y0, x1, y1 = (float(part) for part in text.replace(",", " ").split())
    except ValueError:
        x0 = y0 = x1 = y1 = 0.0
    if not 0 <= x0 < x1 < float("inf") or not 0 <= y0 < y1 < float("inf"):
        raise DataError(f"{where}: box expects x0,y0,x1,y1 in pixels with x0 < x1 and y0 < y1, got {text!r}; correct it")
    return x0, y0, x1, y1


def from_npz(path: Path) -> Listing:
    """An .npz with `images` and, where labelled, `labels`; pickled objects are refused."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if "images" not in file.files:
                raise DataError(f"{path} expects an array `images` (and `labels`); got {', '.join(file.files) or 'nothing'}")
            return from_arrays(file["images"], file["labels"] if "labels" in file.files else None, "npz")
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path} is no .npz of plain arrays ({error}); save one with numpy.savez") from error


def plain_labels(labels: Any, count: int) -> list[Label]:
    """One label an image, as int or str."""
    if labels is None:
        return [None] * count
    array = np.asarray(labels.detach().cpu() if hasattr(labels, "detach") else labels)
    if array.shape != (count,) and array.shape != (count, 1):
        raise DataError(f"labels expect one a sample, shape ({count},); got {array.shape}; one image has one class here")
    if array.dtype.kind not in "iuU":
        raise DataError(f"labels expect integers or names; got {array.dtype}; give the class index of each image")
    return [int(v) if array.dtype.kind in "iu" else str(v) for v in array.reshape(-1)]


def from_arrays(images: Any, labels: Any, kind: str) -> Listing:
    """Images (N,H,W), (N,H,W,C) or (N,C,H,W) with C 1, 3 or 4; tensors, or arrays whose last axis is no C, are channels first."""
    tensor = hasattr(images, "detach")
    array = np.asarray(images.detach().cpu() if tensor else images)
    if array.ndim not in (3, 4) or len(array) == 0:
        raise DataError(f"images expect (N,H,W), (N,H,W,C) or (N,C,H,W) with N > 0; got shape {array.shape}")
    if array.ndim == 4 and array.shape[1] in (1, 3, 4) and (tensor or array.shape[-1] not in (1, 3, 4)):
        array = np.moveaxis(array, 1, -1)
    given = plain_labels(labels, len(array))
    digits = len(str(len(array) - 1))
    entries = tuple(Entry(f"{i:0{digits}d}", label) for i, label in enumerate(given))
    return Listing(kind, entries, grab=array.__getitem__)


def from_torch(data: Any) -> Listing:
    """A torch Dataset of (PIL image or array, label); its labels are read by one walk."""
    if not len(data):
        raise DataError("the torch Dataset is empty; give one with samples")
    labels: list[Label] = []
    for i in range(len(data)):
        item = data[i]
        if not isinstance(item, tuple | list) or len(item) < 2:
            raise DataError(f"the torch Dataset expects (image, label) items; got {type(item).__name__} at {i}")
        labels.extend(plain_labels(np.asarray(item[1]).reshape(1), 1))
    names = getattr(data, "classes", None)
    if isinstance(names, list | tuple) and all(isinstance(n, int) and 0 <= n < len(names) for n in labels):
        labels = [str(names[n]) for n in labels if isinstance(n, int)]

    def grab(i: int) -> Any:
        image = data[i][0]
        if not hasattr(image, "detach"):
            return image
        array = np.asarray(image.detach().cpu())
        return np.moveaxis(array, 0, -1) if array.ndim == 3 and array.shape[0] in (1, 3, 4) else array

    digits = len(str(len(data) - 1))
    return Listing("dataset", tuple(Entry(f"{i:0{digits}d}", g) for i, g in enumerate(labels)), grab=grab)


def from_factory(module: str, name: str) -> Listing:
    """What package.module:factory or path.py:factory returns."""
    try:
        if module.endswith(".py"):
            found = importlib.util.spec_from_file_location(f"auditor_data_{Path(module).stem}", module)
            if found is None or found.loader is None or not Path(module).is_file():
                raise DataError(f"--data {module}:{name} expects a Python file; {module} does not exist; check the path")
            loaded = importlib.util.module_from_spec(found)
            found.loader.exec_module(loaded)
        else:
            loaded = importlib.import_module(module)
        value = getattr(loaded, name)()
    except Exception as error:
        text = " ".join(str(error).split())
        raise DataError(f"--data {module}:{name} failed: {type(error).__name__}: {text}; correct the factory") from error
    return open_source(value)
