from __future__ import annotations

import pytest

from auditor.ops.batching import images_at_once


@pytest.mark.parametrize(
    ("shape", "device", "gradient", "expected"),
    [
        ((3, 224, 224), "cpu", False, 8), ((3, 224, 224), "cpu", True, 4), ((3, 224, 224), "cuda", False, 64),
        ((3, 32, 32), "cpu", False, 256), ((1, 28, 28), "cpu", True, 256), ((3, 4000, 4000), "cpu", True, 1),
    ],
)  # fmt: skip
def test_a_batch_holds_about_the_same_numbers_whatever_the_size(
    shape: tuple[int, ...], device: str, gradient: bool, expected: int
) -> None:
    assert images_at_once(shape, device, gradient=gradient) == expected
