"""Total variation and alpha norm against closed forms and finite differences."""

from __future__ import annotations

import pytest
import torch

from auditor.ops.regularisers import alpha_norm, total_variation


@pytest.mark.parametrize("turned", [False, True])
def test_total_variation_of_a_ramp(turned: bool) -> None:
    H, W, a = 5, 7, 0.3
    ramp = (a * torch.arange(W, dtype=torch.float64)).expand(1, 1, H, W)
    images = ramp.transpose(2, 3) if turned else ramp
    assert total_variation(images).item() == pytest.approx(a**2 * H * (W - 1))
    assert total_variation(images, 1.0).item() == pytest.approx(a * H * (W - 1), rel=1e-4)


def test_total_variation_couples_both_directions() -> None:
    corner = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    corner[0, 0, 1, 1] = 1.0
    # (1,1) differs from both neighbours after it, (0,1) and (1,0) from one each
    assert total_variation(corner, 4.0).item() == pytest.approx(2**2 + 1 + 1)


def test_alpha_norm_closed_form() -> None:
    images = torch.tensor([[-2.0, 0.5], [1.0, 0.0]], dtype=torch.float64).view(2, 1, 1, 2)
    assert alpha_norm(images).tolist() == pytest.approx([64 + 0.5**6, 1.0])


@pytest.mark.parametrize(
    "penalty", [total_variation, lambda x: total_variation(x, 3.0), alpha_norm, lambda x: alpha_norm(x, 3.0)]
)
def test_gradient_is_the_finite_difference(penalty) -> None:
    images = torch.randn(2, 2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    assert torch.autograd.gradcheck(penalty, (images,))


def test_bad_powers_are_refused() -> None:
    images = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="beta > 0, got 0"):
        total_variation(images, 0)
    with pytest.raises(ValueError, match="alpha >= 1, got 0"):
        alpha_norm(images, 0)
