"""By fewer multiplications the same comes out as of a direct convolution, and it is said where that pays."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from auditor.ops import winograd
from auditor.ops.winograd import Kernel, gain, matrices, pays
from tests.ops.compared import EXACT, apart, drawn


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(1, 5),
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    channels=st.integers(1, 5),
    outputs=st.integers(1, 5),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    biased=st.booleans(),
    last=st.booleans(),
    room=st.sampled_from([1, 20_000, winograd.ROOM]),
)
def test_it_is_the_convolution(
    count: int,
    height: int,
    width: int,
    channels: int,
    outputs: int,
    padding: tuple[int, int],
    biased: bool,
    last: bool,
    room: int,
) -> None:
    """At every size, cut into parts or not: what is left of the last tile is no part of the maps."""
    if height + 2 * padding[0] < 3 or width + 2 * padding[1] < 3:
        return
    maps = drawn(count, channels, height, width).contiguous(
        memory_format=torch.channels_last if last else torch.contiguous_format
    )
    weight, bias = drawn(outputs, channels, 3, 3, seed=1), drawn(outputs, seed=2) if biased else None
    wanted = functional.conv2d(maps, weight, bias, padding=padding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "ROOM", room)
        assert apart(Kernel(weight)(maps, bias, padding), wanted) < EXACT


def test_the_error_in_float32_is_small() -> None:
    maps, weight = drawn(4, 256, 14, 14).relu(), drawn(256, 256, 3, 3, seed=1) / 48
    exact = functional.conv2d(maps, weight, padding=1)
    found = Kernel(weight.float())(maps.float(), None, (1, 1))
    error = float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt())
    assert 0 < error < 2e-6


def test_the_matrices_are_those_of_minimal_filtering() -> None:
    """In one dimension, eq. 6: A^T [(G g) * (B^T d)] are the sums of the filter laid over the inputs."""
    down, taps, up = matrices()
    inputs, filters = drawn(6), drawn(3, seed=1)
    found = up @ ((taps @ filters) * (down @ inputs))
    assert torch.allclose(found, inputs.unfold(0, 3, 1) @ filters, rtol=0, atol=EXACT)


def test_it_is_taken_where_many_channels_meet_many_tiles() -> None:
    assert gain(8, 28, 28, 512, 512) > gain(8, 14, 14, 256, 256) > winograd.LEAST_GAIN > 1 > gain(8, 32, 32, 16, 16)
    assert gain(1, 8, 8, 512, 512) < 1 < gain(16, 8, 8, 512, 512), "the weight is loaded 36 places at a time, for how many tiles?"
    assert not pays(drawn(8, 128, 28, 28).half(), drawn(128, 128, 3, 3).half(), (1, 1))
