"""Training the generator: the inverse of a target's penultimate features, on the audited images (Dosovitskiy & Brox 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from auditor.lesson import Lesson
from auditor.methods.generator.network import UpConv, output_size
from auditor.methods.gram import watched
from auditor.methods.unit import unit_images
from auditor.ops.resize import resized
from auditor.target.model import pooled
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.target import Target

NAME = "inverse"
BETAS = (0.9, 0.99)
LAYERS = 2
"""Layers whose maps are matched beside the features."""
SCALED = 512
"""Images that the scales of the losses, and the mean image, are taken from, at most."""
TINY = 1e-8


@dataclass(frozen=True)
class Wanted:
    """How a generator is trained."""

    steps: int = 1000
    batch: int = 16
    rate: float = 1e-3
    width: int = 16
    """Channels of its finest maps."""
    most: int = 96
    """Largest side of its images; inputs that are larger get them enlarged."""
    matching: float = 0.3
    """Weight of each layer that is matched, where that of the pixels is 1."""


def inverse_lesson(wanted: Wanted, features: Array, positions: Array, held_out: int) -> Lesson:
    """What is to be trained: on the images at `positions`, whose penultimate features are rows of `features` (N,D).

    `positions` follow from the data set, the seed and `held_out`, the images kept back, so these name the net.
    """
    settings = {**vars(wanted), "held_out": held_out, "layers": LAYERS, "betas": list(BETAS)}
    del settings["steps"]
    start = partial(Inverse, wanted=wanted, features=features, positions=positions)
    return Lesson(NAME, settings, wanted.steps, start)


class Inverse:
    """Minimises |G(c) - x|^2 / |m - x|^2 + matching * sum_l |phi_l(G(c)) - phi_l(x)|^2 / |phi_l(x)|^2 over codes c of images x.

    m is the mean image; the sums run over a batch for the layers, and over the data for the pixels. phi are maps of some layers,
    and the features themselves: without them the generator gives blurs that the target does not take for what they came from.
    By Adam, its rate falling to 0 in equal steps.
    """

    def __init__(
        self, target: Target, dataset: Dataset, _seed: int, *, wanted: Wanted, features: Array, positions: Array
    ) -> None:
        self.target, self.dataset, self.wanted = target, dataset, wanted
        self.features, self.positions = features, np.asarray(positions, dtype=np.int64)
        self.layers = matched_layers(target)
        size = output_size(target.input_shape, wanted.most)
        codes = torch.from_numpy(np.asarray(features[self.positions], dtype=np.float32))
        self.net = UpConv(codes.shape[1], target.input_shape[0], size, wanted.width).to(target.device)
        self.module: nn.Module = self.net
        self.net.centre.copy_(codes.mean(0))
        self.net.spread.copy_((codes - codes.mean(0)).square().mean().sqrt().clamp_min(TINY))
        some = self.positions[:SCALED]
        total = squared = torch.zeros((), dtype=torch.float64, device=target.device)
        for position in some:
            image = self.images([int(position)])[0].double()
            total, squared = total + image, squared + image.square()
        mean = total / len(some)
        self.variance = float((squared / len(some) - mean.square()).mean().clamp_min(TINY))
        self.net.average.copy_(mean.clamp(0.0, 1.0))
        self.module.train()
        self.optimiser = torch.optim.Adam(self.module.parameters(), wanted.rate, betas=BETAS)

    def images(self, positions: Sequence[int]) -> Tensor:
        """(n,C,h,w) in [0,1] at the generator's size."""
        return resized(unit_images(self.dataset, positions, self.target.device), self.net.average.shape[1:])

    def step(self, index: int) -> float:
        """One batch, drawn with replacement."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.wanted.rate * (1 - index / self.wanted.steps)
        drawn = self.positions[torch.randint(len(self.positions), (self.wanted.batch,)).numpy()]
        whole = unit_images(self.dataset, drawn, self.target.device)
        codes = torch.from_numpy(np.asarray(self.features[drawn], dtype=np.float32)).to(self.target.device)
        with torch.enable_grad():
            made = self.module(codes)
            loss = (made - resized(whole, made.shape[2:])).square().mean() / self.variance
            if self.wanted.matching > 0:
                with torch.no_grad():
                    given = seen(self.target, whole, self.layers)
                found = seen(self.target, resized(made, whole.shape[2:]), self.layers)
                loss = loss + self.wanted.matching * sum(share(a, b) for a, b in zip(found, given, strict=True))
            self.optimiser.zero_grad()
            loss.backward()
        self.optimiser.step()
        return float(loss.detach())

    def save(self) -> dict[str, Any]:
        """Net and optimiser."""
        return {"net": self.module.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.module.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])


def matched_layers(target: Target) -> tuple[str, ...]:
    """The layers that are matched: the deepest maps are left out, as the features follow from them."""
    found = target.choose("spatial", LAYERS + 1)
    return found[:-1] if len(found) > 1 else found


def seen(target: Target, images: Tensor, layers: Sequence[str]) -> tuple[Tensor, ...]:
    """The maps of `layers`, and the features (n,D) behind them, of images (n,C,H,W) in [0,1]; differentiable."""
    light, given = target.light.model, target.light.prepared(target.preprocess.normalise(images))
    if target.head:
        found = watched(light, given, layers, before=target.head)
    else:
        found = watched(light, given, (*layers, ""))
    conv = target.kind_of_head() == "Conv2d" if target.head else found[-1].ndim == 4
    return (*found[:-1], pooled(found[-1], conv=conv))


def share(found: Tensor, wanted: Tensor) -> Tensor:
    """() |found - wanted|^2 / |wanted|^2 over a batch."""
    return (found.float() - wanted.float()).square().mean() / wanted.float().square().mean().clamp_min(TINY)
