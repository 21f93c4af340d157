"""Feature visualisation of one model, without an audit."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.ascent import RECIPES, Natural, Recipe, Space, Task, Units, ascend, assumed, frozen, measured, recipe
from auditor.methods.ascent.objectives import Place
from auditor.methods.inputs import seed_of
from auditor.ops.maps import Layout, layout_of
from auditor.ops.truncate import truncated
from auditor.preprocess import Preprocess

ALIASES = {"pixels": "yosinski_1"}
OPTIONS = ("size", "at", "images", "strength", "seed", "batch")
SIDE = 224


@dataclasses.dataclass(frozen=True)
class Options:
    """What `visualise` takes beside its own parameters."""

    size: int | tuple[int, int] | None = None
    at: Place = "mean"
    images: Tensor | None = None
    strength: float | None = 1.0
    seed: int = 0
    batch: int | None = None


def visualise(
    model: nn.Module,
    layer: str,
    units: int | Sequence[int],
    *,
    steps: int | None = None,
    parameterisation: str | Recipe = "fourier",
    preprocess: Preprocess | None = None,
    **options: Any,
) -> Tensor:
    """Pictures (N,C,H,W) in [0,1] that fire the N `units` of a layer most, found by gradient ascent; in float32.

    `model`: any nn.Module; it is used in eval mode, no further than the layer, and left as it was found.
    `layer`: a module path, or "" for the model's own scores, whose units are classes. Its output is (n,K), maps (n,K,H,W) or
    (n,H,W,K), or tokens (n,T,K). `steps`: by the recipe where not given.
    `preprocess`: how images in [0,1] are normalised; the model's own where it has one as its attribute `preprocess`, and else
    ImageNet's mean and deviation at 224 px.

        parameterisation        a picture is
        fourier                 a spectrum in uncorrelated colours, looked at jittered, turned and scaled (Olah 2017); 256 steps
        maco                    the phase of a spectrum with the magnitude of natural images (Fel 2023); 256 steps
        yosinski_1 .. _4        pixels, regularised by the four published settings (Yosinski 2015); 500 to 1000 steps
        pixels                  yosinski_1
        none                    pixels, without a regulariser: mostly noise
        a Recipe                of auditor.methods.ascent

    Options: `size` (a side, or (H,W)), `at` ("mean" of a channel's map, or its "centre"), `images` ((n,C,H,W) in [0,1], natural
    images whose spectrum and colours maco and fourier take; an assumed 1/f where not given), `strength` (of the steps of pixels;
    None for rates exactly as published, which suit one network), `seed`, `batch` (pictures at once).
    Raises UsageError for a parameterisation, an option or a unit that there is not, TargetError for such a layer.
    """
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise UsageError(f"expected options of visualise among {', '.join(OPTIONS)}, got {unknown[0]!r}: remove it")
    asked = Options(**options)
    if asked.at not in ("mean", "centre"):
        raise UsageError(f'expected at="mean" or at="centre", got {asked.at!r}: choose one of these')
    space = space_of(model, preprocess, asked)
    chosen = as_recipe(parameterisation, steps, space, asked)
    numbers = [units] if isinstance(units, int) else [int(unit) for unit in units]
    if not numbers:
        return torch.zeros((0, *space.shape), device=space.device)
    tasks = [Task(chosen, unit, seed_of(asked.seed, f"visualise:{unit}")) for unit in numbers]
    with frozen(model):
        layout = layout_at(model, layer, space)
        made = ascend(Units(model, layer, asked.at, layout).lean(space), tasks, space, slots=asked.batch)
    return torch.stack([one.image for one in made])


def layout_at(model: nn.Module, layer: str, space: Space) -> Layout | None:
    """How a layer holds maps, where it has four axes: by the aspect ratio of the images."""
    with torch.no_grad():
        output = truncated(model, space.normalise(torch.full((1, *space.shape), 0.5, device=space.device)), layer)
    return layout_of(tuple(output.shape), space.shape[1:]) if output.ndim == 4 else None


def space_of(model: nn.Module, preprocess: Preprocess | None, asked: Options) -> Space:
    """The images of a model. Raises UsageError for a preprocessing that cannot be undone."""
    own = getattr(model, "preprocess", None)
    found = preprocess or (own if isinstance(own, Preprocess) else Preprocess.imagenet(crop=SIDE))
    size = asked.size or found.geometry.size or SIDE
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return Space.of(found, (size, size) if isinstance(size, int) else (int(size[0]), int(size[1])), device)


def as_recipe(given: str | Recipe, steps: int | None, space: Space, asked: Options) -> Recipe:
    """The recipe that was asked for. Raises UsageError for a name that is not known, or a negative number of steps."""
    if steps is not None and steps < 0:
        raise UsageError(f"expected steps >= 0, got {steps}")
    if isinstance(given, Recipe):
        return given if steps is None else dataclasses.replace(given, iterations=steps + 1)
    if given not in (*RECIPES, *ALIASES):
        raise UsageError(
            f"expected a parameterisation among {', '.join((*RECIPES, *ALIASES))}, got {given!r}: choose one of these"
        )
    name = ALIASES.get(given, given)
    natural: Natural | None = None
    if asked.images is not None:
        natural = measured(at_size(asked.images, space))
    elif name == "maco":
        natural = assumed(space.shape, torch.zeros((), device=space.device))
    made = recipe(name, natural=natural, strength=asked.strength)
    return made if steps is None else dataclasses.replace(made, iterations=steps + 1)


def at_size(images: Tensor, space: Space) -> Tensor:
    """Natural images at the size of the pictures. Raises UsageError for another number of channels, or values beyond [0,1]."""
    if images.ndim != 4 or images.shape[1] != space.shape[0] or not images.is_floating_point():
        raise UsageError(f"expected images (n,{space.shape[0]},H,W) as floats in [0,1], got {images.dtype} {tuple(images.shape)}")
    if not len(images) or float(images.min()) < 0 or float(images.max()) > 1:
        raise UsageError("expected at least one image with values in [0,1]: undo the normalisation")
    return torch.nn.functional.interpolate(images.to(space.device), size=space.shape[1:], mode="bilinear", antialias=True)
