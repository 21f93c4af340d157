"""What is odd about a unit, in one stated order, and which units are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from auditor.probes.patches.layers import Layer, Mark, classes_of, marks
from auditor.probes.patches.sources import Sourced, sourced, sources_of
from auditor.probes.patches.watch import Watch

if TYPE_CHECKING:
    from auditor.evidence import Evidence

ORDER = (
    "same mark", "one source", "one class in an early layer", "never fires", "saturated", "always on", "twin", "same place",
)  # fmt: skip
"""What is odd about a unit, the oddest first."""
MILD, COMMON = ORDER.index("saturated"), 0.5
"""From this place in ORDER on, what more than this share of a layer's units have in common is no sign of one of them."""
FEW = "fewest classes"
RARE = 3
"""Times as many units of one class or source as chance gives are worth a sentence."""


@dataclass(frozen=True)
class Sheet:
    """A layer with what was found in it, and which of its units are shown."""

    layer: Layer
    marked: tuple[Mark, ...]
    sources: tuple[Sourced, ...]
    most: int
    """Units that are shown at most."""

    @cached_property
    def odd(self) -> dict[int, tuple[int, ...]]:
        """Unit -> the places in ORDER of what is odd about it; the oddest unit first, the strongest among equals."""
        layer = self.layer
        found = (
            [mark.unit for mark in self.marked],
            [unit for by in self.sources for unit in by.suspects],
            layer.pure if layer.early and len(layer.pure) > RARE * layer.expected else (),
            np.flatnonzero(layer.seen.tops.values[:, 0] <= 0) if layer.rectified else (),
            layer.tied,
            layer.steady,
            np.flatnonzero((layer.twins >= 0) & (layer.twins != np.arange(len(layer.twins)))),
            layer.at_one_place,
        )
        reasons: dict[int, list[int]] = {}
        for place, units in enumerate(found):
            numbers = dict.fromkeys(int(u) for u in units)
            if place < MILD or len(numbers) <= COMMON * len(layer.entries):
                for unit in numbers:
                    reasons.setdefault(unit, []).append(place)
        peak = layer.seen.tops.values[:, 0]
        return {u: tuple(reasons[u]) for u in sorted(reasons, key=lambda u: (reasons[u], -float(peak[u]), u))}

    def why(self, unit: int) -> str:
        """What is odd about a unit, in words; "" where nothing is."""
        return ", ".join(self.said(place, unit) for place in self.odd.get(unit, ()))

    def said(self, place: int, unit: int) -> str:
        """One reason in words."""
        if ORDER[place] == "one source":
            return ", ".join(by.told(unit) for by in self.sources if unit in by.suspects)
        return f"like unit {self.layer.twins[unit]}" if ORDER[place] == "twin" else ORDER[place]

    @cached_property
    def shown(self) -> dict[int, str]:
        """Unit -> why it is shown: up to half are odd ones (no reason takes more than half of those), up to two thirds with those
        of the fewest classes (the strongest among equals), the rest others at equal distances.
        """
        layer, count, peak = self.layer, self.most, self.layer.seen.tops.values[:, 0]
        taken: dict[int, str] = {}
        times = [0] * len(ORDER)
        for unit, reasons in self.odd.items():
            if len(taken) < (count + 1) // 2 and times[reasons[0]] < max(1, (count + 1) // 4) and layer.entries[unit].any():
                times[reasons[0]] += 1
                taken[unit] = self.why(unit)
        known = layer.full[np.isfinite(layer.entropy[layer.full])]
        telling = known[np.lexsort((known, -peak[known], np.round(layer.entropy[known], 6)))]
        for unit in (int(u) for u in telling if int(u) not in taken):
            if len(taken) >= max(1, 2 * count // 3):
                break
            taken[unit] = FEW
        rest = np.setdiff1d(layer.alive, list(taken))
        left = min(count - len(taken), len(rest))
        return taken | {int(rest[i * len(rest) // left]): "" for i in range(left)}


def sheets(watch: Watch, evidence: Evidence, *, most: int) -> tuple[Sheet, ...]:
    """Everything that the pass brought, layer by layer. Reads pixels of some images, and nothing of the model."""
    classes = classes_of(evidence)
    sources = sources_of(evidence, classes)
    found = []
    for number, name in enumerate(watch.layers):
        early = number < len(watch.layers) // 2
        layer = Layer(name, number, watch.seen[name], watch.field(name), classes, len(evidence.dataset), early)
        by_source: Sequence[Sourced | None] = [sourced(layer, source) for source in sources]
        found.append(Sheet(layer, marks(layer, evidence), tuple(s for s in by_source if s is not None), most))
    return tuple(found)
