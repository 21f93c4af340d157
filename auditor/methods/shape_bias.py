"""Shape or texture: what a model goes by where the two disagree (Geirhos et al. 2019)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auditor.errors import DataError
from auditor.types import Array

REST = re.compile(r"^\d*-(?P<texture>.+)$")
"""What follows the shape in `cat7-elephant1`: the shape of a cat in the texture of an elephant."""

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

PUBLISHED: Mapping[str, float] = {
    "humans": 0.959, "ResNet-50, stylised": 0.814, "AlexNet": 0.429, "ResNet-50": 0.221, "VGG-16": 0.172,
}  # fmt: skip
"""Shape bias on the 1,280 pictures of Geirhos et al. 2019."""


@dataclass(frozen=True)
class Cue:
    """One picture with two cues."""

    path: Path
    shape: int
    """Place of its shape's category in the sorted categories."""
    texture: int

    @property
    def conflict(self) -> bool:
        """Whether the two cues disagree."""
        return self.shape != self.texture


@dataclass(frozen=True)
class Cues:
    """A folder of cue-conflict pictures, read by their names."""

    categories: tuple[str, ...]
    items: tuple[Cue, ...]


def read_cues(folder: Path) -> Cues:
    """The pictures `SHAPE/SHAPEn-TEXTUREm.*` in a folder of shape categories, in the order of their paths.

    Raises DataError where there is none, where a name does not say both cues, or where it contradicts its folder.
    """
    if not folder.is_dir():
        raise DataError(f"cues: expected a folder of shape categories, got {folder}; give the folder of cue-conflict pictures")
    places = sorted(p for p in folder.glob("*/*") if p.suffix.lower() in PICTURES)
    known = sorted({path.parent.name for path in places})
    names: list[tuple[Path, str, str]] = []
    for path in places:
        shape = path.parent.name
        texture = texture_of(path.stem, shape, known)
        if not texture:
            raise DataError(f"cues: expected a name such as {shape}N-TEXTUREM in {shape}/, got {path.name}; rename it")
        names.append((path, shape, texture))
    if not names:
        raise DataError(f"cues: expected pictures SHAPE/SHAPEn-TEXTUREm.jpg, found none in {folder}; check the folder")
    categories = tuple(sorted({cue for _, shape, texture in names for cue in (shape, texture)}))
    place = {category: i for i, category in enumerate(categories)}
    return Cues(categories, tuple(Cue(path, place[shape], place[texture]) for path, shape, texture in names))


def texture_of(stem: str, shape: str, known: Sequence[str]) -> str:
    """The texture's category in a name SHAPEn-TEXTUREm, one of `known` where that fits; "" where the name is no such one."""
    found = REST.match(stem.removeprefix(shape)) if stem.startswith(shape) else None
    if found is None:
        return ""
    rest = found["texture"]
    fit = [name for name in known if rest.startswith(name) and (rest == name or rest[len(name) :].isdigit())]
    return max(fit, key=len) if fit else rest.rstrip("0123456789")


def digest(paths: Sequence[Path]) -> str:
    """sha256 over the names and bytes of files."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(f"{path.name}|".encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def read_map(path: Path, categories: Sequence[str], classes: Sequence[str], outputs: int) -> tuple[Array, ...]:
    """For each category, the (k,) classes of the model that belong to it, from JSON {category: [class index or name, ...]}.

    Raises DataError where the file is no such map, lacks a category, or names a class that the model does not have.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"categories: expected a JSON map of category to classes, got {path}: {error}") from error
    place = {name: i for i, name in enumerate(classes)}
    found = []
    for category in categories:
        given = held.get(category) if isinstance(held, dict) else None
        if not isinstance(given, list) or not given:
            raise DataError(f"categories: expected a list of classes for {category!r} in {path.name}, got {given!r}; add it")
        indices = [place.get(g, -1) if isinstance(g, str) else g if type(g) is int else -1 for g in given]
        wrong = [g for g, i in zip(given, indices, strict=True) if not 0 <= i < outputs]
        if wrong:
            raise DataError(
                f"categories: {category!r} expects classes 0 to {outputs - 1} of the model or their names, got {wrong[0]!r}"
            )
        found.append(np.array(sorted(set(indices)), dtype=np.int64))
    return tuple(found)


def named_map(categories: Sequence[str], classes: Sequence[str]) -> tuple[Array, ...]:
    """Each category as the class of the same name. Raises DataError where the model has no class of that name."""
    place = {name: i for i, name in enumerate(classes)}
    missing = [category for category in categories if category not in place]
    if missing:
        raise DataError(
            f"the category {missing[0]!r} is no class of the model; give `categories`, a JSON map of category to class indices"
        )
    return tuple(np.array([place[category]], dtype=np.int64) for category in categories)


def category_scores(probabilities: Array, groups: Sequence[Array]) -> Array:
    """(n,G) the mean probability over the classes of each group, of softmax rows (n,K)."""
    return np.stack([probabilities[:, group].mean(axis=1) for group in groups], axis=1)


@dataclass(frozen=True)
class Decisions:
    """How pictures were decided. All (n,) of bool; the pictures whose cues agree are in none."""

    shape: Array
    texture: Array
    other: Array


def decide(category: Array, shape: Array, texture: Array) -> Decisions:
    """Decisions from the chosen category and the two cues, (n,) each."""
    conflict = shape != texture
    by_shape, by_texture = conflict & (category == shape), conflict & (category == texture)
    return Decisions(by_shape, by_texture, conflict & ~by_shape & ~by_texture)
