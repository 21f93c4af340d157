"""`auditor style`: one's own picture in the style of others, as a model sees both."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from auditor import api
from auditor.cli.progress import Bars
from auditor.cli.request import Request, given_preprocess, model_args, numbers
from auditor.dataset.decode import opened
from auditor.errors import ConfigError
from auditor.methods.gram import phi_of
from auditor.methods.style import Weights, style_layers, transfer
from auditor.methods.unit import as_pixels, as_unit
from auditor.preprocess import Preprocess
from auditor.store import write_bytes
from auditor.target import Target
from auditor.types import Array

COARSE = 192
"""Least long side of a coarse start."""

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True)
class Wanted:
    """The options of `auditor style`, beside those of the model."""

    content: Path
    styles: Sequence[Path]
    out: Path
    size: int = 512
    style_weight: float = 10.0
    content_weight: float = 1.0
    variation: float = 1e-4
    style_scale: float = 1.0
    blend: str | None = None
    own_colours: bool = False
    evaluations: int = 150
    force: bool = False


def picture(path: Path, preprocess: Preprocess, side: int | None, device: torch.device) -> Tensor:
    """(C,H,W) in [0,1], its longer side at most `side`. Raises DataError where it cannot be read."""
    image = opened(path, preprocess.geometry.mode)
    factor = 1.0 if side is None else min(1.0, side / max(image.size))
    if factor < 1:
        image = image.resize(
            (max(1, round(image.width * factor)), max(1, round(image.height * factor))), Image.Resampling.LANCZOS
        )
    pixels = np.array(image, dtype=np.uint8)
    return as_unit(pixels[None] if pixels.ndim == 3 else pixels[None, ..., None], device)[0]


def sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Coarse to fine, each twice the one before, the first with a long side of COARSE and more: 256, 512, 1024."""
    steps = [size]
    while max(steps[0]) // 2 >= COARSE:
        steps.insert(0, (max(1, steps[0][0] // 2), max(1, steps[0][1] // 2)))
    return steps


def checked(wanted: Wanted) -> None:
    """Raise ConfigError for what cannot be carried out, before any work."""
    if wanted.out.suffix.lower() not in FORMATS:
        raise ConfigError(f"--out: expected a name that ends in .png or .jpg, got {wanted.out.name}")
    if wanted.out.exists() and not wanted.force:
        raise ConfigError(f"{wanted.out} exists and was kept; give another name, or --force to replace it")
    if wanted.size < 16 or wanted.evaluations < 1:
        raise ConfigError(f"expected --size >= 16 and --evaluations >= 1, got {wanted.size} and {wanted.evaluations}")


def run_style(wanted: Wanted, request: Request) -> None:
    """Make the picture, write it, print how near it is to its content and its style."""
    checked(wanted)
    if request.model is None:
        raise ConfigError("--model is missing: style and content are what a model sees; give --model demo:efficientnet-lite0")
    options = {
        "weights": request.weights,
        "model_args": model_args(request.model_arg),
        "device": request.device,
        "task": request.task,
    }
    target = api.open_target(request.model, given_preprocess(request), str(wanted.content), options)
    try:
        made = stylised(target, wanted)
    finally:
        target.restore()
    held = io.BytesIO()
    pixels = made if made.shape[2] == 3 else made[..., 0]
    Image.fromarray(pixels).save(
        held, FORMATS[wanted.out.suffix.lower()], **({} if wanted.out.suffix == ".png" else {"quality": 95})
    )
    write_bytes(wanted.out, held.getvalue())
    print(wanted.out)


def stylised(target: Target, wanted: Wanted) -> Array:
    """(H,W,C) uint8."""
    preprocess = target.preprocess
    if not isinstance(preprocess, Preprocess):
        raise ConfigError("the preprocessing is an opaque function, which cannot be differentiated; give --mean and --std")
    content = picture(wanted.content, preprocess, wanted.size, target.device)
    styles = [picture(path, preprocess, None, target.device) for path in wanted.styles]
    names, layers = style_layers(target)
    with Bars() as bars:
        made = transfer(
            phi_of(target, names), content, styles, layers=layers,
            weights=Weights(wanted.content_weight, wanted.style_weight, wanted.variation),
            blend=None if wanted.blend is None else numbers(wanted.blend, "--blend"),
            sizes=sizes((content.shape[1], content.shape[2])), style_scale=wanted.style_scale,
            evaluations=wanted.evaluations, own_colours=wanted.own_colours, seen=lambda done, total: bars("style", done, total),
        )  # fmt: skip
    print(f"content {made.content:.3f} of its length away, style {made.style:.3f}")
    return np.asarray(as_pixels(made.picture[None])[0])
