"""Inversion where the answer is known: an orthogonal map, a map that forgets, and the penalties alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from auditor.methods.inversion import Johnson, Mahendran, invert, penalty, psnr, start

SHAPE = (1, 4, 4)


def images(n: int = 3) -> Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(5))


def orthogonal() -> Tensor:
    q, _ = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(6)))
    return q


def halved(x: Tensor) -> Tensor:
    return (x - 0.5) / 0.25


def test_orthogonal_map_is_inverted_to_zero_error() -> None:
    q, given = orthogonal(), images()
    found = invert(
        lambda x: x.flatten(1) @ q, halved(given).flatten(1) @ q, shape=SHAPE, normalise=halved, seeds=range(3), iterations=400
    )
    assert found.error.max() < 1e-3
    assert torch.allclose(found.images, given, atol=1e-3)
    assert psnr(found.images, given).min() > 60


def test_what_the_map_forgets_does_not_come_back() -> None:
    q, given = orthogonal()[:, :4], images()
    found = invert(
        lambda x: x.flatten(1) @ q, halved(given).flatten(1) @ q, shape=SHAPE, normalise=halved, seeds=range(3), iterations=400
    )
    assert found.error.max() < 1e-2
    assert psnr(found.images, given).max() < 30
    assert found.images.min() >= 0
    assert found.images.max() <= 1


def test_an_image_does_not_depend_on_its_batch() -> None:
    q, given = orthogonal()[:, :8], images()
    wanted = halved(given).flatten(1) @ q
    settings = {"shape": SHAPE, "normalise": halved, "iterations": 30, "objective": Mahendran(0.01, 0.1)}
    whole = invert(lambda x: x.flatten(1) @ q, wanted, seeds=[7, 8, 9], **settings)
    alone = invert(lambda x: x.flatten(1) @ q, wanted[1:2], seeds=[8], **settings)
    assert torch.allclose(alone.images[0], whole.images[1], atol=1e-5)
    assert not torch.allclose(start(SHAPE, [7]), start(SHAPE, [8]))


def test_total_variation_smooths() -> None:
    given = images()
    wanted = torch.zeros(3, 1)

    def rough(l_v: float) -> float:
        found = invert(
            lambda x: 0 * x.flatten(1)[:, :1],
            wanted,
            shape=SHAPE,
            normalise=halved,
            seeds=range(3),
            iterations=100,
            objective=Mahendran(l_v=l_v),
        )
        return (found.images - found.images.mean((1, 2, 3), keepdim=True)).abs().max().item()

    assert len(given) == 3
    assert rough(1.0) < 0.2 * rough(0.0)


def test_penalty_is_the_mean_norm_and_the_integral_of_the_squared_gradient() -> None:
    ramp = (0.1 * torch.arange(4)).expand(1, 1, 4, 4)
    assert penalty(ramp, l_a=0.0, l_v=1.0).item() == pytest.approx(0.01 * 4 * 3)
    white = torch.ones(1, 3, 8, 8)
    assert penalty(white, l_a=2.0, l_v=1.0).item() == pytest.approx(2.0)
    assert penalty(torch.full((1, 3, 8, 8), 0.5), l_a=2.0, l_v=1.0).item() == 0


def test_psnr_closed_form_and_ceiling() -> None:
    given = torch.full((2, 1, 2, 2), 0.5)
    other = given + torch.tensor([0.1, 0.0]).view(2, 1, 1, 1)
    assert psnr(other, given).tolist() == pytest.approx([20.0, 100.0], rel=1e-4)


def test_a_silent_layer_and_missing_seeds() -> None:
    found = invert(lambda x: 0 * x.flatten(1), torch.zeros(1, 16), shape=SHAPE, normalise=halved, seeds=[1], iterations=3)
    assert found.error.tolist() == [0.0]
    with pytest.raises(ValueError, match="one seed an image, got 1 seeds for 2"):
        invert(lambda x: x, torch.zeros(2, *SHAPE), shape=SHAPE, normalise=halved, seeds=[1])


def test_the_objectives_are_their_formulas_and_differ_by_the_scale_of_the_layer() -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 4, 5, generator=rng, dtype=torch.float64)
    phi, wanted = (torch.randn(2, 7, 2, 2, generator=rng, dtype=torch.float64) for _ in range(2))
    across = (images[..., 1:] - images[..., :-1]).square().sum((1, 2, 3))
    rough = (across + (images[..., 1:, :] - images[..., :-1, :]).square().sum((1, 2, 3))) / 3
    apart, size = (phi - wanted).square().sum((1, 2, 3)), wanted.square().sum((1, 2, 3))
    johnson = Johnson(tv=0.3)(images, phi, wanted)
    torch.testing.assert_close(johnson, apart / 28 + 0.3 * size / 28 * rough)
    torch.testing.assert_close(Mahendran(l_v=0.3)(images, phi, wanted), apart / size + 0.3 * rough)
    norm = (2 * images - 1).pow(6).mean((1, 2, 3))
    torch.testing.assert_close(Mahendran(l_a=0.2)(images, phi, wanted), apart / size + 0.2 * norm)
    torch.testing.assert_close(Johnson(tv=0.3)(images, 4 * phi, 4 * wanted), 16 * johnson, msg="one weight serves every scale")


@pytest.mark.parametrize("objective", [Mahendran(0.2, 0.3), Johnson(0.3)])
def test_the_gradient_of_an_objective_is_its_finite_difference(objective: Mahendran | Johnson) -> None:
    rng = torch.Generator().manual_seed(1)
    matrix = torch.randn(12, 5, generator=rng, dtype=torch.float64)
    wanted = torch.randn(1, 5, generator=rng, dtype=torch.float64)

    def loss(images: Tensor) -> Tensor:
        return objective(images, (images.flatten(1) @ matrix).tanh(), wanted).sum()

    images = torch.rand(1, 1, 3, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (images,))


def test_johnson_gives_an_orthogonal_map_back_too() -> None:
    q, given = orthogonal(), images()
    wanted = halved(given).flatten(1) @ q
    found = invert(
        lambda x: x.flatten(1) @ q, wanted, shape=SHAPE, normalise=halved, seeds=range(3), iterations=400, objective=Johnson()
    )
    assert found.error.max() < 1e-3
    smooth = invert(
        lambda x: x.flatten(1) @ q, wanted, shape=SHAPE, normalise=halved, seeds=range(3), iterations=400, objective=Johnson(0.1)
    )
    assert smooth.error.min() > 0.01
    assert (smooth.images[..., 1:] - smooth.images[..., :-1]).square().sum() < (given[..., 1:] - given[..., :-1]).square().sum()
