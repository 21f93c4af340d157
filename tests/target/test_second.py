"""The second model: its classes meet the first's, its own size and normalisation hold, and both are given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import auditor
from auditor.errors import ConfigError
from auditor.preprocess import Geometry, Opaque, Preprocess
from auditor.target import load_target, open_second, same_class, scores_of_second

FIRST = Preprocess(Geometry("RGB", (8, 8)), (0.5,) * 3, (0.25,) * 3)
OTHER = Preprocess(Geometry("L", (4, 4)), (0.0,), (1.0,))


class Means(nn.Module):
    """Score k is the mean of channel k, or (grey) k times the mean."""

    def __init__(self, channels: int = 3, classes: int = 3) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, classes, bias=False)
        with torch.no_grad():
            self.fc.weight.copy_(torch.eye(classes, channels) if channels > 1 else torch.arange(classes)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))


def named(model: nn.Module, preprocess: Any, classes: Any = None) -> nn.Module:
    model.preprocess, model.classes = preprocess, classes  # type: ignore[assignment]
    return model


def test_classes_meet_by_name_else_by_number() -> None:
    assert same_class(None, None, 3, 3) == (0, 1, 2)
    assert same_class(["cat", "dog"], ["Dog ", "cow", "cat"], 2, 3) == (2, 0)
    assert same_class(["cat", "dog"], ["dog", "cow"], 2, 2) == (None, 0)
    assert same_class(["a", "b"], ["x", "y"], 2, 2) == (0, 1), "no common name, but as many"
    assert same_class(["crane", "crane"], ["crane", "crane"], 2, 2) == (0, 1), "one name twice"
    with pytest.raises(ConfigError, match="got 4 where it has 3"):
        same_class(None, ["a"] * 4, 3, 4)


def test_it_sees_pictures_at_its_own_size_colours_and_normalisation() -> None:
    first = load_target(named(Means(), FIRST), device="cpu")
    second = open_second(named(Means(1), OTHER), first)
    pictures = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    grey = (pictures * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1).mean((1, 2))
    torch.testing.assert_close(scores_of_second(second, pictures), grey[:, None] * torch.arange(3), rtol=0, atol=0.02)
    back = open_second(named(Means(), FIRST), load_target(named(Means(1), OTHER), device="cpu"))
    scores = scores_of_second(back, torch.full((1, 1, 4, 4), 0.75))
    torch.testing.assert_close(scores, torch.ones(1, 3))


def test_one_without_preprocessing_takes_the_first_ones() -> None:
    first = load_target(named(Means(), FIRST), device="cpu")
    assert open_second(Means(), first).preprocess == FIRST


def test_what_does_not_fit_is_refused_and_given_back() -> None:
    first = load_target(named(Means(), FIRST), device="cpu")
    four = named(Means(3, 4), FIRST).train()
    with pytest.raises(ConfigError, match="got 4 where it has 3"):
        open_second(four, first)
    assert four.training
    assert four.fc.weight.requires_grad
    with pytest.raises(ConfigError, match="opaque"):
        open_second(named(Means(), Opaque(lambda image: torch.zeros(3, 8, 8))), first)
    features = load_target(named(Means(), FIRST), device="cpu", task="features")
    with pytest.raises(ConfigError, match="features"):
        open_second(Means(), features)


def test_an_audit_with_a_second_model_is_another_audit_and_leaves_both_as_found(tmp_path: Path) -> None:
    data = (np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8), np.arange(9) % 3)
    first, second = Means().train(), Means().train()
    common: dict[str, Any] = {"preprocess": FIRST, "probes": "performance", "device": "cpu"}
    alone = auditor.run(first, data, out=tmp_path / "a", **common)
    both = auditor.run(first, data, out=tmp_path / "b", second_model=second, **common)
    assert alone.record.provenance["key"] != both.record.provenance["key"]
    assert both.record.provenance["model"]["second"]["source"] == "Means"
    assert "second" not in alone.record.provenance["model"]
    for model in (first, second):
        assert model.training
        assert model.fc.weight.requires_grad
    with pytest.raises(ConfigError, match="got 5"):
        auditor.run(first, data, out=tmp_path / "c", second_model=Means(3, 5), **common)
    assert first.training
