"""How much of an image each depth keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch

from auditor.bounds import exact
from auditor.errors import TargetError
from auditor.fold import Cost, Item, State, Study
from auditor.methods.inputs import seed_of
from auditor.methods.inversion import invert, psnr
from auditor.methods.unit import as_pixels, as_unit
from auditor.ops.truncate import truncated
from auditor.probe import Needs, Probe, Results
from auditor.types import Array, Figure, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from torch import Tensor

    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

FEATURES = "features"
"""Scope of the deepest place: what the classifier head is given."""

Side = Literal["output", "input"]
Place = tuple[str, str, Side]
"""(scope shown, layer of the model, which side of it)."""


@dataclass(frozen=True)
class Inversion(Probe):
    """Asks: How much of an image can be rebuilt from what each layer passes on?
    Formula: minimise |Phi(x) - Phi0|^2 / |Phi0|^2 + l_a |2x - 1|_6^6 / CHW + l_v TV^2(x) / C over x in [0,1] by Adam, from
    seeded noise. relative_error = |Phi(x) - Phi0| / |Phi0|; psnr = -10 log10 mean (x - x0)^2 in dB; means over the images.
    Read: Early layers give the image back almost as it was; with depth position, colour and texture go, and what stays is what
    the model works with. A high PSNR deep in the model means that its features leak the input: treat stored features as images.
    Misleads: A low PSNR means that this optimiser did not find the image, not that the layer forgot it: a trained decoder or
    more iterations may. Where the relative error is large the descent has not ended; it need not rise with depth.
    """

    title: ClassVar[str] = "Feature inversion"
    cites: ClassVar[tuple[str, ...]] = (
        "Mahendran, Vedaldi 2015, Understanding deep image representations by inverting them",
        "Johnson, Alahi, Fei-Fei 2016, Perceptual losses for real-time style transfer and super-resolution",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("relative_error", "Relative error", "", "none", "Distance of the rebuilt activation, over its length."),
        Measure("psnr", "PSNR", "dB", "none", "How close the rebuilt picture is to the image; 30 dB and more looks the same."),
    )
    needs: ClassVar[Needs] = Needs(pixels=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {
        "quick": {"images": 2, "iterations": 100},
        "standard": {"images": 4, "iterations": 200},
        "full": {"images": 4, "iterations": 600},
    }

    images: int = 4
    layers: int = 6
    iterations: int = 200
    rate: float = 0.05
    l_a: float = 1e-3
    l_v: float = 4e-4

    def __post_init__(self) -> None:
        if self.images < 1 or self.layers < 1 or self.iterations < 1:
            raise ValueError("expected images, layers and iterations >= 1; raise them")
        if self.rate <= 0 or self.l_a < 0 or self.l_v < 0:
            raise ValueError("expected rate > 0, l_a >= 0 and l_v >= 0; 0.05, 0.001 and 0.0004 are the defaults")

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """Layer by layer, all chosen images of a layer in one chunk."""
        positions = [int(p) for p in evidence.chosen(self.images)]
        known = places(target, self.layers)
        items = tuple((depth, position) for depth in range(len(known)) for position in positions)
        settings = {"iterations": self.iterations, "rate": self.rate, "l_a": self.l_a, "l_v": self.l_v}
        run = partial(work, known=known, settings=settings, seed=evidence.seed)
        return Study(items, run, len(positions)) if items else None

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """About: the forward ends at the layer, which lies at 60 % of the depth in the mean."""
        return Cost(gradients=0.6 * self.iterations * min(self.images, len(dataset)) * len(places(target, self.layers)))

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Means over the images, and the pictures in order of depth."""
        known, rows = places(target, self.layers), results.rows
        if not rows:
            return Finding("not_applicable", "it found no layer to invert, or no image")
        values: dict[str, Value] = {}
        error, close = [], []
        for depth, (scope, _, _) in enumerate(known):
            at = rows["depth"] == depth
            error.append(float(rows["error"][at].mean()))
            close.append(float(rows["psnr"][at].mean()))
            values[f"relative_error.{scope}"] = exact(error[-1], "", n=int(at.sum()))
            values[f"psnr.{scope}"] = exact(close[-1], "dB", n=int(at.sum()))
        names = [place[0] for place in known]
        note = f"From {names[0]} the images come back at {close[0]:.1f} dB, from {names[-1]} at {close[-1]:.1f} dB."
        figure, artifacts = pictures(rows, names, evidence)
        return Finding("done", values=values, figures=(figure, *depths(names, close, error)), notes=(note,), artifacts=artifacts)


def places(target: Target, count: int) -> tuple[Place, ...]:
    """At most `count` places in order of depth: spatial layers, any layers where none is spatial, then what the head is given."""
    chosen: tuple[str, ...] = ()
    if count > 1:
        chosen = tuple(target.choose("spatial", count - 1))
        if len(chosen) < 2:  # a transformer has one map, its patch embedding, and then tokens
            chosen = tuple(name for name in target.choose("any", count) if name != target.head)[-(count - 1) :] or chosen
    order = {call.name: call.order for call in target.trace}
    layers: list[Place] = [(name, name, "output") for name in sorted(dict.fromkeys(chosen), key=lambda name: order.get(name, 0))]
    return (*layers, (FEATURES, target.head, "input") if target.head else (FEATURES, "", "output"))


def activation(model: torch.nn.Module, place: Place, images: Tensor) -> Tensor:
    """The activation at a place, differentiable. Raises TargetError where it is not one tensor."""
    _, layer, side = place
    if layer:
        return truncated(model, images, layer, side=side)
    given = model(images)
    if not isinstance(given, torch.Tensor):
        raise TargetError(f"expected a tensor from the model, got {type(given).__name__}; wrap the model to give its features")
    return given


def work(
    target: Target, dataset: Dataset, items: Sequence[Item], *, known: tuple[Place, ...], settings: Mapping[str, Json], seed: int
) -> State:
    """Rows of items (depth, position): the picture (H,W,C) uint8, its relative error and its PSNR."""
    given = dataset.pixels([position for _, position in items])
    out: State = {
        "depth": np.array([depth for depth, _ in items], dtype=np.int64),
        "position": np.array([position for _, position in items], dtype=np.int64),
        "picture": np.zeros_like(given),
        "error": np.zeros(len(items)),
        "psnr": np.zeros(len(items)),
    }
    normalise = target.preprocess.normalise
    for depth in np.unique(out["depth"]):
        at = np.flatnonzero(out["depth"] == depth)
        place = known[int(depth)]
        images = as_unit(given[at], target.device)
        phi = partial(activation, target.model, place)
        with torch.no_grad():
            wanted = phi(normalise(images))
        seeds = [seed_of(seed, f"inversion:{place[0]}:{dataset.samples[int(p)].key}") for p in out["position"][at]]
        result = invert(phi, wanted, shape=images.shape[1:], normalise=normalise, seeds=seeds, **settings)
        out["picture"][at] = as_pixels(result.images)
        out["error"][at] = result.error.cpu().numpy()
        out["psnr"][at] = psnr(result.images, images).cpu().numpy()
    return out


def pictures(rows: State, names: list[str], evidence: Evidence) -> tuple[Figure, dict[str, Array]]:
    """Images down, depth across."""
    artifacts: dict[str, Array] = {}
    table = []
    positions = list(dict.fromkeys(int(p) for p in rows["position"]))
    for number, position in enumerate(positions):
        original = evidence.dataset.pixels([position])[0]
        suffix = "png" if max(original.shape[:2]) <= 64 else "jpg"
        artifacts[f"image-{number}.{suffix}"] = original
        cells: list[Json] = [{"file": f"image-{number}.{suffix}"}]
        for depth in range(len(names)):
            (row,) = np.flatnonzero((rows["position"] == position) & (rows["depth"] == depth))
            file = f"image-{number}-depth-{depth}.{suffix}"
            artifacts[file] = rows["picture"][row]
            note = f"relative error {rows['error'][row]:.3f}"
            cells.append({"file": file, "label": f"{rows['psnr'][row]:.1f} dB", "note": note})
        table.append({"label": evidence.dataset.samples[position].name, "sample": position, "cells": cells})
    caption = "The image, then what is rebuilt from each layer, shallow to deep, with its PSNR."
    data = {"columns": ["image", *names], "rows": table, "scale": "as they are, [0,1] to 8 bits"}
    return Figure("inversions", "gallery", "What each depth gives back", caption, data), artifacts


def depths(names: list[str], close: list[float], error: list[float]) -> tuple[Figure, ...]:
    """PSNR and relative error against depth: two figures, as they have two units."""
    figures = []
    for key, title, unit, y in (("psnr", "PSNR", "PSNR (dB)", close), ("error", "Relative error", "relative error", error)):
        series = [{"name": title, "x": list(range(len(names))), "y": y}]
        data = {"x_label": "layer, shallow to deep", "x_names": names, "y_label": unit, "series": series}
        figures.append(Figure(key, "lines", f"{title} against depth", "Mean over the images.", data))
    return tuple(figures)
