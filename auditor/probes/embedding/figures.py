"""The scatter, the image map, the curve of the variance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from auditor.methods.image_map import image_map
from auditor.ops.thumbnail import thumbnail
from auditor.probes.embedding.sample import MAPS, Sample
from auditor.types import Array, Figure

if TYPE_CHECKING:
    from auditor.evidence import Evidence


def drawn(evidence: Evidence, sample: Sample, maps: Mapping[str, Array]) -> tuple[tuple[Figure, ...], dict[str, Array]]:
    """The scatter, the image map, the curve of the variance."""
    artifacts: dict[str, Array] = {f"{name}.npy": flat for name, flat in maps.items()}
    positions = None
    if not sample.whole:
        positions, artifacts["positions.npy"] = "positions.npy", sample.positions
    views = [{"name": MAPS[name], "file": f"{name}.npy"} for name in maps]
    scatter = Figure(
        "scatter", "scatter", "The data in two dimensions", "Each dot is an image; hover to see it.",
        {"views": views, "positions": positions, "color": "label"},
    )  # fmt: skip
    picture, artifacts["map.jpg"] = pictured(evidence, sample, maps["tsne"])
    return (scatter, picture, variance(evidence)), artifacts


def pictured(evidence: Evidence, sample: Sample, flat: Array) -> tuple[Figure, Array]:
    """The image map of t-SNE."""
    place = {int(position): i for i, position in enumerate(sample.positions)}
    order = np.array([place[p] for p in evidence.chosen(len(evidence.dataset)).tolist() if p in place])

    def small(i: int, tile: int) -> Array:
        return thumbnail(evidence.dataset.pixels([int(sample.positions[i])])[0], tile)

    picture, tile, shown = image_map(flat, small, order)
    caption = (
        f"{len(shown):,} of {len(flat):,} images at their places in the t-SNE map, {tile} px each, none moved; the others would "
        "cover these. Click it for its full size, then scroll."
    )
    side = len(picture)
    data = {"file": "map.jpg", "tile": [side, side], "columns": 1, "count": 1, "scale": "as the model sees them, reduced"}
    return Figure("map", "sheet", "Image map", caption, data), picture


def variance(evidence: Evidence) -> Figure:
    """How much of the variance the first components hold."""
    found = evidence.pca
    whole = float(found.explained.sum() + found.residual)
    share = np.cumsum(found.explained) / whole
    series = [{"name": "features", "x": list(range(1, len(share) + 1)), "y": share.tolist()}]
    data = {"x_label": "principal components", "y_label": "share of the variance", "series": series}
    caption = f"Cumulative, of {len(found.mean):,} features; the first two hold {share[:2][-1]:.1%}."
    return Figure("variance", "lines", "Variance by principal components", caption, data)
