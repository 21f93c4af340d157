from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auditor.errors import ConfigError
from auditor.evidence import asked
from auditor.evidence.predictions import Predictions

NAMES = ("cat", "dog", "7", "emu")


@pytest.fixture
def facts() -> Any:
    # image:    0 right (cat)     1 wrong (dog for cat)  2 unlabelled         3 wrong (emu for dog)   4 right (emu)
    scores = [[5.0, 1, 2, 3], [1, 4, 0, 0], [0, 0, 2, 1], [0, 2, 1, 3], [3, 0, 1, 8]]
    predictions = Predictions(np.array(scores, dtype=np.float32), np.array([0, 0, -1, 1, 3]))
    order = np.array([3, 0, 4, 2, 1])
    return SimpleNamespace(predictions=predictions, names=NAMES, dataset=range(5), chosen=lambda count: order[:count])


@pytest.mark.parametrize(
    ("target", "contrast", "items"),
    [
        ("predicted", "", ((3, 3, -1), (0, 0, -1), (4, 3, -1))),
        ("predicted", "runner_up", ((3, 3, 1), (0, 0, 3), (4, 3, 0))),
        ("true", "", ((3, 1, -1), (0, 0, -1), (4, 3, -1))),
        ("predicted", "true", ((3, 3, 1), (1, 1, 0))),
        ("dog", "", ((3, 1, -1), (0, 1, -1), (4, 1, -1))),
        ("true", "emu", ((3, 1, 3), (0, 0, 3), (1, 0, 3))),
        ("3", "cat", ((3, 3, 0), (0, 3, 0), (4, 3, 0))),
        ("7", "", ((3, 2, -1), (0, 2, -1), (4, 2, -1))),
    ],
)
def test_the_classes_of_the_first_images_that_have_them(facts: Any, target: str, contrast: str, items: Any) -> None:
    assert asked(facts, 3, target, contrast).items == items


def test_in_words(facts: Any) -> None:
    found = asked(facts, 3, "predicted", "true")
    assert found.what == "predicted class against true class"
    assert found.named(0, NAMES) == "emu against dog"
    assert asked(facts, 2, "dog").named(1, NAMES) == "dog"
    assert found.left_out == 3
    assert asked(facts, 0).nothing.startswith("no image was chosen")
    never = asked(facts, 3, "predicted", "predicted")
    assert never.items == ()
    assert "none of 5 images has the predicted class against predicted class" in never.nothing


def test_an_unknown_class_is_told_with_those_near_it(facts: Any) -> None:
    with pytest.raises(ConfigError, match="4 classes by name or number, got 'dogg'; near it: dog"):
        asked(facts, 3, "dogg")
    with pytest.raises(ConfigError, match="got '9'"):
        asked(facts, 3, "predicted", "9")
