"""DeepDream (Mordvintsev, Olah, Tyka 2015): whatever a layer sees in a picture, more of it.

The gradient at the layer is set to its activation, so the energy 1/2 |a|^2 is raised, octave by octave, from the smallest: the
detail that was found at one size is enlarged and laid over the image at the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.errors import AuditError
from auditor.methods.ascent import Energy, Recipe, Space, Task, ascend
from auditor.methods.ascent.parameters import Pixels
from auditor.methods.ascent.rules import MeanStep
from auditor.methods.ascent.transforms import Jitter
from auditor.methods.inputs import seed_of

STEP, JITTER, ITERATIONS, OCTAVES, SCALE = 1.5 / 255, 32, 10, 4, 1.4
"""As published; the step is the mean change of a pixel in [0,1], the jitter is in px."""
Side = tuple[int, int]


def sides(full: Side, octaves: int, scale: float) -> list[Side]:
    """(H,W) of the octaves from the smallest to `full`, each `scale` times the one before, rounded, at least 1 px."""
    found = [full]
    for _ in range(octaves - 1):
        high, wide = found[-1]
        found.append((max(1, round(high / scale)), max(1, round(wide / scale))))
    return found[::-1]


def resized(images: Tensor, side: Side) -> Tensor:
    """(n,C,*side), bilinear between the corners; the images themselves where they have that size."""
    if tuple(images.shape[-2:]) == side:
        return images
    return functional.interpolate(images, size=side, mode="bilinear", align_corners=True)


def possible(model: nn.Module, layer: str, space: Space, given: Sequence[Side]) -> list[Side]:
    """Those sides that the model can be given up to the layer, and the last in any case: many transformers take one size."""
    kept = []
    for side in given[:-1]:
        blank = torch.full((1, space.shape[0], *side), 0.5, device=space.device, dtype=space.dtype)
        try:
            with torch.no_grad():
                Energy(model, layer)(space.normalise(blank), torch.zeros(1))
        except AuditError:
            raise
        except (RuntimeError, ValueError, AssertionError, IndexError):
            continue
        kept.append(side)
    return [*kept, given[-1]]


def dream(
    layer: Energy, images: Tensor, space: Space, *, recipe: Recipe, seeds: Sequence[int], octaves: Sequence[Side]
) -> Tensor:
    """(n,C,H,W) in [0,1]: the dreams of `images` (n,C,H,W), one seed each, over `octaves` from the smallest to their own size."""
    bases = [images]
    for side in list(octaves)[-2::-1]:
        bases.insert(0, resized(bases[0], side))
    detail = torch.zeros_like(bases[0])
    for number, base in enumerate(bases):
        side = (int(base.shape[-2]), int(base.shape[-1]))
        start = base + resized(detail, side)
        here = Space((space.shape[0], *side), space.normalise, space.mean, space.device, space.dtype)
        tasks = [Task(recipe, seed=seed_of(seed, f"octave {number}"), start=one) for seed, one in zip(seeds, start, strict=True)]
        detail = torch.stack([made.image for made in ascend(layer, tasks, here)]) - base
    return base + detail


def deepdream(
    model: nn.Module,
    layer: str,
    images: Tensor,
    space: Space,
    *,
    seeds: Sequence[int],
    iterations: int = ITERATIONS,
    octaves: int = OCTAVES,
    scale: float = SCALE,
) -> Tensor:
    """(n,C,H,W) in [0,1]: what `layer` sees in `images` (n,C,H,W) in [0,1], with the published step and jitter.

    `seeds`: one an image, for the jitter. Octaves that the model cannot be given are left out. The model is in eval mode and
    frozen. Raises TargetError for a layer that is not there, ValueError for octaves < 1 or iterations < 0.
    """
    if octaves < 1 or iterations < 0 or scale <= 1:
        raise ValueError(f"deepdream: expected octaves >= 1, iterations >= 0, scale > 1, got {octaves}, {iterations}, {scale}")
    full = (space.shape[1], space.shape[2])
    recipe = Recipe(Pixels(), MeanStep(STEP), iterations + 1, transforms=(Jitter(JITTER),))
    chosen = possible(model, layer, space, sides(full, octaves, scale))
    return dream(Energy(model, layer).lean(space), images, space, recipe=recipe, seeds=seeds, octaves=chosen)
