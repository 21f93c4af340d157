"""Probe `activations`: what every channel of a layer answers to in an image, and which channels do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.bounds import exact
from auditor.fold import Cost, Fold, Study
from auditor.probe import Needs, Probe, Results
from auditor.probes.activations.layers import Layer, notes, overview
from auditor.probes.activations.pictures import drawn, find_maps, images
from auditor.probes.activations.watch import Watch
from auditor.types import Array, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target


@dataclass(frozen=True)
class Activations(Probe):
    """Asks: What does every channel of a layer answer to in an image, and which channels do nothing for any image?
    Formula: the layer's output as it is, one tile a channel. dead_fraction = share of channels with one and the same value at
        every place of every image, below the ceiling (of a rectified layer: that never fire). saturated_fraction = share of
        channels at the layer's ceiling at half of the positions or more; a ceiling is a largest value (or a smallest below 0)
        that two channels share to the last bit; the figure is left out where there is none.
    Read: Early channels light up along edges and colours, deep ones at few places, on parts and objects. Look for the channel
        that answers to the thing itself, and for one that answers to its surroundings. Silent channels are capacity that is not
        used; saturated ones pass no gradient on and say yes to everything.
    Misleads: A bright tile is a strong answer, not a cause: what follows may ignore it. One scale for a layer leaves weak
        channels dark. A silent channel may fire for images that this data set lacks. After a normalisation the sign of a value
        means little by itself.
    """

    title: ClassVar[str] = "Activation maps"
    cites: ClassVar[tuple[str, ...]] = (
        "Yosinski et al. 2015, Understanding neural networks through deep visualization",
        "Zeiler, Fergus 2014, Visualizing and understanding convolutional networks",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("dead_fraction", "Silent channels", "share", "lower", "Share of channels that give the same value everywhere."),
        Measure(
            "saturated_fraction", "Saturated channels", "share", "lower", "Share of channels that mostly stand at a ceiling."
        ),
    )
    needs: ClassVar[Needs] = Needs(convolutions=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {
        "quick": {"layers": 2, "images": 2}, "standard": {}, "full": {"layers": 8, "images": 8},
    }  # fmt: skip
    only_shown: ClassVar[frozenset[str]] = frozenset({"images"})

    layers: int = 4
    images: int = 4
    """Images whose maps are shown; the figures are of all."""

    def __post_init__(self) -> None:
        if not (1 <= self.layers <= 32 and 1 <= self.images <= 16):
            raise ValueError("expected layers from 1 to 32 and images from 1 to 16; 4 and 4 are the defaults")

    def look(self, target: Target) -> Fold | None:
        """The range of every channel of the chosen layers."""
        return Watch(target.choose("spatial", self.layers))

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """The maps of the images that are shown."""
        items = tuple((int(p),) for p in evidence.chosen(self.images))
        return Study(items, partial(find_maps, layers=target.choose("spatial", self.layers)), 1)

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        return Cost(forwards=float(min(self.images, len(dataset))))

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Shares of channels, and the sheets."""
        watch = results.look
        if not isinstance(watch, Watch) or not watch.seen or not results.rows:
            return Finding("not_applicable", "no image was seen")
        broken = [name for name, seen in watch.seen.items() if not (np.isfinite(seen.high) & np.isfinite(seen.low)).all()]
        if broken:
            raise ValueError(f"expected finite activations, got NaN or infinity in {broken[0]}")
        layouts = {call.name: call.layout for call in target.trace}
        layers = [
            Layer(name, i, watch.seen[name], layout.grid, layout.order)
            for i, name in enumerate(watch.layers)
            if (layout := layouts[name]) is not None
        ]
        chosen = evidence.chosen(self.images)
        figures, artifacts = [overview(layers)], images(chosen, evidence)
        for layer in layers:
            figure, files = drawn(layer, results.rows, chosen, evidence)
            figures.append(figure)
            artifacts |= files | table(layer)
        return Finding("done", values=values(layers), figures=tuple(figures), notes=notes(layers), artifacts=artifacts)


def table(layer: Layer) -> dict[str, Array]:
    """The raw table of a layer's channels: (C,5) float32 smallest and largest value, share of images that fire it, share of
    positions at a ceiling, and whether it is silent.
    """
    share = layer.seen.fired / max(layer.seen.images, 1)
    columns = (layer.seen.low, layer.seen.high, share, layer.share, layer.dead)
    return {f"layer-{layer.number}-channels.npy": np.stack(columns, axis=1).astype(np.float32)}


def values(layers: list[Layer]) -> dict[str, Value]:
    """The figures by layer."""
    out: dict[str, Value] = {}
    for layer in layers:
        out[f"dead_fraction.{layer.name}"] = exact(float(layer.dead.mean()), "share", n=len(layer.dead))
        if layer.ends:
            out[f"saturated_fraction.{layer.name}"] = exact(float(layer.stuck.mean()), "share", n=len(layer.dead))
    return out
