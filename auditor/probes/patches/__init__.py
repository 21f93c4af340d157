"""Probe `patches`: what each unit of a layer looks for, shown by the cut-outs that fire it most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from auditor.bounds import exact
from auditor.fold import Cost, Fold, Study
from auditor.ops.receptive_field import receptive_fields
from auditor.probe import Needs, Probe, Results
from auditor.probes.patches import raw, tables, told
from auditor.probes.patches.guided import study_of
from auditor.probes.patches.odd import Sheet, sheets
from auditor.probes.patches.pictures import gallery
from auditor.probes.patches.watch import Watch
from auditor.types import Array, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

UNIT = 0.01
"""Seconds in which a unit's patches are cut out and told, on one core."""


@dataclass(frozen=True)
class Patches(Probe):
    """Asks: Which parts of which images fire each unit most, and do they have a class, a source, a place or a mark in common?
    Formula: a unit's value in an image is the maximum of its map; its patches are the receptive fields (clipped at the border)
    of that maximum in the `top` images with the largest values, ties by how many places have it, then by a hash. Field:
    r += (k - 1) d j, start -= p j, j *= s, on branches the union. Under each patch guided backprop of that unit, from that place:
    at every rectifier max(R, 0) f'(x) where f > 0. class_entropy = mean over the units of -sum_k p_k log2 p_k / log2 min(top, K),
    p the share of each of K classes in a unit's images; source_entropy the same of a column of the data. One source: all images
    of a unit are from one, tested against sum_s prod_k C(N_ks, n_k) / C(N_k, n_k), images at random from the same classes k
    (Benjamini-Hochberg at 5 %). A mark: at least 8 of 9 maxima within a step of one place, where the images differ by at most an
    eighth of what other images differ from them, near the border, and not on a flat ground.
    Read: Early units are fired by edges and colours, deep ones by parts and objects. Units of one class are normal deep in the
    network, not in the first layers. A unit that fires at one place whatever the image is fired by the frame, not by the object,
    and one whose images are of one camera, site or watermark more than their classes explain is a reason to suspect a shortcut.
    The strip below tells which part of the patch fires the unit.
    Misleads: The largest values say what fires a unit most, not what it does otherwise, and it may fire for other things too.
    The box of a deep layer is far larger than the part that counts. With an UNKNOWN field pixels outside the patch have a say.
    Zero padding alone can fire a unit at the border; near-duplicates in the data fill rows with one picture. Guided backprop
    sharpens every edge in the patch, of an untrained unit too. A source that goes with the class is explained by it: where all
    images of a class come from one site, nothing can be told apart.
    """

    title: ClassVar[str] = "What fires the units"
    cites: ClassVar[tuple[str, ...]] = (
        "Zeiler, Fergus 2014, Visualizing and understanding convolutional networks",
        "Springenberg et al. 2015, Striving for simplicity: the all convolutional net",
        "Adebayo et al. 2018, Sanity checks for saliency maps",
        "Araujo, Norris, Sim 2019, Computing receptive fields of convolutional neural networks",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "class_entropy", "Class entropy", "", "none",
            "How mixed the classes of a unit's strongest images are, mean over the units: 0 one class, 1 as mixed as can be.",
        ),
        Measure(
            "source_entropy", "Source entropy", "", "none",
            "The same of where the images come from, by a column of the data: 0 one source, 1 as mixed as can be.",
        ),
        Measure(
            "one_source_units", "Units fired by one source", "units", "lower",
            "Units whose strongest images are all of one source, beyond what their classes explain.",
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
    only_shown: ClassVar[frozenset[str]] = frozenset({"units"})

    layers: int = 4
    top: int = 9
    """Images a unit."""
    units: int = 12
    """Units of each layer on the page; all are analysed."""

    def __post_init__(self) -> None:
        if not (1 <= self.layers <= 32 and 1 <= self.top <= 16 and 1 <= self.units <= 32):
            raise ValueError("expected layers and units from 1 to 32 and top from 1 to 16; 4, 12 and 9 are the defaults")

    def look(self, target: Target) -> Fold | None:
        """The maxima of every channel of the chosen layers. One forward of a blank image tells what their places see."""
        blank = torch.zeros(1, *target.input_shape, device=target.device)
        return Watch(receptive_fields(target.model, blank, target.choose("spatial", self.layers)), self.top)

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """Guided backprop of the units that are shown, on their strongest images."""
        return study_of(self.sheets(evidence, results))

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """About: a forward that ends at a layer counts by the calls before it."""
        calls = {call.name: call for call in target.trace}
        images, units = 0.0, 0
        for name in target.choose("spatial", self.layers):
            call = calls[name]
            channels = 0 if call.shape is None else call.shape[-1 if call.layout and call.layout.order != "first" else 1]
            images += min(self.units, channels) * (call.order + 1) / len(target.trace)
            units += channels
        return Cost(forwards=1.0, gradients=round(images * min(self.top, len(dataset)), 1), seconds=units * UNIT)

    def sheets(self, evidence: Evidence, results: Results) -> tuple[Sheet, ...]:
        """What the pass brought, layer by layer; empty where no image was seen."""
        watch = results.look
        return sheets(watch, evidence, most=self.units) if isinstance(watch, Watch) and watch.seen else ()

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Cut the patches out, and say what they have in common."""
        found = self.sheets(evidence, results)
        if not found:
            return Finding("not_applicable", "no image was seen")
        layers = [sheet.layer for sheet in found]
        classes, artifacts = layers[0].classes, dict[str, Array]()
        figures = [tables.overview(found), tables.odd_units(found)]
        if (sources := tables.by_source(found)) is not None:
            figures.append(sources)
        if classes is not None and classes.counts.max() > 1 and len(layers) > 1:
            figures.append(tables.depth(layers))
        for sheet in found if results.rows else ():
            figure, files = gallery(sheet, results.rows, evidence)
            figures.append(figure)
            artifacts |= files | raw.artifacts(sheet, results.rows)
        return Finding(
            "done",
            values=values(found),
            figures=tuple(figures),
            notes=told.notes(found),
            artifacts=artifacts,
            columns=behind(found, len(evidence.dataset)),
        )


def behind(found: Sequence[Sheet], samples: int) -> dict[str, Array]:
    """The images behind each layer's suspects: (samples,) in how many of them an image is strongest, NaN where in none."""
    columns: dict[str, Array] = {}
    for sheet in found:
        units = {f"marked_units.{sheet.layer.name}": [mark.unit for mark in sheet.marked]}
        units |= {f"one_source_units.{by.source.name}.{sheet.layer.name}": list(by.suspects) for by in sheet.sources}
        for name, numbers in units.items():
            column = np.full(samples, np.nan)
            for unit in numbers:
                positions = np.asarray(sheet.layer.positions(unit), dtype=np.int64)
                column[positions] = np.nan_to_num(column[positions]) + 1
            if numbers:
                columns[f"patches.{name}"] = column
    return columns


def values(found: Sequence[Sheet]) -> dict[str, Value]:
    """The figures by layer, those of sources by column and layer."""
    out: dict[str, Value] = {}
    for sheet in found:
        layer, count = sheet.layer, len(sheet.layer.entries)
        if layer.classes is not None:
            mean = tables.mean(layer.entropy)
            known = int(np.isfinite(layer.entropy).sum())
            out[f"class_entropy.{layer.name}"] = exact(float("nan") if mean is None else mean, "", n=known)
        for by in sheet.sources:
            mean, scope = tables.mean(by.entropy), f"{by.source.name}.{layer.name}"
            out[f"source_entropy.{scope}"] = exact(float("nan") if mean is None else mean, "", n=len(layer.full))
            out[f"one_source_units.{scope}"] = exact(float(len(by.suspects)), "units", n=len(layer.full))
        if layer.rectified:
            out[f"dead_units.{layer.name}"] = exact(layer.dead / count, "share", n=count)
        out[f"marked_units.{layer.name}"] = exact(float(len(sheet.marked)), "units", n=count)
    return out
