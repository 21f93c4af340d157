"""A map as pictures: the images at their true places, the grid of nearest images, the grid with each image once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.bounds import statistic
from auditor.methods import grids
from auditor.methods.image_map import SIDE, arranged, corners, image_map, places
from auditor.ops.colour import reduced, sequential
from auditor.ops.columns import spread_out
from auditor.ops.thumbnail import thumbnail
from auditor.probes.embedding.sample import GRIDS, MAPS, Sample
from auditor.types import Array, Figure, Finding, Json, Value

if TYPE_CHECKING:
    from auditor.evidence import Evidence

SHOWN = 1000
"""Pixels of the pictures on the page."""
IN_FULL_COLOUR = 2000
"""Pixels beyond which a download has 256 colours, so that an audit's folder stays small."""
LEGEND = (12, 256)


@dataclass(frozen=True)
class Pictured:
    """One map of a sample, to be drawn."""

    evidence: Evidence
    sample: Sample
    name: str
    """Of MAPS."""
    flat: Array
    """(M,2)."""
    pixels: int
    """Of the downloads."""

    @property
    def order(self) -> Array:
        """(M,) the sample's images in the order in which they are chosen: every prefix is spread over the classes."""
        place = {position: i for i, position in enumerate(self.sample.positions.tolist())}
        chosen = self.evidence.chosen(len(self.evidence.dataset)).tolist()
        return np.array([place[position] for position in chosen if position in place])

    def small(self, i: int, tile: int) -> Array:
        """The thumbnail of the i-th image of the sample."""
        return thumbnail(self.evidence.dataset.pixels([int(self.sample.positions[i])])[0], tile)

    def download(self, picture: Array) -> Array:
        """A picture as it is stored for the download."""
        return reduced(picture) if self.pixels > IN_FULL_COLOUR else picture

    def sheet(self, kind: str, boxes: Array, tile: int) -> tuple[dict[str, Json], dict[str, Array]]:
        """What all three figures say of their files, and the file of where each image stands. `boxes` (m,3): image, top, left."""
        stem = f"{kind}-{self.name}"
        where = np.stack([self.sample.positions[boxes[:, 0]], boxes[:, 2], boxes[:, 1]], axis=1).astype(np.int32)
        data = {
            "file": f"{stem}.jpg", "full": f"{stem}.png", "tile": [tile, tile], "columns": 1, "count": len(boxes),
            "places": {"file": f"{stem}.npy", "tile": tile}, "scale": "as the model sees them, reduced", "pixelated": False,
        }  # fmt: skip
        return data, {f"{stem}.npy": where}


@dataclass(frozen=True)
class Grid:
    """A grid over a map."""

    kind: str
    """Of GRIDS."""
    cells: Array
    """(G,G) index into the sample."""
    seams: tuple[Array, Array]
    kept: grids.Kept
    moves: Array
    """(G,G)."""

    @classmethod
    def of(cls, kind: str, cells: Array, sample: Sample, place: Array) -> Grid:
        """With its seams and figures."""
        apart, kept = grids.seams(cells, sample.features), grids.kept_neighbours(cells, sample.features)
        return cls(kind, cells, apart, kept, grids.moves(cells, place))

    @property
    def widest(self) -> float:
        """The largest distance across a seam."""
        return max(float(seam.max(initial=0)) for seam in self.seams)


def pictured(of: Pictured, *, cells: int) -> Finding:
    """The three figures of a map, and how faithful the grids are. `cells`: most cells a side of a grid."""
    side = min(cells, int(len(of.flat) ** 0.5))
    place = places(of.flat)
    picked = np.sort(of.order[: side * side])
    nearest, once = grids.nearest_images(place, side), picked[grids.one_to_one(place[picked])]
    made = [Grid.of(kind, found, of.sample, place) for kind, found in zip(GRIDS, (nearest, once), strict=True)]
    high = max(grid.widest for grid in made)
    drawn = [true_places(of), *(drawn_grid(of, grid, high, told(of, grid, place)) for grid in made)]
    legend = np.repeat(sequential(np.linspace(0, 1, LEGEND[1]), 1.0)[None], LEGEND[0], axis=0)
    faith = [faithful(of, grid) for grid in made]
    return Finding(
        "done",
        values={name: value for part in faith for name, value in part.values.items()},
        figures=tuple(figure for figure, _ in drawn),
        artifacts={"seams.png": legend} | {name: array for _, files in drawn for name, array in files.items()},
        columns={name: column for part in faith for name, column in part.columns.items()},
    )


def true_places(of: Pictured) -> tuple[Figure, dict[str, Array]]:
    """The image map."""
    tile, shown = arranged(of.flat, of.order)
    sizes = {side: max(1, tile * side // SIDE) for side in (SHOWN, of.pixels)}
    boxes = np.column_stack([shown, corners(of.flat, sizes[SHOWN], SHOWN)[shown]])
    data, files = of.sheet("map", boxes, sizes[SHOWN])
    for side, file, stored in ((SHOWN, data["file"], np.asarray), (of.pixels, data["full"], of.download)):
        files[file] = stored(image_map(of.flat, shown, of.small, tile=sizes[side], side=side))
    left = len(of.flat) - len(shown)
    rest = f" The other {left:,} are left out: each would hide others with more than half of its area." if left else ""
    caption = f"{len(shown):,} of {len(of.flat):,} images at the very places that {MAPS[of.name]} gives them.{rest}"
    data["alt"] = f"{len(shown):,} small images at their places in the {MAPS[of.name]} map; alike ones stand together."
    return Figure(f"map-{of.name}", "sheet", f"Image map of {MAPS[of.name]}", caption, data), files


def drawn_grid(of: Pictured, grid: Grid, high: float, caption: str) -> tuple[Figure, dict[str, Array]]:
    """A grid with its seams and their legend."""
    frame = grids.Frame(len(grid.cells), SHOWN)
    rows, columns = np.divmod(np.arange(grid.cells.size), frame.cells)
    corner = [frame.corner(0) + rows * frame.pitch, frame.corner(0) + columns * frame.pitch]
    data, files = of.sheet(grid.kind.replace("_", "-"), np.column_stack([grid.cells.ravel(), *corner]), frame.tile)
    for side, file, stored in ((SHOWN, data["file"], np.asarray), (of.pixels, data["full"], of.download)):
        files[file] = stored(grids.drawn(grid.cells, of.small, grid.seams, high, side=side))
    label = "seams: distance of the two images in the full feature space, 0 where both are the same image"
    data["legend"] = {"file": "seams.png", "low": "0", "high": f"{high:.3g}", "label": label}
    data["alt"] = f"{frame.cells} by {frame.cells} small images, alike ones near each other, with coloured seams between them."
    title = f"{GRIDS[grid.kind].capitalize()} of {MAPS[of.name]}"
    return Figure(f"{grid.kind}-{of.name}", "sheet", title, caption, data), files


def told(of: Pictured, grid: Grid, place: Array) -> str:
    """The caption of a grid."""
    side, count = len(grid.cells), len(place)
    share, chance = np.nanmean(grid.kept.share), grid.kept.chance
    kept = f" {share:.1%} of an image's neighbours in the grid are as near in the features ({chance:.1%} by chance)."
    if grid.kind == "nearest":
        own = len(np.unique(np.minimum(np.floor(place * side), side - 1).astype(int) @ [side, 1]))
        return (
            f"Each of {side} x {side} cells over the {MAPS[of.name]} map shows the image whose place is nearest to its centre: "
            f"{len(grid.kept.images):,} of {count:,} images. {side * side - own:,} cells have no image of their own and repeat "
            f"the nearest one, so the rims are stretched.{kept}"
        )
    part = f"All {count:,}" if grid.cells.size == count else f"A sample of {grid.cells.size:,} of the {count:,}"
    return (
        f"{part} images, as many as there are cells, each in one cell: together they are moved as little as possible from their "
        f"places in the {MAPS[of.name]} map (linear assignment), by {grid.moves.mean():.1f} cells on average.{kept}"
    )


def faithful(of: Pictured, grid: Grid) -> Finding:
    """How many neighbours in a grid are neighbours in the features; how far images were moved."""
    found = {f"kept_neighbours.{grid.kind}.{of.name}": (grid.kept.images, grid.kept.share, "share")}
    if grid.kind == "one_to_one":
        found[f"grid_moves.{grid.kind}.{of.name}"] = (grid.cells.ravel(), grid.moves.ravel(), "cells")
    values: dict[str, Value] = {}
    columns: dict[str, Array] = {}
    for name, (images, numbers, unit) in found.items():
        key = f"embedding.{name}"
        columns[key] = spread_out(numbers, of.sample.positions[images], len(of.evidence.dataset))
        values[name] = statistic("mean", {key: columns[key]}, unit=unit, seed=of.evidence.seed)
    return Finding("done", values=values, columns=columns)
