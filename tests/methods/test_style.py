"""Identities of style transfer, in float64 where they are exact."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from auditor.errors import UsageError
from auditor.methods.gram import gram
from auditor.methods.style import Layers, Weights, aim_of, blended, loss_of, recoloured, scaled, terms, transfer
from auditor.ops.regularisers import total_variation

LAYERS = Layers(style=(0, 1), content=1)
WEIGHT = torch.randn(4, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def phi(images: Tensor) -> tuple[Tensor, ...]:
    """The pixels, and a rectified convolution."""
    return images, torch.relu(torch.nn.functional.conv2d(images, WEIGHT.to(images.dtype), padding=1))


def picture(seed: int, high: int = 8, wide: int = 10, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(3, high, wide, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def slope(weights: Weights, content: Tensor, at: Tensor) -> Tensor:
    whole = loss_of(phi, LAYERS, aim_of(phi, LAYERS, content, blended(phi, LAYERS, [picture(2)])), weights)
    images = at[None].clone().requires_grad_(True)
    return torch.autograd.grad(whole(images).sum(), images)[0]


def test_without_style_and_variation_the_content_has_no_slope() -> None:
    content = picture(1)
    assert torch.equal(slope(Weights(1.0, 0.0, 0.0), content, content), torch.zeros(1, 3, 8, 10, dtype=torch.float64))
    assert slope(Weights(1.0, 0.0, 0.0), content, picture(3)).abs().max() > 1e-4
    assert slope(Weights(1.0, 1.0, 0.0), content, content).abs().max() > 1e-4
    assert slope(Weights(1.0, 0.0, 1.0), content, content).abs().max() > 1e-4
    made = transfer(phi, content, [picture(2)], layers=LAYERS, weights=Weights(1.0, 0.0, 0.0), evaluations=5)
    assert torch.equal(made.picture, content)


def test_a_blend_of_one_and_nothing_is_the_single_style() -> None:
    one, two = picture(4), picture(5)
    for found, single in zip(blended(phi, LAYERS, [one, two], (1, 0)), blended(phi, LAYERS, [one]), strict=True):
        torch.testing.assert_close(found, single, atol=1e-15, rtol=0)


def test_a_blend_is_linear_in_the_gram_matrices_and_scaled_to_one() -> None:
    one, two = picture(4), picture(5)
    half = blended(phi, LAYERS, [one, two], (2, 6))
    for i, found in enumerate(half):
        expected = 0.25 * gram(phi(one[None])[i]) + 0.75 * gram(phi(two[None])[i])
        torch.testing.assert_close(found, expected)
    for a, b in zip(blended(phi, LAYERS, [one, two]), blended(phi, LAYERS, [one, two], (1, 1)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("blend", [(1,), (1, -1), (0, 0), (1, 1, 1)])
def test_a_wrong_blend_is_refused(blend: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="blend"):
        blended(phi, LAYERS, [picture(4), picture(5)], blend)


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    content, style, at = picture(1), picture(2), picture(3)
    aim = aim_of(phi, LAYERS, content, blended(phi, LAYERS, [style]))
    maps, wanted = phi(at[None]), phi(content[None])
    c = (maps[1] - wanted[1]).square().sum() / wanted[1].square().sum()
    s = sum(((gram(a) - gram(b)) ** 2).sum() / (gram(b) ** 2).sum() for a, b in zip(maps, phi(style[None]), strict=True)) / 2
    expected = 3 * c + 5 * s + 0.1 * total_variation(at[None])[0] / 3
    torch.testing.assert_close(loss_of(phi, LAYERS, aim, Weights(3, 5, 0.1))(at[None])[0], expected)


def test_the_style_of_itself_and_the_content_of_itself_cost_nothing() -> None:
    content = picture(1)
    found = terms(phi, LAYERS, aim_of(phi, LAYERS, content, blended(phi, LAYERS, [content])), content[None])
    assert [float(f) for f in found] == [0.0, 0.0]


def test_a_heavier_style_comes_nearer_to_the_style_and_leaves_the_content() -> None:
    content, style = picture(1, dtype=torch.float32), picture(2, dtype=torch.float32) ** 3
    light, heavy = (transfer(phi, content, [style], layers=LAYERS, weights=Weights(1, w, 0), evaluations=80) for w in (0.01, 100))
    assert heavy.style < light.style / 2
    assert heavy.content > light.content
    assert heavy.losses[0] > min(heavy.losses)


def test_coarse_to_fine_ends_at_the_last_size_and_reports_all_of_it() -> None:
    seen: list[tuple[int, int]] = []
    made = transfer(
        phi, picture(1, 16, 16), [picture(2)], layers=LAYERS, sizes=[(8, 8), (16, 16)], evaluations=4,
        seen=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert made.picture.shape == (3, 16, 16)
    assert seen == [(i, 8) for i in range(1, 9)]


def test_a_style_is_scaled_by_area_in_its_own_aspect() -> None:
    assert scaled(picture(2, 20, 40), (10, 20), 1.0).shape == (3, 10, 20)
    assert scaled(picture(2, 20, 40), (16, 32), 0.5).shape == (3, 8, 16)
    with pytest.raises(UsageError, match="above 0"):
        scaled(picture(2), (4, 4), 0.0)


def test_original_colours_keep_brightness_and_take_the_hue() -> None:
    images, colours = picture(6)[None] * 0.2 + 0.4, picture(7)[None] * 0.2 + 0.4
    found = recoloured(images, colours)
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    bright = torch.einsum("c,nchw->nhw", weights, found)
    torch.testing.assert_close(bright, torch.einsum("c,nchw->nhw", weights, images), atol=1e-6, rtol=0)
    torch.testing.assert_close(recoloured(colours, colours), colours, atol=1e-6, rtol=0)
    grey = images[:, :1]
    assert recoloured(grey, grey) is grey


def test_weights_below_zero_are_refused() -> None:
    with pytest.raises(UsageError, match="0 and more"):
        Weights(style=-1.0)
