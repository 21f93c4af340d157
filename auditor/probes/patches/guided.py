"""What in a patch fires the unit: guided backprop of each unit that is shown, on its own strongest images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from auditor.fold import Item, State, Study
from auditor.methods.guided import Units, unit_maps
from auditor.ops.colour import signed
from auditor.ops.receptive_field import Field
from auditor.ops.tiles import GREY, crop, strip, tiled_values
from auditor.probes.patches.odd import Sheet
from auditor.probes.patches.pictures import FULL, TILE, cut, frame_of
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.target import Target

CHUNK = 4
"""Units between two checkpoints: 36 images through the network and back."""


def study_of(found: Sequence[Sheet]) -> Study | None:
    """One item a unit: (layer, unit, then position, row and column of each of its images, -1 where it has fewer)."""
    items = []
    for sheet in found:
        for unit in sheet.shown:
            layer = sheet.layer
            images = [(int(p), *place) for p, place in zip(layer.positions(unit), layer.places(unit), strict=True)]
            images += [(-1, -1, -1)] * (layer.m - len(images))
            items.append((layer.number, unit, *(n for image in images for n in image)))
    fields = {sheet.layer.name: sheet.layer.field for sheet in found}
    return Study(tuple(items), partial(guide, fields=fields), CHUNK) if items else None


def guide(target: Target, dataset: Dataset, items: Sequence[Item], *, fields: Mapping[str, Field]) -> State:
    """Rows for items of `study_of`: "unit" (2,) layer and unit, "strip" (TILE,W,3) uint8 of signed maps in the places and on the
    scale of the patches, "limit" what is drawn in full colour, "rectifiers" (2,) below the unit and those intercepted.
    """
    rows: dict[str, list[Array]] = {}
    names = list(fields)
    layouts = {call.name: call.layout for call in target.trace}
    for number, unit, *rest in items:
        name = names[number]
        images = [(p, (row, column)) for p, row, column in zip(*(rest[i::3] for i in range(3)), strict=True) if p >= 0]
        places = [place for _, place in images]
        wanted = Units(name, unit, torch.tensor(places, device=target.device), layouts.get(name))
        maps, counts = unit_maps(target.model, dataset.load([p for p, _ in images], target.device), wanted)
        tiles, limit = colours(maps.float().cpu().numpy(), fields[name], places)
        tiles += [np.full_like(tiles[0], GREY)] * (len(rest) // 3 - len(tiles))
        row = {
            "unit": np.array([number, unit]), "strip": strip(tiles), "limit": np.array(limit),
            "rectifiers": np.array([counts.total, counts.reached]),
        }  # fmt: skip
        for key, value in row.items():
            rows.setdefault(key, []).append(value)
    return {key: np.stack(values) for key, values in rows.items()}


def colours(maps: Array, field: Field, places: Sequence[tuple[int, int]]) -> tuple[list[Array], float]:
    """Tiles uint8 (TILE,TILE,3) of what each place sees of signed `maps` (m,C,H,W), in colours of one scale, and its full colour.

    The scale is that of the tiles: of a large field they hold means, which are smaller than the values of single pixels.
    """
    frame = frame_of(field)
    tiles = []
    for values, place in zip(maps, places, strict=True):
        box, offset = cut(field, frame, place)
        tiles.append(tiled_values(crop(values.transpose(1, 2, 0), box), offset, frame, TILE))
    sizes = np.abs(np.stack(tiles))
    sizes = sizes[np.isfinite(sizes)]
    limit = float(np.quantile(sizes, FULL)) if sizes.size else 0.0
    limit = limit or float(sizes.max(initial=0.0))  # so few pixels count that the quantile is 0
    drawn = []
    for tile in tiles:
        picture = signed(np.nan_to_num(tile).transpose(2, 0, 1), limit)
        picture[np.isnan(tile).any(axis=2)] = GREY
        drawn.append(picture)
    return drawn, limit
