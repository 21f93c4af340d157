from __future__ import annotations

import torch

from auditor.methods.edges import edges


def test_edges_are_where_the_grey_changes_and_as_long_as_the_slope() -> None:
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    ramp = torch.stack([3 * x + 4 * y, 3 * x + 4 * y, 3 * x + 4 * y])[None]
    torch.testing.assert_close(edges(ramp), torch.full((1, 6, 8), 5.0))
    step = torch.zeros(1, 1, 5, 9)
    step[..., 4:] = 1
    found = edges(step)[0]
    assert found[:, 3:5].min() == 0.5
    assert found[:, :3].abs().max() == found[:, 5:].abs().max() == 0
    assert edges(torch.rand(2, 3, 1, 4)).shape == (2, 1, 4)
