"""Golden conversions: each rule on tiny images whose result is known by hand."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from auditor.dataset.decode import Depth16, Limits, Refused, decode, from_array
from auditor.errors import DataError


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read(data: bytes, mode: str = "RGB", rule: str = "full", limits: Limits | None = None) -> tuple[list[Any], tuple[str, ...]]:
    image, how = decode(data, mode=mode, limits=limits or Limits(), depth16=Depth16(rule))
    assert image.mode == mode
    return np.asarray(image).tolist(), how


def test_rgb_is_untouched() -> None:
    assert read(encoded(Image.new("RGB", (1, 1), (1, 2, 3)))) == ([[[1, 2, 3]]], ())


@pytest.mark.parametrize(
    ("rule", "golden"),
    [("full", [0, 1, 233, 255]), ("minmax", [0, 1, 233, 255]), ("max=30000", [0, 3, 255, 255])],
)
def test_sixteen_bit_grey(rule: str, golden: list[int]) -> None:
    image = Image.fromarray(np.array([[0, 300, 60000, 65535]], dtype=np.uint16))
    pixels, how = read(encoded(image), "L", rule)
    assert pixels == [golden]
    assert how == (f"more than 8 bits to 8 (depth16 {rule})",)


def test_minmax_of_a_constant_is_black() -> None:
    assert read(encoded(Image.fromarray(np.full((1, 2), 900, np.uint16))), "L", "minmax")[0] == [[0, 0]]


@pytest.mark.parametrize(
    ("image", "mode", "golden", "rule"),
    [
        (Image.new("L", (1, 1), 7), "RGB", [[[7, 7, 7]]], ("grey to RGB",)),
        (Image.new("RGB", (1, 1), (255, 0, 0)), "L", [[76]], ("RGB to grey (ITU-R 601)",)),
        (Image.new("1", (1, 1), 1), "L", [[255]], ("1-bit to grey",)),
        (Image.new("LA", (1, 1), (0, 0)), "L", [[255]], ("alpha on white",)),
        (Image.new("RGBA", (1, 1), (200, 0, 0, 0)), "RGB", [[[255, 255, 255]]], ("alpha on white",)),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 51)), "RGB", [[[204, 204, 204]]], ("alpha on white",)),
        (Image.new("RGBA", (1, 1), (9, 8, 7, 255)), "RGB", [[[9, 8, 7]]], ("opaque alpha dropped",)),
    ],
)
def test_modes(image: Image.Image, mode: str, golden: list[Any], rule: tuple[str, ...]) -> None:
    assert read(encoded(image), mode) == (golden, rule)


def test_palette_and_its_transparency() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    assert read(encoded(image)) == ([[[10, 20, 30], [40, 50, 60]]], ("palette to RGB",))
    assert read(encoded(image, transparency=1)) == ([[[10, 20, 30], [255, 255, 255]]], ("alpha on white",))


def test_cmyk() -> None:
    pixels, how = read(encoded(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF"))
    assert (pixels, how) == ([[[255, 0, 0]]], ("CMYK to RGB",))


@pytest.mark.parametrize(
    ("orientation", "golden"),
    [
        (2, [[2, 1], [4, 3]]), (3, [[4, 3], [2, 1]]), (4, [[3, 4], [1, 2]]), (5, [[1, 3], [2, 4]]),
        (6, [[3, 1], [4, 2]]), (7, [[4, 2], [3, 1]]), (8, [[2, 4], [1, 3]]),
    ],
)  # fmt: skip
def test_exif_orientation(orientation: int, golden: list[list[int]]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.array([[1, 2], [3, 4]], np.uint8)), exif=exif)
    assert read(data, "L") == (golden, (f"EXIF orientation {orientation} turned",))


def test_first_frame_and_frame_limit() -> None:
    frames = [Image.new("RGB", (2, 2), (v, 0, 0)) for v in (10, 120, 240)]
    data = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert read(data) == ([[[10, 0, 0]] * 2] * 2, ("first frame of TIFF",))
    with pytest.raises(Refused, match="3 frames"):
        read(data, limits=Limits(frames=2))


def test_limits_on_bytes_and_pixels() -> None:
    data = encoded(Image.new("L", (20, 20)))
    with pytest.raises(Refused, match="bytes, more than"):
        read(data, limits=Limits(bytes=10))
    with pytest.raises(Refused, match="limit of 399 pixels"):
        read(data, limits=Limits(pixels=399))
    with pytest.raises(Refused, match="EPS"):
        read(b"%!PS-Adobe-3.0 EPSF-3.0\n")


def test_floats_and_wrong_arrays() -> None:
    settings: dict[str, Any] = {"mode": "L", "limits": Limits(), "depth16": Depth16()}
    image, how = from_array(np.array([[0.0, 0.5, 1.0]]), **settings)
    assert (np.asarray(image).tolist(), how) == ([[0, 128, 255]], ("float in [0,1] to 8 bits",))
    for wrong in (np.array([[1.5]]), np.array([[np.inf]]), np.zeros((2, 2, 5), np.uint8), np.array([["a"]])):
        with pytest.raises(Refused):
            from_array(wrong, **settings)


@pytest.mark.parametrize("rule", ["half", "max=0", "max=", "max=-1"])
def test_depth_rule_is_checked(rule: str) -> None:
    with pytest.raises(DataError, match="depth16"):
        Depth16(rule)
