"""Maps in any layout are told by their shape, and turned to (n,C,h,w) exactly."""

from __future__ import annotations

import pytest
import torch

from auditor.errors import TargetError
from auditor.ops.maps import Layout, as_maps, layout_of

CASES = [
    ((2, 64, 56, 56), (224, 224), (), Layout("first", (56, 56))),
    ((2, 56, 56, 96), (224, 224), (), Layout("last", (56, 56))),
    ((2, 8, 7, 7), (224, 224), (), Layout("first", (7, 7))),
    ((2, 7, 7, 8), (224, 224), (), Layout("last", (7, 7))),
    ((2, 14, 10, 32), (224, 160), (), Layout("last", (14, 10))),
    ((2, 197, 768), (224, 224), ((14, 14),), Layout("tokens", (14, 14), 1)),
    ((2, 261, 384), (224, 224), ((16, 16),), Layout("tokens", (16, 16), 5)),
    ((2, 784, 192), (224, 224), ((56, 56),), Layout("tokens", (28, 28))),
    ((2, 140, 64), (224, 160), (), Layout("tokens", (14, 10))),
    ((2, 197, 768), (224, 224), (), None),
    ((2, 1024, 196), (224, 224), ((14, 14),), None),
    ((2, 1, 8, 8), (8, 8), (), None),
    ((2, 512, 1, 1), (224, 224), (), None),
    ((2, 10), (224, 224), (), None),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "side", "grids", "expected"), CASES)
def test_the_layout_is_read_off_the_shape(shape, side, grids, expected) -> None:
    assert layout_of(shape, side, grids) == expected


@pytest.mark.parametrize("order", ["first", "last", "tokens"])
def test_every_layout_gives_the_same_maps(order) -> None:
    maps = torch.arange(2 * 3 * 4 * 5, dtype=torch.float64).reshape(2, 3, 4, 5)
    tokens = torch.cat([torch.full((2, 2, 3), -1.0, dtype=torch.float64), maps.flatten(2).transpose(1, 2)], 1)
    held = {"first": maps, "last": maps.permute(0, 2, 3, 1).contiguous(), "tokens": tokens}[order]
    found = as_maps(held, Layout(order, (4, 5), 2 if order == "tokens" else 0))
    assert torch.equal(found, maps)


def test_another_size_is_refused_by_name() -> None:
    with pytest.raises(TargetError, match="keep the image size"):
        as_maps(torch.zeros(1, 50, 3), Layout("tokens", (6, 6), 1))
    with pytest.raises(TargetError, match="four axes"):
        as_maps(torch.zeros(1, 3), Layout("last", (6, 6)))
