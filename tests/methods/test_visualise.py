"""Feature visualisation without an audit, on networks whose best picture is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import auditor
from auditor.errors import TargetError, UsageError
from auditor.methods.ascent import recipe
from auditor.preprocess import Geometry, Preprocess

torch.set_num_threads(1)
PREPROCESS = Preprocess(Geometry("RGB", (16, 16)), (0.5,) * 3, (0.25,) * 3)


class Colours(nn.Module):
    """Channel 0 fires at red, 1 at its absence, 2 at edges; above it a head that nobody asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.head = nn.Linear(3, 4)
        self.above = 0
        with torch.no_grad():
            self.low.weight.zero_()
            self.low.weight[0, 0, 1, 1], self.low.weight[1, 0, 1, 1] = 1.0, -1.0
            self.low.weight[2, :, 1, 0], self.low.weight[2, :, 1, 2] = -1.0, 1.0

    def forward(self, x: Tensor) -> Tensor:
        x = self.low(x)
        self.above += 1
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("how", ["fourier", "maco", "pixels", "none", "yosinski_3"])
def test_a_unit_gets_the_colour_it_asks_for(how: str) -> None:
    model = Colours().train()
    red, dark = auditor.visualise(model, "low", [0, 1], steps=40, parameterisation=how, preprocess=PREPROCESS)
    assert red.shape == (3, 16, 16)
    assert float(red.min()) >= 0
    assert float(red.max()) <= 1
    assert red[0].mean() > dark[0].mean() + (0.02 if how == "maco" else 0.2)
    assert model.above == 0
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_one_unit_one_picture_and_the_same_for_a_seed_in_any_company() -> None:
    model = Colours()
    given: dict[str, Any] = {"steps": 5, "preprocess": PREPROCESS}
    both = auditor.visualise(model, "low", [2, 0], **given)
    alone = auditor.visualise(model, "low", 0, **given, batch=1)
    assert alone.shape == (1, 3, 16, 16)
    torch.testing.assert_close(both[1], alone[0], rtol=0, atol=1e-5)
    assert not torch.equal(auditor.visualise(model, "low", 0, **given, seed=1), alone)
    assert len(auditor.visualise(model, "low", [], **given)) == 0


def test_zero_steps_are_the_start_and_a_recipe_may_be_given() -> None:
    model = Colours()
    start = auditor.visualise(model, "low", 0, steps=0, parameterisation="none", preprocess=PREPROCESS)
    assert (start - 0.5).std().item() == pytest.approx(10 / 255, rel=0.1)
    given = auditor.visualise(model, "low", 0, steps=3, parameterisation=recipe("none"), preprocess=PREPROCESS)
    named = auditor.visualise(model, "low", 0, steps=3, parameterisation="none", preprocess=PREPROCESS)
    assert torch.equal(given, named)


def test_scores_a_size_the_centre_and_natural_images() -> None:
    model = Colours()
    images = 0.5 + 0.2 * torch.rand(4, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    scores = auditor.visualise(model, "", [3], steps=2, preprocess=PREPROCESS, size=12)
    assert scores.shape == (1, 3, 12, 12)
    made = auditor.visualise(
        model, "low", 2, steps=4, preprocess=PREPROCESS, size=(10, 8), at="centre", images=images, parameterisation="maco"
    )
    assert made.shape == (1, 3, 10, 8)
    assert made.mean().item() == pytest.approx(0.6, abs=0.02), "the mean colour is that of the images"


def test_the_models_own_preprocessing_is_taken_where_none_is_given() -> None:
    model = Colours()
    model.preprocess = PREPROCESS
    own = auditor.visualise(model, "low", 0, steps=2)
    assert torch.equal(own, auditor.visualise(model, "low", 0, steps=2, preprocess=PREPROCESS))
    assert auditor.visualise(Colours(), "low", 0, steps=0).shape == (1, 3, 224, 224)


def test_a_layer_of_channels_last_has_its_channels_as_units() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low = Colours().low
            self.turn = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return self.turn(self.low(x).permute(0, 2, 3, 1)).mean((1, 2))

    given: dict[str, Any] = {"steps": 3, "preprocess": PREPROCESS}
    first, last = (auditor.visualise(Last(), layer, [0, 2], **given) for layer in ("low", "turn"))
    torch.testing.assert_close(last, first, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        ({"layer": "high"}, TargetError, "'high'"),
        ({"units": [3]}, UsageError, r"units within 0\.\.2 of layer 'low'"),
        ({"parameterisation": "magic"}, UsageError, "fourier, maco, pixels"),
        ({"steps": -1}, UsageError, "steps >= 0"),
        ({"sed": 3}, UsageError, "'sed'"),
        ({"at": "corner"}, UsageError, "centre"),
        ({"images": torch.rand(2, 1, 8, 8)}, UsageError, r"\(n,3,H,W\)"),
        ({"images": 2 * torch.ones(2, 3, 8, 8)}, UsageError, r"\[0,1\]"),
    ],
)
def test_what_cannot_be_done_is_refused(bad: dict[str, Any], error: type[Exception], words: str) -> None:
    given = {"layer": "low", "units": [0], "preprocess": PREPROCESS, "steps": 1} | bad
    model = Colours()
    with pytest.raises(error, match=words):
        auditor.visualise(model, given.pop("layer"), given.pop("units"), **given)
    assert not any(m._forward_hooks for m in model.modules())
    assert model.low.weight.requires_grad
