"""What of an image is texture to the model, depth by depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.bounds import exact, proportion
from auditor.fold import Cost, Item, State, Study
from auditor.methods.gram import TINY, phi_of, texture_layers
from auditor.methods.inputs import seed_of
from auditor.methods.taken import taken_for
from auditor.methods.texture import synthesise
from auditor.methods.unit import as_pixels, as_unit
from auditor.ops.colour import three
from auditor.ops.lbfgs import step_seconds
from auditor.ops.thumbnail import suffix
from auditor.probe import Needs, Probe, Results
from auditor.types import Array, Figure, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target


@dataclass(frozen=True)
class Texture(Probe):
    """Asks: What does each depth hold of an image once all places are forgotten, and is that enough for the class?
    Formula: G = F F^T / M of maps F (C,M) less the means of the image's own, and a constant channel beside them, so that means
    and covariance are met alike; E = sum (G - G')^2 / 4C^2 a layer. From seeded noise, at half the size first, by
    L-BFGS within [0,1] on the mean over the layers, up to the one shown, of E over that of G = 0 (|G - G'|^2 / |G'|^2).
    final_loss_ratio = E at the picture over E at the noise, of the deepest of its layers; mean over the images.
    Read: From shallow layers colours and strokes come back, from deeper ones parts of things, strewn about. class_kept says how
    often the model gives the last picture the class of its image, although every arrangement is gone: the higher, the less
    the model needs shape.
    Misleads: A ratio far from 0 means that the descent has not ended, not that the layer is hard. Patterns wider than the
    receptive field of the deepest layer cannot come back. Few images: the interval of class_kept is wide.
    """

    title: ClassVar[str] = "Texture by depth"
    cites: ClassVar[tuple[str, ...]] = (
        "Gatys, Ecker, Bethge 2015, Texture synthesis using convolutional neural networks",
        "Brendel, Bethge 2019, Approximating CNNs with bag-of-local-features models works surprisingly well on ImageNet",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "final_loss_ratio",
            "Final loss ratio",
            "",
            "none",
            "Gram loss after the synthesis over that of the noise before.",
            revision=2,
        ),
        Measure("class_kept", "Class kept by texture", "share", "none", "Share of images whose texture gets the image's class."),
    )
    needs: ClassVar[Needs] = Needs(convolutions=True, pixels=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {
        "quick": {"images": 1, "layers": 3, "evaluations": 60},
        "standard": {"images": 3, "evaluations": 120},
        "full": {"images": 8, "evaluations": 300},
    }

    images: int = 3
    sources: tuple[str, ...] = ()
    """Names of images in the data set; chosen over the classes where empty."""
    layers: int = 5
    evaluations: int = 120
    growth: float = 1.0
    """Side of the picture over that of its image; a model for one size of input takes 1 alone."""

    def __post_init__(self) -> None:
        if self.images < 1 or self.layers < 1 or self.evaluations < 1 or self.growth <= 0:
            raise ValueError("expected images, layers, evaluations >= 1 and growth > 0; raise them")

    def positions(self, evidence: Evidence) -> list[int]:
        """The named images, or the chosen ones. Raises ValueError for a name that the data set does not have."""
        if not self.sources:
            return [int(p) for p in evidence.chosen(self.images)]
        place = {sample.name: i for i, sample in enumerate(evidence.dataset.samples)}
        missing = [name for name in self.sources if name not in place]
        if missing:
            raise ValueError(
                f"sources: expected names of images in the data set, got {missing[0]!r}; the first is {next(iter(place))!r}"
            )
        return [place[name] for name in self.sources]

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """One synthesis an item (depth, position)."""
        layers = texture_layers(target, self.layers)
        items = tuple((depth, p) for p in self.positions(evidence) for depth in range(len(layers)))
        run = partial(work, layers=layers, evaluations=self.evaluations, growth=self.growth, seed=evidence.seed)
        return Study(items, run, 1) if items else None

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """The forward ends at the deepest layer of each synthesis; the coarse start is a quarter of the work."""
        order = {call.name: call.order for call in target.trace}
        part = sum((order[layer] + 1) / len(target.trace) for layer in texture_layers(target, self.layers))
        count = len(self.sources) or min(self.images, len(dataset))
        steps = len(texture_layers(target, self.layers)) * count * self.evaluations
        own = 1.25 * self.growth**2 * steps * step_seconds(target.input_shape)
        return Cost(2.0 * count, 1.25 * part * count * self.evaluations * self.growth**2, 1.0, own)

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Means over the images, and the pictures in order of depth."""
        rows, layers = results.rows, texture_layers(target, self.layers)
        if not rows:
            return Finding("not_applicable", "it found no layer with maps, or no image")
        values: dict[str, Value] = {}
        ratios = []
        for depth, layer in enumerate(layers):
            at = rows["depth"] == depth
            ratios.append(float(rows["ratio"][at].mean()))
            values[f"final_loss_ratio.{layer}"] = exact(ratios[-1], "", n=int(at.sum()))
        last = rows["depth"] == len(layers) - 1
        notes = [f"The Gram loss fell to {ratios[0]:.2g} of the noise's at {layers[0]}, to {ratios[-1]:.2g} at {layers[-1]}."]
        if evidence.predictions is not None:
            kept, of = int((rows["after"] == rows["before"])[last].sum()), int(last.sum())
            values["class_kept"] = proportion(kept, of)
            notes.append(f"The texture of {kept} of {of} images, up to {layers[-1]}, gets the class of its image.")
        figure, artifacts = pictures(rows, layers, evidence)
        return Finding(
            "done", values=values, figures=(figure, against_depth(layers, ratios)), notes=tuple(notes), artifacts=artifacts
        )


def work(
    target: Target,
    dataset: Dataset,
    items: Sequence[Item],
    *,
    layers: tuple[str, ...],
    evaluations: int,
    growth: float,
    seed: int,
) -> State:
    """Rows of items (depth, position): the picture, its loss ratio at its deepest layer, the classes before and after (or -1)."""
    found: list[dict[str, Array]] = []
    for depth, position in items:
        source = as_unit(dataset.pixels([position]), target.device)[0]
        size = (round(source.shape[1] * growth), round(source.shape[2] * growth))
        phi = phi_of(target, layers[: depth + 1])
        own = seed_of(seed, f"texture:{dataset.samples[position].key}")
        made = synthesise(phi, source, size=size, evaluations=evaluations, seed=own)
        told = [taken_for(target, picture[None])["own_class"][0] for picture in (source, made.picture)]
        ratio = float(made.share[-1] / made.begin[-1].clamp_min(TINY))
        found.append(
            {
                "depth": np.array(depth), "position": np.array(position), "ratio": np.array(ratio),
                "picture": as_pixels(made.picture[None])[0],
                "before": told[0], "after": told[1],
            }
        )  # fmt: skip
    return {name: np.stack([row[name] for row in found]) for name in found[0]}


def pictures(rows: State, layers: Sequence[str], evidence: Evidence) -> tuple[Figure, dict[str, Array]]:
    """Images down, depth across."""
    artifacts: dict[str, Array] = {}
    table: list[Json] = []
    for number, position in enumerate(dict.fromkeys(rows["position"].tolist())):
        image = evidence.dataset.pixels([position])[0]
        kind = suffix(image)
        artifacts[f"image-{number}.{kind}"] = three(image)
        cells: list[Json] = [
            {"file": f"image-{number}.{kind}", "label": name_of(evidence, int(rows["before"][rows["position"] == position][0]))}
        ]
        for depth in range(len(layers)):
            (row,) = np.flatnonzero((rows["position"] == position) & (rows["depth"] == depth))
            file = f"image-{number}-depth-{depth}.{kind}"
            artifacts[file] = three(rows["picture"][row])
            cells.append(
                {
                    "file": file,
                    "label": name_of(evidence, int(rows["after"][row])),
                    "note": f"loss ratio {rows['ratio'][row]:.2g}",
                }
            )
        table.append({"label": evidence.dataset.samples[position].name, "sample": position, "cells": cells})
    said_so = "" if evidence.predictions is None else " Under each: the class that the model gives it."
    caption = (
        f"The image, then a picture with its Gram matrices at the layers up to the one named, and nothing else of it.{said_so}"
    )
    data = {"columns": ["image", *(f"up to {layer}" for layer in layers)], "rows": table, "scale": "as they are, [0,1] to 8 bits"}
    return Figure("textures", "gallery", "Texture, depth by depth", caption, data), artifacts


def name_of(evidence: Evidence, number: int) -> str:
    """A class in words; "" for none."""
    return evidence.names[number] if number >= 0 else ""


def against_depth(layers: Sequence[str], ratios: Sequence[float]) -> Figure:
    """The final loss ratio against depth."""
    series = [{"name": "final loss ratio", "x": list(range(len(layers))), "y": list(ratios)}]
    data = {
        "x_label": "deepest layer, shallow to deep",
        "x_names": list(layers),
        "y_label": "Gram loss over the noise's",
        "series": series,
    }
    return Figure("ratio", "lines", "How near the synthesis came", "Mean over the images, of the deepest layer.", data)
