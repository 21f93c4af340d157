"""How a style net is trained: on the audited images, by the target's own features, with the losses of `auditor.methods.style`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from auditor.lesson import Lesson
from auditor.methods.faststyle.network import StyleNet, one_hot
from auditor.methods.gram import TINY, Phi, phi_of, takes, wide
from auditor.methods.style import Aim, Layers, Weights, blended, loss_of, scaled, style_layers
from auditor.methods.unit import unit_images
from auditor.ops.lean import layout_on
from auditor.ops.resize import resized
from auditor.types import Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.target import Target

NAME = "style"
BETAS = (0.9, 0.99)
FALL = 0.7
"""The last share of the steps, in which the rate falls to 0."""
OWN_RATE = 30.0
"""Times the rate, for gains and offsets: they are of the size of 1, the weights are small."""
LEAST = 0.75
"""Sides of the cut-outs that it is shown, over those of an image, at least."""


@dataclass(frozen=True)
class Wanted:
    """How a style net is trained."""

    steps: int = 2000
    """With the first styles, all weights."""
    new_steps: int = 200
    """With the styles that come later, whose gains and offsets alone are trained; no step where there are none."""
    new: int = 0
    """How many of the styles come later: the last ones."""
    batch: int = 2
    rate: float = 5e-4
    side: int = 128
    """Longer side of the pictures it is trained on, at most."""
    width: int = 16
    blocks: int = 4

    @property
    def whole(self) -> int:
        """Steps in all."""
        return self.steps + (self.new_steps if self.new else 0)


@dataclass(frozen=True)
class Setting:
    """What is the same for optimisation and for the net: the losses, the layers, the size."""

    names: tuple[str, ...]
    """Layers of the target, shallow to deep."""
    layers: Layers
    weights: Weights
    size: tuple[int, int]
    """(h,w) of the pictures."""
    style_scale: float = 1.0

    def phi(self, target: Target) -> Phi:
        """Maps of the target at the layers."""
        return phi_of(target, self.names)

    def grams(self, phi: Phi, styles: Sequence[Tensor], blend: Sequence[float] | None = None) -> tuple[Tensor, ...]:
        """(1,c,c) a style layer: the blend of styles (C,h,w)."""
        return blended(phi, self.layers, [scaled(s, self.size, self.style_scale) for s in styles], blend)


def setting_of(target: Target, side: int, count: int, weights: Weights, style_scale: float = 1.0) -> Setting:
    """At most `count` layers, and pictures with a longer side of `side`, where the model takes that; of its own size else.

    The layer of the content is the deepest: pictures as small as these have but a few positions deeper, whose Gram matrices
    optimisation meets with noise that nobody sees.
    """
    names, layers = style_layers(target, count)
    names, layers = names[: layers.content + 1], Layers(layers.style[: layers.content + 1], layers.content)
    own = target.input_shape[1:]
    share = min(1.0, side / max(own))
    size = max(1, round(own[0] * share)), max(1, round(own[1] * share))
    if size != own and not takes(phi_of(target, names), target.input_shape[0], size, target.device):
        size = (own[0], own[1])
    return Setting(names, layers, weights, size, style_scale)


def style_lesson(wanted: Wanted, setting: Setting, styles: Sequence[Tensor], positions: Array) -> Lesson:
    """What is to be trained: `styles` (C,h,w) in [0,1] on the images at `positions`."""
    whole = hashlib.sha256()
    for style in styles:
        whole.update(str(tuple(style.shape)).encode() + style.cpu().numpy().tobytes())
    settings = {
        **vars(wanted),
        "styles": whole.hexdigest(),
        "images": hashlib.sha256(np.asarray(positions, dtype=np.int64).tobytes()).hexdigest(),
        "weights": list(vars(setting.weights).values()),
        "layers": [list(setting.names), setting.layers.content],
        "size": list(setting.size),
        "style_scale": setting.style_scale,
    }
    start = partial(Painter, wanted=wanted, setting=setting, styles=tuple(styles), positions=positions)
    return Lesson(NAME, settings, wanted.whole, start)


class Painter:
    """Minimises the loss of `auditor.methods.style` over cut-outs of the images, each in the next of the styles, by Adam.

    What descends is the mean of the logarithms: with the mean of the losses, a few images far from a style drown the others.
    First all weights for the first styles; then, for styles that come later, their gains and offsets alone: the rows of the
    others have no slope, so Adam leaves them as they are.
    """

    def __init__(
        self, target: Target, dataset: Dataset, _seed: int, *, wanted: Wanted, setting: Setting, styles: tuple[Tensor, ...],
        positions: Array,
    ) -> None:  # fmt: skip
        self.target, self.dataset, self.wanted, self.setting = target, dataset, wanted, setting
        self.positions = np.asarray(positions, dtype=np.int64)
        self.first = list(range(len(styles) - wanted.new))
        self.later = list(range(len(styles) - wanted.new, len(styles)))
        self.phi = setting.phi(target)
        grams = [setting.grams(self.phi, [style]) for style in styles]
        self.grams = tuple(torch.cat(layer) for layer in zip(*grams, strict=True))
        net = StyleNet(target.input_shape[0], len(styles), wanted.width, wanted.blocks).to(target.device)
        self.layout = layout_on(target.device)
        self.net = net.to(memory_format=self.layout)
        self.module: nn.Module = self.net.train()
        self.phase = 0
        self.optimiser = self.optimiser_of(0)

    def optimiser_of(self, phase: int) -> torch.optim.Adam:
        """Of all weights first, of what belongs to the styles then."""
        own = [held for norm in self.net.norms() for held in (norm.gamma, norm.beta)]
        names = {id(held) for held in own}
        shared = [held for held in self.net.parameters() if id(held) not in names]
        groups = [{"params": own, "times": OWN_RATE}, {"params": shared, "times": 1.0}]
        return torch.optim.Adam(groups[: 1 if phase else 2], self.wanted.rate, betas=BETAS)

    def step(self, index: int) -> float:
        """One batch of cut-outs, drawn with replacement."""
        wanted = self.wanted
        if index >= wanted.steps and self.phase == 0:
            self.phase, self.optimiser = 1, self.optimiser_of(1)
            self.net.begin_styles(self.first, self.later)
        among = self.first if self.phase == 0 else self.later
        done, of = (index, wanted.steps) if self.phase == 0 else (index - wanted.steps, wanted.new_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = group["times"] * wanted.rate * min(1.0, (1 - done / of) / FALL)
        images = self.images()
        which = [among[(done * wanted.batch + i) % len(among)] for i in range(wanted.batch)]
        with torch.no_grad():
            maps = wide(self.phi(images)[self.setting.layers.content])
        aim = Aim(maps, tuple(held[which] for held in self.grams))
        self.optimiser.zero_grad()
        with torch.enable_grad():
            made = self.net(images, one_hot(self.net.styles, which, images))
            losses = loss_of(self.phi, self.setting.layers, aim, self.setting.weights)(made)
            losses.clamp_min(TINY).log().mean().backward()
        self.optimiser.step()
        return float(losses.detach().mean())

    def images(self) -> Tensor:
        """(batch,C,h,w) cut-outs of LEAST of an image and more, mirrored or not."""
        drawn = self.positions[torch.randint(len(self.positions), (self.wanted.batch,)).numpy()]
        whole = unit_images(self.dataset, drawn, self.target.device)
        cut = torch.cat([cut_out(image[None], self.setting.size) for image in whole])
        return cut.contiguous(memory_format=self.layout)

    def save(self) -> dict[str, Any]:
        """Net, optimiser, and which of the two it is."""
        return {"net": self.module.state_dict(), "optimiser": self.optimiser.state_dict(), "phase": self.phase}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.phase = int(state["phase"])
        self.optimiser = self.optimiser_of(self.phase)
        self.module.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])


def cut_out(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(1,C,*size) of an image (1,C,H,W): a part drawn at random."""
    high, across = image.shape[2:]
    share = LEAST + (1 - LEAST) * float(torch.rand(()))
    part = max(1, round(high * share)), max(1, round(across * share))
    top, left = (int(torch.randint(whole - own + 1, ())) for whole, own in zip((high, across), part, strict=True))
    cut = image[:, :, top : top + part[0], left : left + part[1]]
    if float(torch.rand(())) < 0.5:
        cut = cut.flip(3)
    return resized(cut, size) if part != size else cut
