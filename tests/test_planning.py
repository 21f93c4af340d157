from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from auditor.planning import make_plan


@pytest.mark.parametrize(
    ("side", "batch", "device", "expected"),
    [
        (224, None, "cpu", (8, 256)),
        (32, None, "cpu", (256, 1024)),
        (224, None, "cuda", (64, 256)),
        (224, 500, "cpu", (500, 2000)),
    ],
)
def test_a_shard_holds_whole_batches_four_at_least_and_256_images(
    side: int, batch: int | None, device: str, expected: tuple[int, int]
) -> None:
    target: Any = SimpleNamespace(input_shape=(3, side, side), device=torch.device(device))
    plan = make_plan(target, [], profile="quick", batch=batch)
    assert (plan.batch, plan.shard) == expected, "a shard of fewer images would cut batches short"
