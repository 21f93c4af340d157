"""What stands between a file and the model: geometry (PIL -> uint8, kept on disk), then normalisation (uint8 -> float)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, functional

from auditor.errors import ConfigError
from auditor.ops.fingerprint import fingerprint, without_addresses
from auditor.types import Array, Json

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in pixels, x to the right and y down, half-open."""
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Geometry:
    """A PIL image to the uint8 pixels that the model sees: colour mode, resize, centre crop, as torchvision does it."""

    mode: Literal["RGB", "L"] = "RGB"
    resize: int | tuple[int, int] | None = None
    """The short side, or (H,W) without regard to the aspect ratio, in pixels."""
    crop: tuple[int, int] | None = None
    """(H,W) about the centre; black beyond the border of a smaller image."""
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise ConfigError(f"interpolation: expected one of {', '.join(INTERPOLATIONS)}, got {self.interpolation!r}")
        if self.mode not in ("RGB", "L"):
            raise ConfigError(f"mode: expected RGB (3 channels) or L (1 channel), got {self.mode!r}")
        sides = [
            *(self.crop or ()),
            *(self.resize if isinstance(self.resize, tuple) else [1 if self.resize is None else self.resize]),
        ]
        if min(sides) < 1:
            raise ConfigError(f"resize and crop: expected sides of at least 1 px, got {self.resize} and {self.crop}")

    @property
    def size(self) -> tuple[int, int] | None:
        """(H,W) of every result; None where it depends on the image."""
        if self.crop is not None:
            return self.crop
        return self.resize if isinstance(self.resize, tuple) else None

    @property
    def digest(self) -> str:
        """sha256 of these settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def apply(self, image: Image.Image) -> Array:
        """(H,W,C) uint8 of one image."""
        picture = image if image.mode == self.mode else image.convert(self.mode)
        if self.resize is not None:
            size = [self.resize] if isinstance(self.resize, int) else list(self.resize)
            picture = functional.resize(picture, size, InterpolationMode(self.interpolation))
        if self.crop is not None:
            picture = functional.center_crop(picture, list(self.crop))
        pixels = np.array(picture, dtype=np.uint8)
        return pixels if pixels.ndim == 3 else pixels[..., None]

    def box(self, box: Box, size: tuple[int, int]) -> Box | None:
        """A box in pixels of an image of `size` (H,W) in those of its result, clipped at its border; None if nothing is left."""
        high, wide = self.resized(size)
        top, left = self.corner((high, wide))
        down, across = high / size[0], wide / size[1]
        limit = self.crop or (high, wide)
        x0, x1 = (min(max(x * across - left, 0.0), float(limit[1])) for x in (box[0], box[2]))
        y0, y1 = (min(max(y * down - top, 0.0), float(limit[0])) for y in (box[1], box[3]))
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H,W) of an image of `size` after the resize, as torchvision rounds it."""
        if self.resize is None:
            return size
        if isinstance(self.resize, tuple):
            return self.resize
        long = int(self.resize * max(size) / min(size))
        return (self.resize, long) if size[0] <= size[1] else (long, self.resize)

    def corner(self, size: tuple[int, int]) -> tuple[int, int]:
        """(top, left) of the crop within a resized image of `size` (H,W); below 0 where the crop is larger than the image."""
        if self.crop is None:
            return 0, 0
        room = [side - cut for side, cut in zip(size, self.crop, strict=True)]
        top, left = (-(-gap // 2) if gap < 0 else round(gap / 2.0) for gap in room)
        return top, left


@dataclass(frozen=True)
class Preprocess:
    """Geometry, then (x / 255 - mean) / std by channel."""

    invertible: ClassVar[bool] = True
    geometry: Geometry
    mean: tuple[float, ...]
    """(C,) in units where pixels are 0 to 1."""
    std: tuple[float, ...]
    """(C,), above 0."""
    channels: int = 0
    """Filled from `mean`."""

    def __post_init__(self) -> None:
        count = self.channels or len(self.mean)
        if len(self.mean) != count or len(self.std) != count or min(self.std) <= 0:
            raise ConfigError(f"mean and std: expected {count} numbers each, std above 0, got {self.mean} and {self.std}")
        if count != (3 if self.geometry.mode == "RGB" else 1):
            raise ConfigError(f"mode {self.geometry.mode} does not go with {count} channels of mean and std; match them")
        object.__setattr__(self, "channels", count)

    @classmethod
    def imagenet(cls, *, resize: int = 256, crop: int = 224, interpolation: str = "bilinear") -> Preprocess:
        """Short side to 256, centre crop of 224, the mean and deviation of ImageNet."""
        return cls(Geometry("RGB", resize, (crop, crop), interpolation), IMAGENET_MEAN, IMAGENET_STD)

    @property
    def digest(self) -> str:
        """sha256 of geometry and normalisation."""
        return hashlib.sha256(f"{self.geometry.digest}|{self.mean}|{self.std}".encode()).hexdigest()

    def describe(self) -> dict[str, Json]:
        """As the report shows it."""
        return {**asdict(self.geometry), "mean": list(self.mean), "std": list(self.std), "channels": self.channels}

    def normalise(self, images: Tensor) -> Tensor:
        """(n,C,H,W) uint8, or float in [0,1], to what the model is given: float32, on the same device, differentiable."""
        scaled = images.float() / 255 if images.dtype == torch.uint8 else images
        mean, std = (torch.tensor(v, dtype=scaled.dtype, device=scaled.device).view(-1, 1, 1) for v in (self.mean, self.std))
        return (scaled - mean) / std


@dataclass(frozen=True)
class Opaque:
    """Any function of a PIL image to a float tensor (C,H,W): it cannot be undone, so its results are stored as floats."""

    invertible: ClassVar[bool] = False
    function: Callable[[Image.Image], Any]
    channels: int = 3

    @property
    def geometry(self) -> Geometry:
        """Only the colour mode is known."""
        return Geometry("RGB" if self.channels == 3 else "L")

    @cached_property
    def digest(self) -> str:
        """sha256 of the function's source and state; another one in every process where Python does not show them."""
        return hashlib.sha256(f"{fingerprint(self.function)}|{self.channels}".encode()).hexdigest()

    def describe(self) -> dict[str, Json]:
        """As the report shows it."""
        return {"function": without_addresses(repr(self.function))[:400], "channels": self.channels, "opaque": True}

    def __call__(self, image: Image.Image) -> Any:
        """(C,H,W) float of one image."""
        return self.function(image)

    def normalise(self, images: Tensor) -> Tensor:
        """Never called: what needs it does not apply here."""
        raise ConfigError("an opaque preprocessing cannot be split; give mean and std (auditor.Preprocess) instead")


def two(size: Any) -> tuple[int, int]:
    """(H,W) of a number or a sequence of one or two."""
    sides = [int(s) for s in size] if isinstance(size, Sequence) else [int(size)]
    return sides[0], sides[-1]


def short_side(size: Any) -> int | tuple[int, int] | None:
    """torchvision's `size` of a resize: one number is the short side."""
    if size is None:
        return None
    sides = [int(s) for s in size] if isinstance(size, Sequence) else [int(size)]
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def from_transform(transform: Any, *, channels: int = 3) -> Preprocess | Opaque:
    """torchvision's presets, and Compose of Resize, CenterCrop, ToTensor and Normalize, as a Preprocess; others stay opaque."""
    kind = type(transform).__name__
    if kind in ("ImageClassification", "SemanticSegmentation") and hasattr(transform, "mean"):
        crop = getattr(transform, "crop_size", None)
        way = InterpolationMode(transform.interpolation).value
        geometry = Geometry("RGB", short_side(transform.resize_size), None if crop is None else two(crop), way)
        return Preprocess(geometry, tuple(transform.mean), tuple(transform.std))
    if kind == "ObjectDetection":
        return Preprocess(Geometry(), (0.0,) * 3, (1.0,) * 3)
    if kind == "Compose":
        found = from_steps(list(transform.transforms), channels)
        if found is not None:
            return found
    return Opaque(transform, channels)


def from_steps(steps: list[Any], channels: int) -> Preprocess | None:
    """The Preprocess of a Compose that does resize?, crop?, to tensor, normalise?, in this order; None for any other."""
    resize: Any = None
    crop: tuple[int, int] | None = None
    way = "bilinear"
    mean, std = (0.0,) * channels, (1.0,) * channels
    rank = {"Resize": 0, "CenterCrop": 1, "ToTensor": 2, "MaybeToTensor": 2, "Normalize": 3}
    ranks = [rank.get(type(step).__name__, -1) for step in steps]
    if -1 in ranks or ranks != sorted(set(ranks)) or 2 not in ranks:
        return None
    for step in steps:
        kind = type(step).__name__
        if kind == "Resize":
            if getattr(step, "max_size", None) is not None:
                return None
            resize, way = short_side(step.size), InterpolationMode(step.interpolation).value
        elif kind == "CenterCrop":
            crop = two(step.size)
        elif kind == "Normalize":
            mean, std = (tuple(np.atleast_1d(np.asarray(v, dtype=float)).tolist()) for v in (step.mean, step.std))
            if len(mean) == len(std) == 1:  # one number stands for every channel
                mean, std = mean * channels, std * channels
    if len(mean) not in (1, 3) or len(mean) != len(std):
        return None
    return Preprocess(Geometry("RGB" if len(mean) == 3 else "L", resize, crop, way), mean, std)
