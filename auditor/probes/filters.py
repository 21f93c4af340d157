"""Probe `filters`: what the first weights that see the image look for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from auditor.bounds import exact
from auditor.ops.kernels import SMALLEST, cosines, dead, display, duplicates, high_share, norms, sheet, slices
from auditor.probe import Probe, Results
from auditor.types import Array, Figure, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.evidence import Evidence
    from auditor.target import Target

MOST_CHANNELS = 4
"""Channels that an image may have; a layer with more inputs does not see the image."""
MOST_SHOWN, MOST_COMPARED, MOST_NAMED = 512, 128, 12
TILES = ((32, 80), (128, 56), (MOST_SHOWN, 40))
"""(filters up to which, least side of a shown one in pixels): few are shown larger."""
WIDTH = 960
"""About how wide a sheet is, in pixels."""
SECOND = (8, 16)
"""Filters and channels of the second convolution that are shown."""
NOISE = 0.75
"""Share of white noise's energy above half the Nyquist frequency, for every kernel size."""


@dataclass(frozen=True)
class Layer:
    """A convolution and its weights (F,C,h,w)."""

    name: str
    weights: Array

    def size(self) -> str:
        """In words."""
        count, channels, high, wide = self.weights.shape
        return f"{count} filters of {high} x {wide} over {channels} {'channel' if channels == 1 else 'channels'} ({self.name})"


@dataclass(frozen=True)
class Filters(Probe):
    """Asks: What do the first weights, the only ones that see the image itself, look for?
    Formula: a pixel is 127.5 + 127.5 w / limit. dead_fraction = share with a norm under a thousandth of the median norm;
    duplicate_fraction = share with |cos| > 0.99 to an earlier filter, so the share that could be taken out; noise_fraction =
    share whose energy above half the Nyquist frequency (in either direction) is at least the 3/4 that white noise has.
    Read: A well-trained first layer shows smooth edges, gratings and blobs of colour in many directions. Speckle means too
    little training or regularisation; grey tiles are filters that do nothing; equal tiles are capacity that is not used.
    Misleads: Only the first layer can be read like this. With each filter on its own scale a dead one looks as strong as any:
    compare the second sheet. A filter and its negative count as duplicates, though a rectifier tells them apart. An
    untrained layer has a noise_fraction of about a half; a grating at the finest scale counts as noise, and large patch
    embeddings have much fine detail by nature.
    """

    title: ClassVar[str] = "First-layer filters"
    cites: ClassVar[tuple[str, ...]] = (
        "Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks",
        "He et al. 2016, Deep residual learning for image recognition",
        "Huang et al. 2017, Densely connected convolutional networks",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("dead_fraction", "Dead filters", "share", "lower", "Share of first-layer filters with next to no weight."),
        Measure("duplicate_fraction", "Duplicate filters", "share", "lower", "Share that point the same way as an earlier one."),
        Measure("noise_fraction", "Noisy filters", "share", "lower", "Share with as much fine detail as white noise has."),
    )
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {"quick": {}, "standard": {}, "full": {}}

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Arithmetic on the weights."""
        found = convolutions(target)
        if isinstance(found, str):
            return Finding("not_applicable", found)
        first, weights = found[0], found[0].weights
        if not np.isfinite(weights).all():
            raise ValueError(f"expected finite weights, got NaN or infinity in {first.name}")
        gone, copies, share = dead(weights), duplicates(weights), high_share(weights)
        noisy = (share >= NOISE) & ~gone
        measurable = min(weights.shape[2:]) >= SMALLEST
        n = len(weights)
        values: dict[str, Value] = {
            "dead_fraction": exact(float(gone.mean()), "share", n=n),
            "duplicate_fraction": exact(float(np.mean(copies >= 0)), "share", n=n),
        }
        if measurable:
            values["noise_fraction"] = exact(float(noisy.mean()), "share", n=n)
        labels = described(weights, gone, copies, noisy & measurable)
        figures, artifacts = sheets(first, labels)
        more, further = second(found[1:])
        figures += (norm_figure(weights), similarity_figure(weights), *more)
        artifacts |= {
            "similarity.npy": cosines(weights[:MOST_COMPARED]).astype(np.float32),
            "weights.npy": kept(weights),
        } | further
        return Finding(
            "done", values=values, figures=figures, notes=notes(first, gone, copies, noisy, measurable), artifacts=artifacts
        )


def convolutions(target: Target) -> tuple[Layer, ...] | str:
    """The convolution that sees the image, and the next one of at least 3 x 3; where the first layer is none, why not."""
    found: list[Layer] = []
    for call in target.trace:
        module = target.model.get_submodule(call.path)
        weight = getattr(module, "weight", None)
        if not isinstance(weight, torch.Tensor) or weight.ndim < 2 or any(call.path == layer.name for layer in found):
            continue  # no weights, or one a channel as a norm has
        if isinstance(module, torch.nn.Conv2d):
            if not found and module.in_channels > MOST_CHANNELS:
                return f"the first convolution, {call.path}, has {module.in_channels} input channels: it does not see the image"
            if not found or min(weight.shape[2:]) >= SMALLEST:
                found.append(Layer(call.path, weight.detach().float().cpu().numpy()))
        elif not found:
            return f"the first layer with weights, {call.path} ({call.kind}), is no 2-D convolution"
        if len(found) == 2:
            break
    return tuple(found) or "no layer of the model has weights of two dimensions or more"


def described(weights: Array, gone: Array, copies: Array, noisy: Array) -> list[str]:
    """One line a filter, for those shown."""
    lines = []
    for i, norm in enumerate(norms(weights)[:MOST_SHOWN]):
        copy = f", like {copies[i]}" if copies[i] >= 0 else ""
        lines.append(f"{i}: norm {norm:.3g}{', dead' if gone[i] else ''}{copy}{', noise' if noisy[i] else ''}")
    return lines


def columns_of(count: int, wide: int) -> int:
    """Tiles a row: about WIDTH pixels, without a ragged end where the count allows it."""
    most = max(1, min(count, WIDTH // wide))
    return next((c for c in range(most, most // 2, -1) if count % c == 0), most)


def scale_of(count: int, high: int) -> int:
    """By how much filters `high` pixels high are enlarged."""
    return math.ceil(next(side for most, side in TILES if count <= most) / high)


def sheets(first: Layer, labels: list[str]) -> tuple[tuple[Figure, ...], dict[str, Array]]:
    """All filters, each on its own scale and all on one."""
    tiles = slices(first.weights[:MOST_SHOWN])
    own = np.abs(tiles).max(axis=(1, 2, 3))
    count, high, wide, _ = tiles.shape
    scale = scale_of(count, high)
    columns = columns_of(count, wide * scale)
    cut = f" The first {count} of {len(first.weights)}." if count < len(first.weights) else ""
    channels = first.weights.shape[1]
    drawn = "as red, green, blue" if channels == 3 else "in grey" if channels == 1 else "with their channels side by side"
    figures, artifacts = [], {}
    for name, title, limits, how in (
        ("filters", "Filters, each on its own scale", own, "each filter by its own largest |w|"),
        ("filters-shared", "Filters on one scale", np.full(count, own.max()), f"all filters by the largest |w|, {own.max():.3g}"),
    ):
        artifacts[f"{name}.png"], tile = sheet(display(tiles, limits), columns=columns, scale=scale)
        data = {
            "file": f"{name}.png", "tile": list(tile), "columns": columns, "count": count, "labels": labels, "pixelated": True,
            "scale": f"{how}; mid-grey is 0, enlarged {scale} times; biases are not shown",
        }  # fmt: skip
        figures.append(Figure(name, "sheet", title, f"{first.size()}, {drawn}.{cut}", data))
    return tuple(figures), artifacts


def second(rest: tuple[Layer, ...]) -> tuple[tuple[Figure, ...], dict[str, Array]]:
    """Slices of the next convolution; none without one."""
    if not rest:
        return (), {}
    weights = rest[0].weights[: SECOND[0] if rest[0].weights.shape[1] > 1 else SECOND[0] * SECOND[1], : SECOND[1]]
    count, channels, high, wide = weights.shape
    limits = np.abs(weights).max(axis=(1, 2, 3)).repeat(channels)
    scale = scale_of(count * channels, high)
    columns = channels if channels > 1 else columns_of(count, wide * scale)
    tiles = weights.reshape(count * channels, high, wide, 1)
    picture, tile = sheet(display(tiles, limits), columns=columns, scale=scale)
    data = {
        "file": "second.png", "tile": list(tile), "columns": columns, "count": len(tiles), "pixelated": True,
        "scale": "each filter by the largest |w| of its slices shown; mid-grey is 0",
    }  # fmt: skip
    caption = f"{rest[0].size()}: {count} filters, {channels} of their slices each. Hard to interpret: its inputs are no pixels."
    return (Figure("second", "sheet", "Slices of the next convolution", caption, data),), {"second.png": picture}


def norm_figure(weights: Array) -> Figure:
    """How strong the filters are."""
    length = norms(weights)
    counts, edges = np.histogram(length, bins=20, range=(0, float(length.max()) or 1.0))
    series = [{"name": "filters", "edges": edges.tolist(), "counts": counts.tolist()}]
    caption = f"Euclidean norm of {len(length)} filters; median {np.median(length):.3g}."
    data = {"x_label": "norm", "y_label": "filters", "series": series}
    return Figure("norms", "histogram", "How strong the filters are", caption, data)


def similarity_figure(weights: Array) -> Figure:
    """Which filters look for the same."""
    shown = min(len(weights), MOST_COMPARED)
    caption = f"Cosine of every two of {shown if shown == len(weights) else f'the first {shown} of {len(weights)}'} filters."
    names = [str(i) for i in range(shown)]
    data = {"file": "similarity.npy", "row_labels": names, "column_labels": names, "x_label": "filter", "y_label": "filter"}
    return Figure("similarity", "heatmap", "Which filters look for the same", caption, data)


def kept(weights: Array) -> Array:
    """The raw weights of the filters shown, (n,C,h,w) float32."""
    return np.asarray(weights[:MOST_SHOWN], dtype=np.float32)


def listed(which: Array) -> str:
    """The numbers of the filters in (F,) bool, cut."""
    numbers = np.flatnonzero(which).tolist()
    return ", ".join(map(str, numbers[:MOST_NAMED])) + (", ..." if len(numbers) > MOST_NAMED else "")


def notes(first: Layer, gone: Array, copies: Array, noisy: Array, measurable: bool) -> tuple[str, ...]:
    """What stands out, with the numbers of the filters."""
    n, told = len(gone), []
    for which, what in ((gone, "dead"), (copies >= 0, "like an earlier one"), (noisy & measurable, "as noisy as white noise")):
        if which.any():
            told.append(f"{int(which.sum())} of {n} filters are {what}: {listed(which)}.")
    if not told:
        told.append(f"None of the {n} filters is dead, {'noise, ' if measurable else ''}or a copy of an earlier one.")
    if not measurable:
        high, wide = first.weights.shape[2:]
        told.append(f"noise_fraction is left out: {high} x {wide} positions are too few to tell frequencies apart.")
    return tuple(told)
