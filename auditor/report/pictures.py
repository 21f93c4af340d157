"""The pictures of an audit folder as data: URIs, and the sprite of thumbnails."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np
from markupsafe import Markup
from PIL import Image

from auditor import store
from auditor.types import Array

_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
SAMPLES = "samples"


@dataclass(frozen=True)
class Picture:
    """One picture, inlined. Width and height in pixels of the file."""

    uri: Markup
    width: int
    height: int


@dataclass(frozen=True)
class Link:
    """A picture beside the page: where it lies relative to it, its sides in pixels, its size in bytes."""

    href: str
    width: int
    height: int
    bytes: int


@dataclass
class Files:
    """The artifacts of one audit folder; counts what the page carries."""

    folder: Path
    carried: int = 0
    _seen: dict[tuple[str, str], Picture | None] = field(default_factory=dict)

    def path(self, probe: str, file: str) -> Path | None:
        """The artifact's path, None where the folder does not hold it or the name leads out of the folder."""
        found = Path(store.artifact(self.folder, probe, file))
        inside = found.resolve().is_relative_to((self.folder / "artifacts").resolve())
        return found if inside and found.is_file() else None

    def picture(self, probe: str, file: str) -> Picture | None:
        """A picture as a data: URI, None where it is missing or no picture type that the page shows."""
        key = (probe, file)
        if key not in self._seen:
            self._seen[key] = self._read(probe, file)
            self.carried += self._seen[key] is not None
        return self._seen[key]

    def _read(self, probe: str, file: str) -> Picture | None:
        path = self.path(probe, file)
        kind = _TYPES.get(Path(file).suffix.lower())
        if path is None or kind is None:
            return None
        with Image.open(path) as image:
            width, height = image.size
        # The alphabet of base64 holds nothing that HTML would read, so the URI needs no escaping.
        uri = Markup(f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}")  # noqa: S704
        return Picture(uri, width, height)

    def link(self, probe: str, file: str) -> Link | None:
        """A picture that the page does not carry but names, None where the folder does not hold it."""
        path = self.path(probe, file)
        if path is None or path.suffix.lower() not in _TYPES:
            return None
        with Image.open(path) as image:
            width, height = image.size
        return Link(quote(path.relative_to(self.folder).as_posix()), width, height, path.stat().st_size)

    def array(self, probe: str, file: str) -> Array | None:
        """A .npy artifact, None where it is missing. Pickled arrays are refused by numpy."""
        path = self.path(probe, file)
        return None if path is None else np.asarray(np.load(path, allow_pickle=False))


@dataclass(frozen=True)
class Sprite:
    """One picture of small tiles, row-major: `tile` pixels a side, `columns` tiles a row."""

    uri: Markup
    tile: int
    columns: int
    rows: int
    place: dict[int, int]
    """Data set position -> tile."""
    inputs: tuple[int, ...] = ()
    """Positions of inputs-0, inputs-1, ...; empty where the folder does not say."""

    def cell(self, position: int) -> tuple[int, int] | None:
        """(column, row) of a sample's tile."""
        tile = self.place.get(position)
        return None if tile is None else (tile % self.columns, tile // self.columns)


def read_sprite(files: Files) -> Sprite | None:
    """artifacts/samples/sprite.jpg with sprite.json {tile, columns, positions, inputs?}; None where the audit keeps no pixels."""
    listed = files.path(SAMPLES, "sprite.json")
    picture = files.picture(SAMPLES, "sprite.jpg")
    if listed is None or picture is None:
        return None
    about = json.loads(listed.read_text(encoding="utf-8"))
    tile, columns = int(about["tile"]), int(about["columns"])
    place = {int(position): i for i, position in enumerate(about["positions"])}
    files.carried += len(place) - 1
    return Sprite(picture.uri, tile, columns, picture.height // tile, place, tuple(int(i) for i in about.get("inputs", ())))
