"""Probe `patches`: what each unit of a layer looks for, shown by the cut-outs that fire it most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.bounds import exact
from auditor.fold import Cost, Fold, Study
from auditor.probe import Needs, Probe, Results
from auditor.probes.patches import told
from auditor.probes.patches.layers import Layer, Mark, classes_of, marks
from auditor.probes.patches.pictures import gallery
from auditor.probes.patches.watch import Watch, find_fields, loaded
from auditor.types import Array, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target


@dataclass(frozen=True)
class Patches(Probe):
    """Asks: Which parts of which images fire each unit most, and do they have a class, a place or a mark in common?
    Formula: a unit's value in an image is the maximum of its map; its patches are the receptive fields (clipped at the border)
    of that maximum in the `top` images with the largest values, ties by a hash of the position. Field: r += (k - 1) d j,
    start -= p j, j *= s, on branches the union. class_entropy = mean over the units of -sum_k p_k log2 p_k / log2 min(top, K),
    p the share of each of K classes in a unit's images. A mark: at least 8 of 9 maxima within a step of one place, where the
    images differ by at most an eighth of what other images differ from them, near the border, and not on a flat ground.
    Read: Early units are fired by edges and colours, deep ones by parts and objects. Units of one class are normal deep in the
    network, not in the first layers. A unit that fires at one place whatever the image is fired by the frame, not by the object.
    Misleads: The largest values say what fires a unit most, not what it does otherwise, and it may fire for other things too.
    The box of a deep layer is far larger than the part that counts. With an UNKNOWN field pixels outside the patch have a say.
    Zero padding alone can fire a unit at the border; near-duplicates in the data fill rows with one picture.
    """

    title: ClassVar[str] = "What fires the units"
    cites: ClassVar[tuple[str, ...]] = (
        "Zeiler, Fergus 2014, Visualizing and understanding convolutional networks",
        "Springenberg et al. 2015, Striving for simplicity: the all convolutional net",
        "Araujo, Norris, Sim 2019, Computing receptive fields of convolutional neural networks",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "class_entropy", "Class entropy", "", "none",
            "How mixed the classes of a unit's strongest images are, mean over the units: 0 one class, 1 as mixed as can be.",
        ),
        Measure("dead_units", "Dead units", "share", "lower", "Share of the units of a rectified layer that no image fires."),
        Measure(
            "marked_units", "Units fired by a mark", "units", "lower",
            "Units that fire at one place near the border, where their images share a spot that other images lack.",
        ),
    )  # fmt: skip
    needs: ClassVar[Needs] = Needs(convolutions=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json] | None]] = {
        "quick": {"layers": 2, "units": 8}, "standard": {"layers": 4}, "full": {"layers": 8},
    }  # fmt: skip

    layers: int = 4
    top: int = 9
    """Images a unit."""
    units: int = 12
    """Units of each layer on the page; all are analysed."""

    def __post_init__(self) -> None:
        if not (1 <= self.layers <= 32 and 1 <= self.top <= 16 and 1 <= self.units <= 32):
            raise ValueError("expected layers and units from 1 to 32 and top from 1 to 16; 4, 12 and 9 are the defaults")

    def look(self, target: Target) -> Fold | None:
        """The maxima of every channel of the chosen layers."""
        return Watch(target.choose("spatial", self.layers), self.top)

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """One forward, of the first image: the receptive fields."""
        return Study(((0,),), partial(find_fields, layers=target.choose("spatial", self.layers)), 1)

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        return Cost(forwards=1.0)

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Cut the patches out, and say what they have in common."""
        watch = results.look
        if not isinstance(watch, Watch) or not watch.seen or not results.rows:
            return Finding("not_applicable", "no image was seen")
        classes, count = classes_of(evidence), len(evidence.dataset)
        layers = [
            Layer(name, i, watch.seen[name], loaded(results.rows, i), classes, count) for i, name in enumerate(watch.layers)
        ]
        marked = [marks(layer, evidence) for layer in layers]
        artifacts: dict[str, Array] = {}
        figures = [told.overview(layers, marked)]
        if classes is not None and classes.counts.max() > 1 and len(layers) > 1:
            figures.append(told.depth(layers))
        for layer, found in zip(layers, marked, strict=True):
            figure, files = gallery(layer, found, self.units, evidence)
            figures.append(figure)
            artifacts |= files | told.artifacts(layer)
        return Finding(
            "done",
            values=values(layers, marked),
            figures=tuple(figures),
            notes=told.notes(layers, marked),
            artifacts=artifacts,
            columns=behind(layers, marked, count),
        )


def behind(layers: list[Layer], marked: list[tuple[Mark, ...]], samples: int) -> dict[str, Array]:
    """The images behind each layer's marked units: (samples,) in how many of them an image is strongest, NaN where in none."""
    columns = {}
    for layer, found in zip(layers, marked, strict=True):
        column = np.full(samples, np.nan)
        for mark in found:
            positions = np.asarray(layer.positions(mark.unit), dtype=np.int64)
            column[positions] = np.nan_to_num(column[positions]) + 1
        if found:
            columns[f"patches.marked_units.{layer.name}"] = column
    return columns


def values(layers: list[Layer], marked: list[tuple[Mark, ...]]) -> dict[str, Value]:
    """The figures by layer."""
    out: dict[str, Value] = {}
    for layer, found in zip(layers, marked, strict=True):
        count = len(layer.entries)
        if layer.classes is not None:
            known = int(np.isfinite(layer.entropy).sum())
            mean = told.mean(layer.entropy)
            out[f"class_entropy.{layer.name}"] = exact(float("nan") if mean is None else mean, "", n=known)
        if layer.rectified:
            out[f"dead_units.{layer.name}"] = exact(layer.dead / count, "share", n=count)
        out[f"marked_units.{layer.name}"] = exact(float(len(found)), "units", n=count)
    return out
