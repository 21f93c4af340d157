"""Every channel's map as a tile, beside the image, one sheet an image and layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from auditor.fold import Item, State
from auditor.ops.colour import diverging, is_small, sequential, three
from auditor.ops.kernels import sheet
from auditor.probes.activations.layers import Layer
from auditor.types import Array, Figure, Json

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

MOST_SHOWN = 256
"""Channels of a layer on a sheet."""
MOST_BYTES = 1_000_000
"""Of raw maps that are kept of a layer."""
SIDE, GAP = 620, 2
"""Pixels that a sheet may take either way, and between its tiles."""
FULL = 0.999
"""Quantile of a layer's values from which on a colour is full."""
NAMED = 5


def find_maps(target: Target, dataset: Dataset, items: Sequence[Item], *, layers: tuple[str, ...]) -> State:
    """One row an item (position,): the maps (C,h,w) float16 of each layer, and their maxima (C,) float32."""
    rows: dict[str, list[Array]] = {}
    for (position,) in items:
        found = target.look(dataset.load(np.array([position]), target.device), layers).activations
        for i, layer in enumerate(layers):
            maps = found[layer][0].float()
            rows.setdefault(f"{i}.maps", []).append(maps.half().cpu().numpy())
            rows.setdefault(f"{i}.peaks", []).append(maps.amax((1, 2)).cpu().numpy())
    return {name: np.stack(arrays) for name, arrays in rows.items()}


def shown(layer: Layer, peaks: Array) -> Array:
    """(s,) rising channels: all, or MOST_SHOWN that come nearest to their own largest value in the images of `peaks` (n,C)."""
    count = peaks.shape[1]
    if count <= MOST_SHOWN:
        return np.arange(count)
    return np.sort(np.argsort(-strength(layer, peaks).max(axis=0), kind="stable")[:MOST_SHOWN])


def strength(layer: Layer, peaks: Array) -> Array:
    """(n,C) each channel's maximum in an image as a share of its largest in the data; 0 where it never fires."""
    high = layer.seen.high
    return np.divide(peaks, high, out=np.zeros(peaks.shape), where=high > 0).clip(0, 1)


def drawn(layer: Layer, rows: Mapping[str, Array], chosen: Array, evidence: Evidence) -> tuple[Figure, dict[str, Array]]:
    """The sheets of one layer, on one scale, and its raw maps."""
    maps, peaks = rows[f"{layer.number}.maps"], rows[f"{layer.number}.peaks"]
    channels = shown(layer, peaks)
    values = maps[:, channels].astype(np.float32)
    limit = float(np.quantile(np.abs(values), FULL)) or float(np.abs(values).max())
    columns, scale = arranged(len(channels), *layer.grid)
    artifacts: dict[str, Array] = {}
    pages: list[dict[str, Json]] = []
    tile = (0, 0)
    for i, position in enumerate(int(p) for p in chosen):
        colours = sequential(values[i], limit) if layer.rectified else diverging(values[i], limit)
        file = f"layer-{layer.number}-image-{i}.png"
        artifacts[file], tile = sheet(colours, columns=columns, scale=scale, gap=GAP)
        pages.append(
            {
                "label": evidence.dataset.samples[position].name,
                "note": note(layer, peaks[i : i + 1]),
                "sample": position,
                "beside": picture_file(i, evidence, position),
                "file": file,
            }
        )
    kept = max(1, MOST_BYTES // maps[0].nbytes)
    artifacts[f"layer-{layer.number}.npy"] = maps[:kept]
    data = {
        "pages": pages, "tile": list(tile), "columns": columns, "count": len(channels), "pixelated": True,
        "labels": [label(layer, c) for c in channels.tolist()],
        "scale": scale_words(layer, limit), "width": SIDE,
    }  # fmt: skip
    return Figure(f"layer-{layer.number}", "pages", f"{layer.name}, every channel", caption(layer, channels), data), artifacts


def label(layer: Layer, channel: int) -> str:
    """A channel in words."""
    return f"channel {channel}{', silent' if layer.dead[channel] else ', saturated' if layer.stuck[channel] else ''}"


def arranged(count: int, high: int, wide: int) -> tuple[int, int]:
    """(columns, enlargement) of `count` tiles (high,wide): as large as SIDE allows, then with the fewest empty cells."""

    def fit(columns: int) -> tuple[int, int, int]:
        rows = -(-count // columns)
        return min((SIDE // columns - GAP) // wide, (SIDE // rows - GAP) // high), count - rows * columns, columns

    scale, _, columns = max(fit(c) for c in range(1, count + 1))
    return (columns, scale) if scale > 0 else (max(1, min(count, SIDE // (wide + GAP))), 1)


def picture_file(number: int, evidence: Evidence, position: int) -> str:
    """The file of an image."""
    return f"image-{number}.{'png' if is_small(evidence.dataset.pixels([position])[0].shape[:2]) else 'jpg'}"


def images(chosen: Array, evidence: Evidence) -> dict[str, Array]:
    """The images that stand beside the sheets."""
    return {picture_file(i, evidence, p): three(evidence.dataset.pixels([p])[0]) for i, p in enumerate(chosen.tolist())}


def note(layer: Layer, peaks: Array) -> str:
    """Which channels this image fires most, by their own largest values."""
    found = strength(layer, peaks)[0]
    best = [c for c in np.argsort(-found, kind="stable")[:NAMED].tolist() if found[c] > 0]
    return "" if not best else "nearest to their largest value: " + ", ".join(f"channel {c} ({found[c]:.0%})" for c in best)


def scale_words(layer: Layer, limit: float) -> str:
    """How numbers became colours."""
    where = f"one scale for the layer and all its images; full colour from {limit:.3g} on, the {FULL:.1%} quantile"
    return f"{where}; black is 0" if layer.rectified else f"{where} of |value|; red above 0, blue below, white 0"


def caption(layer: Layer, channels: Array) -> str:
    """What is shown of what."""
    count = len(layer.dead)
    which = f"All {count} channels" if len(channels) == count else (
        f"{len(channels)} of {count} channels, those that come nearest to their own largest value in these images"
    )  # fmt: skip
    return f"{which}, {layer.grid[0]} x {layer.grid[1]} each, row by row. Point at a tile for its channel."
