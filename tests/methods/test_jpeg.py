"""The codec against libjpeg's own, and against the cosine transform of scipy."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn
from skimage import data

from auditor.methods.jpeg import CHROMA, LUMA, jpeg, quantised

torch.set_num_threads(1)


def stored(pixels: Any, quality: int) -> Any:
    """What comes back of a picture that Pillow writes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)).astype(float)


@pytest.mark.parametrize("quality", [7, 15, 40, 80])
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_it_is_libjpegs_result_but_for_rounding(quality: int, grey: bool) -> None:
    pixels = data.chelsea()[40:203, 90:301]  # no multiple of 16
    pixels = np.ascontiguousarray(pixels[..., 1] if grey else pixels)
    images = torch.from_numpy(pixels.reshape(1, *pixels.shape[:2], -1)).permute(0, 3, 1, 2).float() / 255
    found = jpeg(images, quality)[0].permute(1, 2, 0).numpy().reshape(pixels.shape) * 255
    expected = stored(pixels, quality)
    lost = np.abs(expected - pixels).mean()
    assert np.abs(found - expected).mean() < min(0.8, 0.25 * lost)
    assert np.abs(found - pixels).mean() == pytest.approx(lost, rel=0.05)


@pytest.mark.parametrize("table", [LUMA, CHROMA], ids=["luma", "chroma"])
def test_the_cosine_coefficients_are_whole_steps(table: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    planes = torch.from_numpy(rng.uniform(90, 160, (2, 1, 16, 24)))
    found = quantised(planes, table, 50 / 15)
    steps = np.clip(np.floor(np.array(table).reshape(8, 8) * 50 / 15 + 0.5), 1, 255)
    for block in (np.s_[0, 0, 8:16, 8:16], np.s_[1, 0, :8, 16:]):
        before, after = (dctn(p[block].numpy() - 128, norm="ortho") / steps for p in (planes, found))
        np.testing.assert_allclose(after, np.round(before), atol=0.2)  # pixels are whole, so coefficients nearly so


def test_a_batch_is_coded_picture_by_picture() -> None:
    images = torch.rand(3, 3, 20, 12, generator=torch.Generator().manual_seed(0))
    whole = jpeg(images, 30)
    for i in range(3):
        torch.testing.assert_close(jpeg(images[i : i + 1], 30)[0], whole[i], atol=1e-6, rtol=0)
