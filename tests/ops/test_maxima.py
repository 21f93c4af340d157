from __future__ import annotations

from unittest import mock

import pytest
import torch
from torch import Tensor

from auditor.ops.maxima import Maxima


@pytest.fixture
def read() -> list[int]:
    return []


@pytest.fixture
def maxima(read: list[int]) -> Maxima:
    plain = Tensor.amax

    def counted(self: Tensor, *given: object) -> Tensor:
        read.append(1)
        return plain(self, *given)  # type: ignore[call-overload,no-any-return]

    with mock.patch.object(Tensor, "amax", counted):
        yield Maxima()  # type: ignore[misc]


def test_a_tensor_is_read_once_and_again_when_it_was_written_to(maxima: Maxima, read: list[int]) -> None:
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(maxima(maps), maps.flatten(2).max(2).values)
    assert maxima(maps) is maxima(maps)
    assert len(read) == 1
    maps.neg_()
    assert torch.equal(maxima(maps), maps.flatten(2).max(2).values)
    assert len(read) == 2


def test_another_tensor_in_the_same_memory_is_another(maxima: Maxima, read: list[int]) -> None:
    for value in range(5):
        assert float(maxima(torch.full((1, 1, 2, 2), float(value)))) == value
    assert len(read) == 5
    maps = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert maxima(maps[:, :1]).tolist() == [[3.0]]
    assert maxima(maps[:, 1:]).tolist() == [[7.0]]


def test_what_has_no_version_is_read_each_time_and_nan_is_kept(maxima: Maxima, read: list[int]) -> None:
    with torch.inference_mode():
        maps = torch.tensor([[[[1.0, float("nan")]]]])
        assert maxima(maps).isnan().all()
        assert maxima(maps).isnan().all()
    assert len(read) == 2


def test_what_is_forgotten_is_read_anew(maxima: Maxima, read: list[int]) -> None:
    maps = torch.zeros(1, 1, 2, 2)
    assert maxima(maps).item() == 0
    maps.numpy()[:] = 3  # tells nobody
    maxima.forget()
    assert maxima(maps).item() == 3
    assert len(read) == 2
