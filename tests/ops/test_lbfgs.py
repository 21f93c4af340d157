"""L-BFGS within bounds, where the minimum is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from auditor.ops.lbfgs import minimise


def quadratic(centre: Tensor) -> object:
    return lambda x: (torch.arange(1.0, 5.0) * (x - centre).square()).sum()


def test_the_minimum_within_the_bounds_is_met_exactly() -> None:
    centre = torch.tensor([0.2, 0.7, -3.0, 1.5])
    ended = minimise(quadratic(centre), torch.full((4,), 0.5), evaluations=60)
    torch.testing.assert_close(ended.value, centre.clamp(0, 1), atol=1e-4, rtol=0)
    assert min(ended.losses) < ended.losses[0]


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
