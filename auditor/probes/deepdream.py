"""Probe `deepdream`: what each depth sees in a picture, and more of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from auditor.bounds import statistic
from auditor.fold import Cost, Item, State, Study
from auditor.methods.ascent import OPERATIONS, Space
from auditor.methods.deepdream import SCALE, deepdream, sides
from auditor.methods.inputs import seed_of
from auditor.methods.unit import as_pixels, unit_images
from auditor.ops.colour import is_small, thinned, three
from auditor.ops.columns import spread_out
from auditor.probe import Needs, Probe, Results
from auditor.types import Array, Figure, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

NOISE = -1
"""The position of an item that starts from noise."""
DEVIATION = 0.1
"""Of that noise about the mean colour."""
TOP = 3
"""Classes named before and after."""

LITTLE = 0.01
"""Below this share of the probability no layer is said to move most."""


@dataclass(frozen=True)
class Deepdream(Probe):
    """Asks: What does each depth see in a picture, when whatever it sees there is made stronger?
    Formula: ascent on 1/2 |a|^2 of a layer, whose gradient at the layer is its activation a: x + 1.5/255 g / mean|g|, rolled by
    up to 32 px before each step and back, clipped to [0,1]; 10 steps in each of 4 octaves, each 1.4 times larger than the one
    before. drift = 1/2 sum_k |p_k(dream) - p_k(image)|, the mean over the images, by layer.
    Read: Shallow layers bring out strokes and textures, deep ones parts of what the model was trained on. What comes out of
    any picture, or out of noise, is what the model sees most readily: motifs of one class, a watermark or a background in all
    dreams show what the data were full of.
    Misleads: Dreams show what is made stronger, not what decides. The drift says how far the scores follow the picture, which is
    no robustness: the change is large and visible. Small octaves are missing for models that take one size of image alone.
    """

    title: ClassVar[str] = "DeepDream"
    cites: ClassVar[tuple[str, ...]] = ("Mordvintsev, Olah, Tyka 2015, Inceptionism: going deeper into neural networks",)
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("drift", "Drift of the classes", "share", "none", "Share of the probability that moves to other classes."),
    )
    needs: ClassVar[Needs] = Needs(pixels=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json] | None]] = {"quick": None, "standard": None, "full": {}}

    images: int = 4
    layers: int = 4
    noise: bool = True
    """A dream from noise beside those from images."""
    iterations: int = 10
    octaves: int = 4

    def __post_init__(self) -> None:
        if min(self.images, self.iterations) < 0 or min(self.layers, self.octaves) < 1 or self.images + self.noise < 1:
            raise ValueError(
                "expected an image or noise, layers and octaves >= 1, iterations >= 0; 4, 4, 4 and 10 are the defaults"
            )

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """Layer by layer, all starts of a layer in one chunk."""
        layers = places(target, self.layers)
        starts = [int(p) for p in evidence.chosen(self.images)] + [NOISE] * self.noise
        items = tuple((number, start) for number in range(len(layers)) for start in starts)
        work = partial(dreamt, layers=layers, iterations=self.iterations, octaves=self.octaves, seed=evidence.seed)
        return Study(items, work, len(starts)) if items else None

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """About: a forward ends at its layer, at 60 % of the depth in the mean; octaves cost by their area."""
        full = (target.input_shape[1], target.input_shape[2])
        areas = sum(high * wide for high, wide in sides(full, self.octaves, SCALE)) / (full[0] * full[1])
        dreams = (min(self.images, len(dataset)) + self.noise) * len(places(target, self.layers))
        return Cost(
            forwards=round(dreams * (2.0 + 0.6 * areas)),
            gradients=round(0.6 * self.iterations * areas * dreams),
            operations=OPERATIONS,
        )

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """How far the classes drift, and the dreams in order of depth."""
        rows, layers = results.rows, places(target, self.layers)
        if not rows:
            return Finding("not_applicable", "it found no layer to dream at, or no image")
        figures, artifacts = pictures(rows, layers, evidence)
        columns: dict[str, Array] = {}
        values: dict[str, Value] = {}
        notes: list[str] = []
        if target.task == "classification":
            for number, layer in enumerate(layers):
                mine = (rows["layer"] == number) & (rows["start"] != NOISE)
                if not mine.any():
                    continue
                column = spread_out(rows["drift"][mine], rows["start"][mine], len(evidence.dataset))
                columns[f"deepdream.drift.{layer}"] = column
                values[f"drift.{layer}"] = statistic(
                    "mean", {f"deepdream.drift.{layer}": column}, unit="share", seed=evidence.seed
                )
            figures = (*figures, table(rows, layers, evidence))
            notes = said(rows, layers)
        return Finding("done", values=values, figures=figures, notes=tuple(notes), artifacts=artifacts, columns=columns)


def places(target: Target, count: int) -> tuple[str, ...]:
    """At most `count` layers in order of depth: those with maps, or any where there are none."""
    found = target.choose("spatial", count)
    return found or tuple(name for name in target.choose("any", count + 1) if name != target.head)[:count]


def dreamt(
    target: Target, dataset: Dataset, items: Sequence[Item], *, layers: tuple[str, ...], iterations: int, octaves: int, seed: int
) -> State:
    """Rows of items (layer number, position or NOISE)."""
    space = Space.of(target.preprocess, target.input_shape[1:], target.device)
    starts = torch.stack([begin(dataset, item[1], space, seed) for item in items])
    dreams = torch.zeros_like(starts)
    for number in sorted({item[0] for item in items}):
        at = [i for i, item in enumerate(items) if item[0] == number]
        seeds = [seed_of(seed, f"deepdream:{layers[number]}:{key_of(dataset, items[i][1])}") for i in at]
        dreams[at] = deepdream(
            target.model, layers[number], starts[at], space, seeds=seeds, iterations=iterations, octaves=octaves
        )
    return {
        "layer": np.array([item[0] for item in items], np.int64),
        "start": np.array([item[1] for item in items], np.int64),
        "begin": as_pixels(starts),
        "picture": as_pixels(dreams),
        **drifted(target, starts, dreams, space),
    }


def key_of(dataset: Dataset, position: int) -> str:
    """What names a start."""
    return "noise" if position == NOISE else dataset.samples[position].key


def begin(dataset: Dataset, position: int, space: Space, seed: int) -> Tensor:
    """(C,H,W) in [0,1]: an image, or noise about the mean colour."""
    if position != NOISE:
        return unit_images(dataset, [position], space.device)[0]
    noise = torch.randn(space.shape, generator=torch.Generator().manual_seed(seed_of(seed, "deepdream:noise")))
    return (space.centre + DEVIATION * space.drawn(noise)).clamp(0.0, 1.0)


def drifted(target: Target, starts: Tensor, dreams: Tensor, space: Space) -> State:
    """The TOP classes before and after with their probabilities, and the share of the probability that moved."""
    count, top = len(starts), min(TOP, max(target.outputs, 1))
    out: State = {"drift": np.full(count, np.nan)}
    for name in ("before", "after"):
        out |= {name: np.full((count, top), -1, np.int64), f"{name}_share": np.zeros((count, top))}
    for i in range(count if target.task == "classification" else 0):
        with torch.no_grad():
            pair = [target.module(space.normalise(x[i : i + 1])).float().softmax(1)[0] for x in (starts, dreams)]
        out["drift"][i] = float((pair[0] - pair[1]).abs().sum()) / 2
        for name, shares in zip(("before", "after"), pair, strict=True):
            best = shares.topk(top)
            out[name][i], out[f"{name}_share"][i] = best.indices.cpu().numpy(), best.values.cpu().numpy()
    return out


def pictures(rows: State, layers: Sequence[str], evidence: Evidence) -> tuple[tuple[Figure, ...], dict[str, Array]]:
    """Starts down, depth across."""
    small = is_small(rows["picture"].shape[1:3])
    kind = "png" if small else "jpg"
    artifacts: dict[str, Array] = {}
    lines: list[Json] = []
    for place, start in enumerate(dict.fromkeys(int(s) for s in rows["start"])):
        at = np.flatnonzero(rows["start"] == start)
        name = "noise" if start == NOISE else evidence.dataset.samples[start].name
        artifacts[f"start-{place}.{kind}"] = thinned(three(rows["begin"][at[0]]))
        cells: list[Json] = [{"file": f"start-{place}.{kind}", "label": named(rows, int(at[0]), "before", evidence)}]
        for i in at:
            file = f"start-{place}-layer-{rows['layer'][i]}.{kind}"
            artifacts[file] = thinned(three(rows["picture"][i]))
            cells.append({"file": file, "label": named(rows, int(i), "after", evidence)})
        lines.append({"label": name, "sample": None if start == NOISE else start, "cells": cells})
    data = {"columns": ["start", *layers], "rows": lines, "scale": "as they are, [0,1] to 8 bits", "pixelated": small}
    caption = "The start, then what each layer makes of it, shallow to deep; below each the class that the model sees."
    return (Figure("dreams", "gallery", "What each depth sees", caption, data),), artifacts


def named(rows: State, i: int, when: str, evidence: Evidence) -> str:
    """The top class of a row with its probability; nothing without classes."""
    best = int(rows[when][i, 0])
    return "" if best < 0 else f"{evidence.names[best]}, {rows[f'{when}_share'][i, 0]:.0%}"


def table(rows: State, layers: Sequence[str], evidence: Evidence) -> Figure:
    """The top classes before and after, a row a dream."""
    keys = (("start", "start"), ("layer", "layer"), ("before", "top classes before"), ("after", "top classes after"))
    columns: list[Json] = [{"key": key, "label": label, "format": "text"} for key, label in keys]
    columns.append({"key": "drift", "label": "drift", "format": "percent"})
    lines = []
    for i in range(len(rows["layer"])):
        start = int(rows["start"][i])
        line: dict[str, Json] = {"start": "noise" if start == NOISE else evidence.dataset.samples[start].name}
        line |= {"layer": layers[int(rows["layer"][i])], "drift": float(rows["drift"][i])}
        for when in ("before", "after"):
            pairs = zip(rows[when][i], rows[f"{when}_share"][i], strict=True)
            line[when] = ", ".join(f"{evidence.names[int(k)]} ({share:.0%})" for k, share in pairs)
        lines.append(line)
    return Figure("drift", "table", "Drift of the top classes", "", {"columns": columns, "rows": lines})


def said(rows: State, layers: Sequence[str]) -> list[str]:
    """Where the top class moves least and most."""
    images = rows["start"] != NOISE
    found = []
    for number, layer in enumerate(layers):
        mine = images & (rows["layer"] == number)
        kept = int((rows["before"][mine, 0] == rows["after"][mine, 0]).sum())
        if mine.any():
            found.append(
                (float(rows["drift"][mine].mean()), f"{layer} ({kept} of {int(mine.sum())} images keep their top class)")
            )
    if not found:
        return []
    low, high = min(found), max(found)
    if high[0] < LITTLE:
        return [f"No dream of an image moves more than {high[0]:.2%} of the probability on average: the classes stand."]
    if low == high:
        return [f"Dreams at {low[1]} move {low[0]:.0%} of the probability."]
    return [f"Dreams at {high[1]} move most of the probability, {high[0]:.0%}; those at {low[1]} least, {low[0]:.0%}."]
