"""What was found of every unit, shown or not, as arrays for whoever reads the audit by machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from auditor.methods import units
from auditor.probes.patches.layers import Layer
from auditor.probes.patches.odd import Sheet
from auditor.types import Array


def artifacts(sheet: Sheet, rows: Mapping[str, Array]) -> dict[str, Array]:
    """The raw tables of all C units of a layer, with k entries each, -1 where a unit has fewer.

    values (C,k), positions (C,k) in the data set, places (C,k,2) row and column in the map, areas (C,k) at how many places, units
    as `table`,
    classes (C,k,2) the histogram of the unit's images: (class, images), most first; source-J (C,k,2) the same of the J-th column
    by name, as (value in the order of its names, images); guided (U,4) of the units shown: unit, what is drawn in full colour,
    rectifiers up to the layer, and those intercepted; some (S,) the images whose maxima are kept, peaks (S,C) these maxima in 256
    steps between each unit's least and largest: for the comparison with the units of another model.
    """
    layer, name = sheet.layer, f"layer-{sheet.layer.number}"
    tops = layer.seen.tops
    down, across = np.divmod(tops.places, layer.seen.grid[1])
    own = rows["unit"][:, 0] == layer.number
    out = {
        "values": tops.values,
        "positions": np.where(layer.entries, tops.positions, -1).astype(np.int32),
        "places": np.where(layer.entries[..., None], np.stack([down, across], axis=-1), -1).astype(np.int16),
        "areas": np.where(layer.entries, tops.areas, -1).astype(np.int32),
        "units": table(sheet),
        "guided": np.column_stack([rows["unit"][own, 1], rows["limit"][own], rows["rectifiers"][own]]),
    }
    if len(layer.seen.some) and np.isfinite(layer.seen.peaks).all():
        out |= {"some": layer.seen.some.astype(np.int32), "peaks": stepped(layer.seen.peaks)}
    if layer.classes is not None:
        out["classes"] = histograms(layer, layer.classes.of)
    out |= {f"source-{j}": histograms(layer, by.source.of) for j, by in enumerate(sheet.sources)}
    return {f"{name}-{key}.npy": value for key, value in out.items()}


def stepped(peaks: Array) -> Array:
    """(S,C) uint8: each column from 0 at its least to 255 at its largest; a constant one is 0."""
    low, wide = peaks.min(axis=0), np.ptp(peaks.astype(np.float64), axis=0)
    return np.asarray(np.round(255 * (peaks - low) / np.where(wide > 0, wide, np.inf)), dtype=np.uint8)


def histograms(layer: Layer, kinds: Array) -> Array:
    """(C,k,2) int32: (kind, images) of each unit's images, most first, the one of the stronger image on a tie."""
    out = np.full((*layer.entries.shape, 2), -1, np.int32)
    for unit in layer.alive:
        found, first, times = np.unique(kinds[layer.positions(int(unit))], return_index=True, return_counts=True)
        order = np.lexsort((first, -times))
        out[unit, : len(order)] = np.stack([found, times], axis=1)[order]
    return out


def table(sheet: Sheet) -> Array:
    """(C,9+J) float32 of all units: largest value, share of images that fire it, class entropy, dominant class (-1 unknown),
    images of that class, images at the most frequent place, twin (-1 none), what is odd (its place in `odd.ORDER`, -1 nothing),
    whether it is shown; then the entropy of each of J sources.
    """
    layer, count = sheet.layer, len(sheet.layer.entries)
    classes, times = np.full(count, -1), np.zeros(count, np.int64)
    if layer.classes is not None and len(layer.full):
        classes[layer.full], times[layer.full] = units.dominant(layer.classes.of[layer.held])
    odd, shown = np.full(count, -1), np.zeros(count)
    odd[list(sheet.odd)] = [reasons[0] for reasons in sheet.odd.values()]
    shown[list(sheet.shown)] = 1
    columns: Sequence[Array] = (
        layer.seen.tops.values[:, 0], layer.seen.fired / max(layer.images, 1), layer.entropy, classes, times, layer.gathered[1],
        layer.twins, odd, shown, *(by.entropy for by in sheet.sources),
    )  # fmt: skip
    return np.stack(columns, axis=1).astype(np.float32)
