"""What of an image a layer keeps: the picture that gives the same activation (Mahendran & Vedaldi 2015; Johnson 2016)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.ops.regularisers import alpha_norm, total_variation

Images = Callable[[Tensor], Tensor]
Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(images (n,C,H,W) in [0,1], their activations (n,...), those wanted) -> (n,) what is made small."""

TINY = 1e-12
"""Floor of |Phi0|^2: a layer that is silent for an image has no scale of its own."""

PEAK = 100.0
"""dB: the PSNR given to images that agree beyond measure."""

BETAS = (0.7, 0.99)
"""Of Adam's means of the slope and of its square: half of the pixels are soon at a bound, where a long memory of the slope pushes
in vain. VGG-16 to its third stage: 70 steps bring the mismatch to 0.0047, 100 with (0.9, 0.999) at a constant rate to 0.0053."""
HELD = 0.5
"""The share of the steps at the full rate; it falls by a cosine after that."""
MID, NOISE = 0.5, 0.01
"""Start: mid-grey with a little noise, since flat regions give equal gradients everywhere."""


@dataclass(frozen=True)
class Inverted:
    """What an inversion brought, for n images."""

    images: Tensor
    """(n,C,H,W) in [0,1]."""
    error: Tensor
    """(n,) |Phi - Phi0| / |Phi0|, at the returned images."""


def start(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """(n,C,H,W) on the CPU: the same for a seed on every device and in every batch."""
    noise = [torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return (MID + NOISE * torch.stack(noise)).clamp(0.0, 1.0)


def mismatch(phi: Tensor, wanted: Tensor) -> Tensor:
    """(n,) |Phi - Phi0|^2 / |Phi0|^2."""
    size = wanted.flatten(1).square().sum(1).clamp_min(TINY)
    return (phi - wanted).flatten(1).square().sum(1) / size


def penalty(images: Tensor, *, l_a: float, l_v: float, alpha: float = 6.0, beta: float = 2.0) -> Tensor:
    """(n,) l_a |2x - 1|_alpha^alpha / (CHW) + l_v TV^beta(x) / C: one setting serves every size.

    The sum of squared differences over an image is the integral of its squared gradient over the unit square, which does not
    change with the resolution; the mean of the norm does not either.
    """
    return l_a * alpha_norm(2 * images - 1, alpha) / images[0].numel() + l_v * total_variation(images, beta) / images.shape[1]


@dataclass(frozen=True)
class Mahendran:
    """|Phi - Phi0|^2 / |Phi0|^2 + l_a |2x - 1|_6^6 / (CHW) + l_v TV^2(x) / C (Mahendran & Vedaldi 2015)."""

    l_a: float = 0.0
    l_v: float = 0.0

    def __call__(self, images: Tensor, phi: Tensor, wanted: Tensor) -> Tensor:
        """(n,)."""
        return mismatch(phi, wanted) + penalty(images, l_a=self.l_a, l_v=self.l_v)


@dataclass(frozen=True)
class Johnson:
    """Feature reconstruction |Phi - Phi0|^2 / M over the M numbers of a layer, + tv s TV^2(x) / C (Johnson 2016).

    s = |Phi0|^2 / M: published weights of the total variation are for one network and pixels of 0 to 255, and say nothing of
    another's activations; in units of their own mean square one weight serves every layer.
    """

    tv: float = 0.0

    def __call__(self, images: Tensor, phi: Tensor, wanted: Tensor) -> Tensor:
        """(n,)."""
        scale = wanted.flatten(1).square().mean(1)
        return reconstruction(phi, wanted) + self.tv * scale * total_variation(images) / images.shape[1]


def reconstruction(phi: Tensor, wanted: Tensor) -> Tensor:
    """(n,) |Phi - Phi0|^2 / M, the mean over the numbers of a layer."""
    return (phi - wanted).flatten(1).square().mean(1)


PLAIN = Mahendran()
"""Without a penalty."""


def invert(
    phi: Images,
    wanted: Tensor,
    *,
    shape: Sequence[int],
    normalise: Images,
    seeds: Sequence[int],
    iterations: int = 200,
    rate: float = 0.3,
    objective: Objective = PLAIN,
) -> Inverted:
    """Images whose activation comes close to `wanted` (n,...), from noise, by Adam at a rate that is held, then falls.

    `phi` maps normalised images to activations, `normalise` images in [0,1] to normalised ones, `shape` is (C,H,W), and
    there is one seed an image. After every step the images are put back into [0,1]. Each image is descended on its own
    loss, so its result does not depend on its neighbours. Raises ValueError where seeds and `wanted` differ in number.
    """
    if len(seeds) != len(wanted):
        raise ValueError(f"inversion: expected one seed an image, got {len(seeds)} seeds for {len(wanted)} images; give one each")
    images = start(shape, seeds).to(wanted.device).requires_grad_(True)
    adam = torch.optim.Adam([images], lr=rate, betas=BETAS)
    wanted = wanted.detach().float()
    for step in range(iterations):
        fallen = max(0.0, (step / iterations - HELD) / (1 - HELD))
        adam.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * fallen))
        with torch.enable_grad():
            loss = objective(images, phi(normalise(images)).float(), wanted)
            images.grad = torch.autograd.grad(loss.sum(), images)[0]
        adam.step()
        with torch.no_grad():
            images.clamp_(0.0, 1.0)
    final = images.detach()
    with torch.no_grad():
        return Inverted(final, mismatch(phi(normalise(final)).float(), wanted).sqrt())


def psnr(images: Tensor, originals: Tensor) -> Tensor:
    """(n,) dB: -10 log10 of the mean squared difference of images in [0,1], at most PEAK."""
    mse = (images - originals).flatten(1).square().mean(1)
    return (-10 * torch.log10(mse.clamp_min(10 ** (-PEAK / 10)))).clamp_max(PEAK)
