"""Signs that gradients are masked, so that attacks which follow them prove nothing (Athalye 2018, Carlini 2019, Croce 2022).

Each sign is looked for on single images, with the model as it stands; what it takes to raise a flag stands in `flags`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn

from auditor.methods.attacks.apgd import apgd
from auditor.methods.attacks.victim import Images, Rise, climb, cross_entropy, look
from auditor.types import Array

WEAK = "void: masking suspected: PGD weaker than FGSM"
RANDOM = "void: masking suspected: the forward is random"
OPTIMISES = "void: masking suspected: the forward follows gradients of its own"

STRIDE = 0.25 / 255
"""Of the finite differences: a quarter of one 8-bit level."""
UNTRUE = 0.5
"""Relative error of the slope beyond which it does not tell how the scores change."""
WIDE = 0.5
"""A change that can make any image grey: nothing stands it."""
SEARCH = 20
"""Steps of that attack."""
SHARE = 0.05
"""Of images that stand the wide attack, beyond which it is no accident."""


@dataclass(frozen=True)
class Signs:
    """(n,) bool each, of images that the model has right; False for the others."""

    silent: Tensor
    """The loss has no slope in any pixel."""
    saturated: Tensor
    """The loss has lost its slope in pixels where the margin still has one: the softmax is 0 or 1 to all digits."""
    untrue: Tensor
    """Finite differences of the margin are not what its slope says."""
    unbroken: Tensor
    """It stands an attack that could make it grey."""
    random: Tensor
    """Two forwards of it differ."""
    optimises: Tensor
    """The forward runs a backward of its own."""


def signs(model: nn.Module, images: Tensor, labels: Tensor, *, normalise: Images, batch: int = 0) -> Signs:
    """The signs of images (n,C,H,W) in [0,1]; about 8 forwards and up to 23 gradients an image, 5 where it breaks soon."""
    slope, _, scores = climb(model, images, cross_entropy(labels), normalise, batch)
    right = scores.argmax(1) == labels
    rival = scores.scatter(1, labels[:, None], -torch.inf).argmax(1)
    margin_slope, _, _ = climb(model, images, margin_to(labels, rival), normalise, batch)
    still, still_margin = ((s.flatten(1) == 0).double().mean(1) for s in (slope, margin_slope))
    again = look(model, images, normalise, batch)
    spread = (scores.amax(1) - scores.amin(1)).clamp_min(1e-12)
    differs = (again - scores).abs().amax(1) > 1e-3 * spread
    stands = torch.zeros_like(right)
    at = torch.nonzero(right)[:, 0]
    stands[at] = ~apgd(model, images[at], labels[at], WIDE, normalise=normalise, steps=SEARCH, batch=batch).fallen
    return Signs(
        silent=(still == 1) & right,
        saturated=(still - still_margin > 0.1) & right,
        untrue=untrue(model, images, labels, rival, normalise=normalise, batch=batch) & right,
        unbroken=stands & right,
        random=differs,
        optimises=torch.full_like(right, follows_gradients(model, images[:1], normalise)),
    )


def margin_to(labels: Tensor, rival: Tensor) -> Rise:
    """The score of the label minus that of one other class."""

    def rise(scores: Tensor, rows: Tensor) -> Tensor:
        own, other = (scores.gather(1, classes[rows][:, None])[:, 0] for classes in (labels, rival))
        return own - other

    return rise


def untrue(model: nn.Module, images: Tensor, labels: Tensor, rival: Tensor, *, normalise: Images, batch: int = 0) -> Tensor:
    """(n,) bool: along the slope's sign and two random signs, the median relative error of the slope is above UNTRUE."""
    rise = margin_to(labels, rival)
    places = torch.arange(len(images), device=images.device)
    base = images.clamp(STRIDE, 1 - STRIDE)
    slope, _, _ = climb(model, base, rise, normalise, batch)
    draws = torch.Generator().manual_seed(0)
    ways = [slope.sign()] + [(torch.rand(images.shape[1:], generator=draws) < 0.5).to(images)[None] * 2 - 1 for _ in range(2)]
    errors = []
    for way in ways:
        up, down = (rise(look(model, base + s * STRIDE * way, normalise, batch), places) for s in (1, -1))
        measured, said = (up - down).double() / (2 * STRIDE), (slope * way).double().flatten(1).sum(1)
        larger = torch.maximum(measured.abs(), said.abs())
        errors.append(torch.where(larger > 0, (measured - said).abs() / larger.clamp_min(1e-12), 0.0))
    return torch.stack(errors).median(0).values > UNTRUE


def follows_gradients(model: nn.Module, images: Tensor, normalise: Images) -> bool:
    """Whether a forward without gradients runs a backward inside: it unpacks what a graph of its own has kept."""
    unpacked: list[bool] = []

    def unpack(kept: Tensor) -> Tensor:
        unpacked.append(True)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(lambda kept: kept, unpack):
        look(model, images, normalise)
    return bool(unpacked)


def as_arrays(found: Signs) -> dict[str, Array]:
    """Sign -> (n,) bool."""
    return {field.name: getattr(found, field.name).cpu().numpy() for field in fields(found)}


def flags(seen: Mapping[str, Array]) -> tuple[str, ...]:
    """Flags of the signs (n,) by name.

    One image is enough without a slope, with a random score or with a forward that optimises; more than half must be saturated
    or have an untrue slope, more than a twentieth stand the wide attack.
    """
    n = max((len(column) for column in seen.values()), default=0)
    count = {name: int(np.asarray(column).sum()) for name, column in seen.items()}
    said = []
    if count.get("silent"):
        said.append(f"void: masking suspected: zero gradient on {count['silent']} of {n} images")
    if 2 * count.get("saturated", 0) > n:
        said.append(f"void: masking suspected: saturated softmax on {count['saturated']} of {n} images")
    if 2 * count.get("untrue", 0) > n:
        said.append(f"void: masking suspected: finite differences disagree with the gradient on {count['untrue']} of {n} images")
    if count.get("unbroken", 0) > SHARE * n:
        said.append(f"void: masking suspected: {count['unbroken']} of {n} images stand a change that could make them grey")
    if count.get("random"):
        said.append(RANDOM)
    if count.get("optimises"):
        said.append(OPTIMISES)
    return tuple(said)


def beaten(white: int, blind: int, n: int) -> tuple[str, ...]:
    """The flag that Square, which sees no gradient, fools `blind` of n images beyond the `white` that gradients fool."""
    if blind >= 2 and blind > 0.02 * n:
        return (f"void: masking suspected: Square fools {blind} of {n} images that gradients do not (those fool {white})",)
    return ()


def weaker(once: Array, many: Array) -> tuple[str, ...]:
    """The flag that FGSM breaks more images than PGD at some epsilon; (n,E) bool each.

    PGD holds FGSM's step within its reach, so where FGSM breaks more images, the gradients mislead it.
    """
    return (WEAK,) if bool((np.asarray(many).sum(0) < np.asarray(once).sum(0)).any()) else ()
