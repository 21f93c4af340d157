"""What the ranges say: which channels are silent, which stand at a ceiling. C channels a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from auditor.probes.activations.watch import End, Range
from auditor.types import Array, Figure, Json

FLAT = 1e-6
"""A channel whose values differ by at most this share of the layer's largest one gives the same everywhere."""
STUCK = 0.5
"""A channel is saturated from this share of its positions on."""
MOST_NAMED = 12

COLUMNS = (
    ("layer", "layer", "text"), ("channels", "channels", "integer"), ("grid", "map", "text"), ("held", "held as", "text"),
    ("range", "values", "text"), ("dead", "silent", "integer"), ("ceiling", "ceiling", "text"), ("stuck", "saturated", "integer"),
    ("share", "positions at the ceiling", "percent"), ("fires", "a channel fires in", "percent"),
)  # fmt: skip
HELD = {"first": "maps", "last": "maps, channels last", "tokens": "tokens"}


@dataclass(frozen=True)
class Layer:
    """One layer over the whole data set."""

    name: str
    number: int
    seen: Range
    grid: tuple[int, int]
    held: str
    """"first", "last" or "tokens"."""

    @cached_property
    def rectified(self) -> bool:
        """Whether it is never negative."""
        return bool((self.seen.low >= 0).all())

    @cached_property
    def dead(self) -> Array:
        """(C,) bool: the same value at every place of every image, below the ceiling; of a rectified layer also never above 0."""
        largest = max(abs(float(self.seen.high.max())), abs(float(self.seen.low.min())))
        same = self.seen.high - self.seen.low <= FLAT * largest
        return np.asarray((same | (self.seen.high <= 0) if self.rectified else same) & ~self.stuck)

    @cached_property
    def ends(self) -> tuple[End, ...]:
        """The ceilings: a largest value, or a smallest below 0, that two channels share to the last bit."""
        ends = [self.seen.top] + ([self.seen.bottom] if self.seen.bottom.value > 0 else [])
        return tuple(end for end in ends if abs(end.value) > 0 and int((end.reached > 0).sum()) > 1)

    @cached_property
    def share(self) -> Array:
        """(C,) mean share of positions at a ceiling; 0 without one."""
        held = sum((end.held for end in self.ends), np.zeros(len(self.seen.high)))
        return np.asarray(held / max(self.seen.sampled, 1))

    @cached_property
    def stuck(self) -> Array:
        """(C,) bool: at a ceiling at STUCK of the positions or more."""
        return np.asarray(self.share >= STUCK)

    def ceiling(self) -> str:
        """In words."""
        values = [-end.value if end is self.seen.bottom else end.value for end in self.ends]
        return " and ".join(f"{value:.4g}" for value in values) or "none"


def overview(layers: Sequence[Layer]) -> Figure:
    """One row a layer."""
    rows: list[dict[str, Json]] = [
        {
            "layer": layer.name,
            "channels": len(layer.seen.high),
            "grid": f"{layer.grid[0]} x {layer.grid[1]}",
            "held": HELD[layer.held],
            "range": f"{layer.seen.low.min():.3g} to {layer.seen.high.max():.3g}",
            "dead": int(layer.dead.sum()),
            "ceiling": layer.ceiling(),
            "stuck": int(layer.stuck.sum()) if layer.ends else None,
            "share": float(layer.share.mean()) if layer.ends else None,
            "fires": float(np.median(layer.seen.fired)) / max(layer.seen.images, 1),
        }
        for layer in layers
    ]
    sampled = layers[0].seen.sampled
    said = (
        f"Over {layers[0].seen.images:,} images. Silent: the same value everywhere, in every image. Ceiling: a largest value "
        "that channels share to the last bit, as under ReLU6 or tanh; saturated: there at half of the positions or more "
        f"(counted on {sampled:,} images). A channel fires in: the median, over the channels, of the images in which it is "
        "above 0."
    )
    data = {"columns": [{"key": key, "label": label, "format": kind} for key, label, kind in COLUMNS], "rows": rows}
    return Figure("layers", "table", "The layers", said, data)


def notes(layers: Sequence[Layer]) -> tuple[str, ...]:
    """What stands out, with the numbers of the channels."""
    told = []
    for layer in layers:
        for which, what in ((layer.dead, "give the same everywhere"), (layer.stuck, "are saturated")):
            if which.any():
                told.append(f"{int(which.sum())} of {len(which)} channels of {layer.name} {what}: {listed(which)}.")
    if not told:
        told.append(f"No channel of the {len(layers)} layers is silent or saturated.")
    return tuple(told)


def listed(which: Array) -> str:
    """The numbers of the channels in (C,) bool, cut."""
    numbers = np.flatnonzero(which).tolist()
    return ", ".join(map(str, numbers[:MOST_NAMED])) + (", ..." if len(numbers) > MOST_NAMED else "")
