"""Probe `visualisation`: what classes and units want to see, by gradient ascent on a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.bounds import proportion
from auditor.evidence.chosen import first_classes
from auditor.fold import Cost, Fold, Item, State, Study
from auditor.methods.ascent import OPERATIONS, PLAIN, RECIPES, TRIED, published
from auditor.ops.batching import images_at_once
from auditor.probe import Needs, Probe, Results
from auditor.probes.visualisation import told
from auditor.probes.visualisation.making import CLASS, Settings, make
from auditor.probes.visualisation.watch import Strongest, chosen_units
from auditor.types import Array, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

NATURAL = 64
"""Images whose colours and spectrum stand for natural ones."""
UNIT_RECIPES = ("fourier",)
"""How units are shown."""


@dataclass(frozen=True)
class Visualisation(Probe):
    """Asks: What picture fires each class and some units most, and does another model see in it what this one sees?
    Formula: argmax_x S(x) by gradient ascent on the score before the softmax, or on the mean of a unit's map. none: pixels,
    unregularised. yosinski_1 .. 4: pixels; after each step decay, Gaussian blur, and pixels of small norm or small contribution
    |sum_c -x g| set to the mean colour, with the four published settings; rates in units of the model's own first gradient,
    steps `strength` times as long. fourier: a spectrum in uncorrelated colours by Adam, jittered, turned and scaled at every
    look. maco: only the phase of a spectrum whose magnitude is that of the data's images. target_reached = share of the pictures
    of regularised recipes that the model takes for their class; share of units that fire at their picture at least as strongly
    as at any image of the data.
    Read: A recognisable picture says what the model has learned to look for; a part that is missing, a background or a mark in it
    says what it rests on. Unregularised pictures reach their class as noise: the model can be led by what nobody would see.
    Misleads: A picture is one of many that fire a unit. Regularisers decide how it looks, and a pretty one proves little. The
    score is often far above that of any photograph. Pictures of pixels are shown with their contrast raised, as stated.
    """

    title: ClassVar[str] = "What it wants to see"
    cites: ClassVar[tuple[str, ...]] = (
        "Simonyan, Vedaldi, Zisserman 2014, Deep inside convolutional networks",
        "Yosinski et al. 2015, Understanding neural networks through deep visualization",
        "Olah, Mordvintsev, Schubert 2017, Feature visualization",
        "Fel et al. 2023, Unlocking feature visualization for deeper networks with magnitude constrained optimization",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "target_reached", "Targets reached", "share", "higher",
            "Share of the pictures that are taken for their class, or fire their unit as strongly as any image of the data.",
        ),
        Measure(
            "second_model_agreement", "Second model agrees", "share", "higher",
            "Share of the regularised pictures of classes that the second model takes for the same class.",
        ),
    )  # fmt: skip
    needs: ClassVar[Needs] = Needs(pixels=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json] | None]] = {
        "quick": {"classes": 3, "layers": 1, "units": 3, "iterations": 64, "recipes": (PLAIN, "fourier", "maco")},
        "standard": {},
        "full": {"classes": 6, "layers": 4, "units": 8, "iterations": 500, "recipes": RECIPES},
    }

    classes: int = 4
    layers: int = 2
    units: int = 4
    """Of each layer, at equal distances."""
    recipes: tuple[str, ...] = (PLAIN, "yosinski_1", "yosinski_3", "fourier", "maco")
    iterations: int = 128
    """At most; those of the papers where they are fewer."""
    strength: float = 4.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.recipes if name not in RECIPES]
        if unknown or not self.recipes:
            raise ValueError(f"recipes: expected some of {', '.join(RECIPES)}, got {unknown or 'none'}")
        if min(self.classes, self.layers, self.units) < 0 or self.iterations < 2 or self.strength <= 0:
            raise ValueError(
                "expected classes, layers and units >= 0, iterations >= 2 and strength > 0; 4, 2, 4, 128 and 4.0 serve"
            )

    def look(self, target: Target) -> Fold | None:
        """How strongly the data fire the units that are shown."""
        chosen = chosen_units(target, self.layers, self.units)
        return Strongest(chosen) if chosen else None

    def used(self) -> tuple[str, ...]:
        """The recipes of classes, then those of units that are not among them."""
        return (*self.recipes, *(name for name in UNIT_RECIPES if name not in self.recipes))

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """Every class by every recipe, then the units."""
        units = chosen_units(target, self.layers, self.units)
        names = self.used()
        items: list[Item] = [(CLASS, label, names.index(r)) for label in self.shown(target, evidence) for r in self.recipes]
        items += [(i, unit, names.index(r)) for i, some in enumerate(units.values()) for unit in some for r in UNIT_RECIPES]
        natural = tuple(int(p) for p in evidence.chosen(NATURAL))
        if not items or not natural:
            return None
        settings = Settings(names, self.iterations, self.strength, tuple(units), natural, evidence.seed)
        chunk = max(8, images_at_once(target.input_shape, target.device, gradient=True))
        return Study(tuple(items), partial(make, settings=settings), chunk)

    def shown(self, target: Target, evidence: Evidence) -> tuple[int, ...]:
        """At most `classes` classes, as `first_classes` has them."""
        return first_classes(evidence, self.classes) if target.task == "classification" else ()

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """About: the forward of a unit ends at its layer, which lies at 60 % of the depth in the mean."""
        steps = {name: min(published(name), self.iterations) for name in self.used()}
        labels = np.asarray(dataset.labels)
        most = self.classes if (labels < 0).any() else min(self.classes, len(np.unique(labels)))
        classes = most * sum(steps[name] for name in self.recipes) if target.task == "classification" else 0
        wanted = chosen_units(target, self.layers, self.units)
        units = sum(len(some) for some in wanted.values())
        pictures = most * len(self.recipes) + units
        copies = len(wanted) + (target.task == "classification")
        return Cost(
            forwards=2.0 * pictures + TRIED * copies,
            gradients=classes + 0.6 * units * sum(steps[name] for name in UNIT_RECIPES),
            operations=OPERATIONS,
        )

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Shares, pictures, and what stands out."""
        rows = results.rows
        if not rows:
            return Finding("not_applicable", "it found no class or unit to visualise, or no image: raise `classes` or `units`")
        names, units = self.used(), chosen_units(target, self.layers, self.units)
        strongest = results.look if isinstance(results.look, Strongest) else Strongest({})
        reached = told.reached(rows, strongest)
        agreed = told.agreed_on(rows, target, evidence)
        figures, artifacts = told.classes(rows, names, reached, agreed, evidence)
        more, files = told.units(rows, units, strongest, reached, evidence)
        return Finding(
            "done",
            values=values(rows, names, reached, agreed),
            figures=(*figures, *more),
            notes=told.notes(rows, names, reached, agreed, target),
            artifacts=artifacts | files,
        )


def values(rows: State, names: tuple[str, ...], reached: Array, agreed: Array | None) -> dict[str, Value]:
    """Shares over all regularised pictures of classes, by recipe, and over units."""
    out: dict[str, Value] = {}
    of_class = rows["layer"] == CLASS
    kept = of_class & (rows["recipe"] != (names.index(PLAIN) if PLAIN in names else -1))
    if kept.any():
        out["target_reached.classes"] = share(reached[kept])
    for number, name in enumerate(names):
        mine = of_class & (rows["recipe"] == number)
        if mine.any():
            out[f"target_reached.{name}"] = share(reached[mine])
    if (~of_class).any():
        out["target_reached.units"] = share(reached[~of_class])
    if agreed is not None and (kept & (agreed >= 0)).any():
        out["second_model_agreement"] = share(agreed[kept & (agreed >= 0)] == 1)
    return out


def share(hit: Array) -> Value:
    """A share with its exact interval."""
    return proportion(int(hit.sum()), len(hit))
