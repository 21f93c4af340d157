"""L-BFGS within bounds, where the minimum is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from auditor.ops.lbfgs import minimise


def quadratic(centre: Tensor) -> object:
    return lambda x: (torch.arange(1.0, 5.0).to(x) * (x - centre).square()).sum()


def test_the_minimum_within_the_bounds_is_met_exactly() -> None:
    centre = torch.tensor([0.2, 0.7, -3.0, 1.5], dtype=torch.float64)
    ended = minimise(quadratic(centre), torch.full_like(centre, 0.5), evaluations=60)
    torch.testing.assert_close(ended.value, centre.clamp(0, 1), atol=1e-4, rtol=0)
    assert min(ended.losses) < ended.losses[0]


@pytest.mark.parametrize("seed", range(3))
def test_it_ends_where_scipys_does(seed: int) -> None:
    """A quadratic of 30 coupled numbers whose minimum lies outside the bounds: some end at a bound, others between."""
    generator = torch.Generator().manual_seed(seed)
    root, centre = (torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in ((30, 30), (30,)))
    curvature = root @ root.T + 0.1 * torch.eye(30, dtype=torch.float64)
    ended = minimise(lambda x: (x - centre) @ curvature @ (x - centre), torch.full_like(centre, 0.5), evaluations=1000)
    a, c = curvature.numpy(), centre.numpy()
    there = scipy.optimize.minimize(
        lambda x: ((x - c) @ a @ (x - c), 2 * a @ (x - c)), np.full(30, 0.5), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * 30,
        options={"ftol": 0.0, "gtol": 1e-12, "maxfun": 5000},
    )  # fmt: skip
    assert 5 < int(((there.x == 0) | (there.x == 1)).sum()) < 28
    assert min(ended.losses) == pytest.approx(there.fun, rel=1e-5)


def test_the_budget_is_kept_and_the_best_point_is_given() -> None:
    points: list[Tensor] = []

    def loss(x: Tensor) -> Tensor:
        points.append(x.detach().clone())
        return (x - 0.9).square().sum() + torch.sin(40 * x).sum()

    ended = minimise(loss, torch.linspace(0.1, 0.9, 6), evaluations=7)
    assert len(points) == len(ended.losses) == 7
    best = min(range(7), key=lambda i: ended.losses[i])
    assert torch.equal(ended.value, points[best])
    assert all(bool(((p >= 0) & (p <= 1)).all()) for p in points)


def test_a_start_without_slope_is_given_back() -> None:
    start = torch.rand(3, generator=torch.Generator().manual_seed(0))
    ended = minimise(lambda x: (x * 0).sum(), start, evaluations=9)
    assert torch.equal(ended.value, start)


def test_what_cannot_be_minimised_is_refused() -> None:
    with pytest.raises(ValueError, match="evaluations"):
        minimise(lambda x: x.sum(), torch.zeros(2), evaluations=0)
    with pytest.raises(ValueError, match="finite"):
        minimise(lambda x: (x * float("nan")).sum(), torch.zeros(2), evaluations=3)


def test_it_ends_at_the_first_loss_that_is_small_enough() -> None:
    whole = minimise(quadratic(torch.full((4,), 0.3)), torch.full((4,), 0.9), evaluations=40)
    enough = whole.losses[len(whole.losses) // 2]
    ended = minimise(quadratic(torch.full((4,), 0.3)), torch.full((4,), 0.9), evaluations=40, enough=enough)
    first = next(i for i, loss in enumerate(whole.losses) if loss <= enough)
    assert ended.losses == whole.losses[: first + 1]
