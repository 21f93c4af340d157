from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

from auditor.methods.deletion import area, cell_order, deletion, hidden_counts
from auditor.methods.insertion import blurred, insertion

torch.set_num_threads(1)


class Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x.sum((1, 2, 3)), torch.zeros(len(x), dtype=x.dtype)], 1)


def test_it_shows_in_order_from_the_start_to_the_whole_image() -> None:
    x = torch.tensor([[3.0, 1.0], [0.0, 2.0]], dtype=torch.float64)[None, None]
    best, worst = torch.tensor([[0, 3, 1, 2]]), torch.tensor([[2, 1, 3, 0]])
    curve = insertion(Sum(), x, 0, best, cell=1, steps=4, start=0.0, batch=2)
    torch.testing.assert_close(curve, torch.sigmoid(torch.tensor([[0.0, 3.0, 5.0, 6.0, 6.0]], dtype=torch.float64)))
    assert torch.equal(cell_order(x[:, 0], 1), best)
    counts = hidden_counts(4, 4)
    assert area(curve.numpy(), counts)[0] > area(insertion(Sum(), x, 0, worst, cell=1, steps=4, start=0.0).numpy(), counts)[0]


def test_both_ends_are_those_of_deletion_turned_round_and_a_reversed_order_is_deletion_backwards() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 6 * 8, 5)).double().eval()
        x, start = torch.randn(2, 3, 8, 10, dtype=torch.float64), torch.randn(2, 3, 8, 10, dtype=torch.float64)
        order = torch.stack([torch.randperm(20), torch.randperm(20)])
    shown = insertion(net, x, torch.tensor([1, 4]), order, cell=2, steps=5, start=start)
    hidden = deletion(net, x, torch.tensor([1, 4]), order.flip(1), cell=2, steps=5, fill=start)
    torch.testing.assert_close(shown, hidden.flip(1))
    whole = torch.softmax(net(x), 1)[[0, 1], [1, 4]]
    torch.testing.assert_close(shown[:, -1], whole)
    torch.testing.assert_close(shown[:, 0], torch.softmax(net(start), 1)[[0, 1], [1, 4]])
    assert (shown[:, 1:-1] - whole[:, None]).abs().min() > 1e-4


def test_the_blur_is_a_gaussian_that_keeps_a_flat_image_flat() -> None:
    flat = torch.full((1, 3, 12, 20), 0.7, dtype=torch.float64)
    torch.testing.assert_close(blurred(flat, 0.1), flat)
    dot = torch.zeros(1, 1, 64, 96, dtype=torch.float64)
    dot[0, 0, 32, 48] = 1
    expected = gaussian_filter1d(gaussian_filter1d(dot[0, 0].numpy(), 64 / 16, axis=0, truncate=7), 96 / 16, axis=1, truncate=7)
    np.testing.assert_allclose(blurred(dot, 1 / 16)[0, 0].numpy()[32], expected[32], atol=1e-9)
    assert torch.equal(blurred(dot, 0.0), dot)
    assert blurred(dot, 1 / 4).max() == pytest.approx(1 / (2 * np.pi * 16 * 24), rel=0.1)
