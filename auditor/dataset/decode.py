"""One file's bytes, or one array, to an 8-bit RGB or grey image by stated rules; what is unsafe is refused by reason."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from auditor.errors import DataError
from auditor.types import Array

Image.init()  # without it Pillow knows a format only after it was opened once
READABLE = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "TGA", "ICO", "PCX", "JPEG2000", "AVIF")
FORMATS = tuple(kind for kind in READABLE if kind in Image.OPEN)
"""What is decoded: formats that Pillow reads by itself, without another program (EPS needs Ghostscript)."""

DECODE_ERRORS = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError,
    MemoryError, struct.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises on damaged files."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION = 0x0112


class Refused(Exception):  # noqa: N818
    """This image is quarantined; the message is the reason."""


@dataclass(frozen=True)
class Limits:
    """What one image may cost: beyond it, the image is quarantined."""

    pixels: int = 64_000_000
    bytes: int = 100_000_000
    frames: int = 1_000
    aspect: int = 200
    """Longer side over shorter side."""


@dataclass(frozen=True)
class Depth16:
    """How more than 8 bits become 8: "full" v*255/65535, "minmax" of each image, or "max=N" v*255/N, clipped at N."""

    rule: str = "full"

    def __post_init__(self) -> None:
        if self.rule in ("full", "minmax"):
            return
        word, _, number = self.rule.partition("=")
        if word != "max" or not number.isdigit() or int(number) == 0:
            raise DataError(f"depth16 expects full, minmax or max=N with N > 0; got {self.rule!r}")

    def scale(self, values: Array) -> Array:
        """uint8 of the same shape from integers (H,W)."""
        wide = values.astype(np.float64)
        if self.rule == "minmax":
            low, high = float(wide.min()), float(wide.max())
            wide = (wide - low) / (high - low) if high > low else np.zeros_like(wide)
        else:
            top = 65535 if self.rule == "full" else int(self.rule.partition("=")[2])
            if self.rule == "full" and (wide.min() < 0 or wide.max() > top):
                raise Refused(f"values from {wide.min():.0f} to {wide.max():.0f} do not fit 16 bits; use depth16 minmax or max=N")
            wide = np.clip(wide / top, 0, 1)
        return np.asarray(np.floor(wide * 255 + 0.5), dtype=np.uint8)


def one_line(error: BaseException) -> str:
    """The error's text without line breaks, shortened."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."


def decode(data: bytes, *, mode: str, limits: Limits, depth16: Depth16) -> tuple[Image.Image, tuple[str, ...]]:
    """(image in `mode` ("RGB" or "L"), what was converted). Raises Refused with the reason."""
    if not data:
        raise Refused("empty file (0 bytes)")
    if len(data) > limits.bytes:
        raise Refused(f"{len(data):,} bytes, more than the limit of {limits.bytes:,}")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            how: list[str] = []
            check_size(image.size, limits)
            frames = int(getattr(image, "n_frames", 1))
            if frames > limits.frames:
                raise Refused(f"{frames:,} frames, more than the limit of {limits.frames:,}")
            if frames > 1:
                image.seek(0)
                how.append(f"first frame of {image.format}" if image.format != "MPO" else "first picture of MPO")
            orientation = orientation_of(image)
            deep = any("16" in str(tile[3]) for tile in image.tile if len(tile) > 3) and image.mode in ("RGB", "RGBA")
            if deep:
                if depth16.rule != "full":
                    raise Refused(f"16-bit colour is read by its high bytes only; depth16 {depth16.rule} cannot hold, use full")
                how.append("16-bit colour to 8 (high byte)")
            image.load()
            flat = flatten(image, mode, depth16, how)
    except UnidentifiedImageError:
        raise Refused(f"not an image in a format that is read ({what_it_looks_like(data)})") from None
    except DECODE_ERRORS as error:
        raise Refused(f"cannot be decoded: {one_line(error)}") from None
    if orientation in TURNS:
        flat = flat.transpose(TURNS[orientation])
        how.append(f"EXIF orientation {orientation} turned")
    return flat, tuple(how)


def opened(path: Path, mode: str, what: str = "") -> Image.Image:
    """A single picture of the user's in `mode`. Raises DataError, which begins with `what`, where it cannot be read."""
    try:
        return decode(path.read_bytes(), mode=mode, limits=Limits(), depth16=Depth16())[0]
    except (OSError, Refused) as error:
        raise DataError(f"{what}{path} cannot be read: {error}; give a picture such as .jpg or .png") from error


def check_size(size: tuple[int, int], limits: Limits) -> None:
    """Refuse by the header alone, before anything is decoded."""
    width, height = size
    if width < 1 or height < 1:
        raise Refused(f"{width} x {height} px has no pixels")
    if width * height > limits.pixels:
        raise Refused(f"{width:,} x {height:,} px is more than the limit of {limits.pixels:,} pixels")
    if max(size) > limits.aspect * min(size):
        raise Refused(f"{width:,} x {height:,} px: one side is more than {limits.aspect} times the other")


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation 1 to 8; 1 where the tag is missing or broken."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except DECODE_ERRORS:
        return 1


def what_it_looks_like(data: bytes) -> str:
    """A word on the content, for the reason in the ledger."""
    head = data[:512].lstrip().lower()
    if b"<svg" in head:
        return "it looks like SVG"
    if head.startswith((b"<!doctype", b"<html")):
        return "it looks like HTML"
    if head.startswith(b"%!ps"):
        return "it looks like EPS"
    return f"it starts with {data[:4]!r}"


def flatten(image: Image.Image, mode: str, depth16: Depth16, how: list[str]) -> Image.Image:
    """`image` in `mode`; each rule that was applied is appended to `how`."""
    if image.mode.startswith("I"):
        image = Image.fromarray(depth16.scale(np.asarray(image)))
        how.append(f"more than 8 bits to 8 (depth16 {depth16.rule})")
    elif image.mode == "F":
        image = Image.fromarray(from_float(np.asarray(image)))
        how.append("float in [0,1] to 8 bits")
    elif image.mode == "1":
        image = image.convert("L")
        how.append("1-bit to grey")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = over_white(image, how)
    if image.mode == "P":
        image = image.convert("RGB")
        how.append("palette to RGB")
    if image.mode not in ("RGB", "L"):
        how.append(f"{image.mode} to RGB")
        image = image.convert("RGB")
    if image.mode != mode:
        how.append("grey to RGB" if mode == "RGB" else "RGB to grey (ITU-R 601)")
        image = image.convert(mode)
    return image


def over_white(image: Image.Image, how: list[str]) -> Image.Image:
    """Alpha composited on white, so that colour hidden under full transparency does not show; opaque alpha is dropped."""
    grey = image.mode in ("L", "LA", "La")
    full = image.convert("RGBA")
    opaque = full.getchannel("A").getextrema() == (255, 255)
    if opaque:
        how.append("opaque alpha dropped")
    else:
        how.append("alpha on white")
        full = Image.alpha_composite(Image.new("RGBA", full.size, (255, 255, 255, 255)), full)
    return full.convert("RGB").getchannel("R") if grey else full.convert("RGB")


def from_float(values: Array) -> Array:
    """uint8 from finite floats in [0,1]."""
    if not np.isfinite(values).all():
        raise Refused("NaN or infinite values")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise Refused(f"float values from {low:.4g} to {high:.4g}; float images are expected in [0,1]")
    return np.asarray(np.floor(values.astype(np.float64) * 255 + 0.5), dtype=np.uint8)


def from_array(values: Any, *, mode: str, limits: Limits, depth16: Depth16) -> tuple[Image.Image, tuple[str, ...]]:
    """As `decode`, from an array (H,W), (H,W,1), (H,W,3) or (H,W,4): uint8, uint16, bool or float in [0,1]."""
    array = np.asarray(values)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (3, 4)):
        raise Refused(f"shape {tuple(array.shape)}; (H,W) or (H,W,C) with 1, 3 or 4 channels is expected")
    check_size((array.shape[1], array.shape[0]), limits)
    how: list[str] = []
    if array.dtype.kind == "f":
        array = from_float(array)
        how.append("float in [0,1] to 8 bits")
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
        how.append("1-bit to grey")
    elif array.dtype != np.uint8:
        if array.dtype.kind not in "iu":
            raise Refused(f"values of type {array.dtype}; uint8, uint16 or float in [0,1] are expected")
        array = depth16.scale(array)
        how.append(f"more than 8 bits to 8 (depth16 {depth16.rule})")
    flat = flatten(Image.fromarray(np.ascontiguousarray(array)), mode, depth16, how)
    return flat, tuple(how)
