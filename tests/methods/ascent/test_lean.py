"""What is climbed costs less than the model and is the same: the same units, the same slopes, the same pictures."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import auditor
from auditor.methods.ascent import Energy, Space, Units
from tests.methods.ascent.worlds import space

torch.set_num_threads(1)


class Normed(nn.Module):
    """Two convolutions with batch norms, the second pair called twice, and a head, in float64."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(2)
            self.first, self.norm = nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5)
            self.again, self.other = nn.Conv2d(5, 5, 3, padding=1), nn.BatchNorm2d(5)
            self.head = nn.Linear(5, 4)
            for norm in (self.norm, self.other):
                for part in (norm.running_mean, norm.weight, norm.bias):
                    nn.init.normal_(part)  # type: ignore[arg-type]
                nn.init.uniform_(norm.running_var, 0.5, 2.0)  # type: ignore[arg-type]
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.first(x)).relu()
        for _ in range(2):
            x = self.other(self.again(x)).relu()
        return self.head(x.mean((2, 3)))


def left(model: nn.Module) -> list[str]:
    """Batch norms that are not folded."""
    return [name for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    ("layer", "norms"),
    [
        ("first", ["norm", "other"]),  # its own output is asked for: the norm behind it must not be in it
        ("norm", ["other"]),
        ("again", ["other"]),
        ("again#1", ["other"]),
        ("other#1", ["other"]),
        ("", ["other"]),
    ],
)
def test_units_keep_their_values_and_slopes(layer: str, norms: list[str]) -> None:
    model, here = Normed(), space((3, 7, 6))
    exact = Units(model, layer)
    cheap = exact.lean(here)
    images, units = torch.rand(4, 3, 7, 6, dtype=torch.float64), torch.tensor([3, 0, 2, 2])
    assert cheap.model is not model
    assert left(cheap.model) == norms
    assert left(model) == ["norm", "other"]
    values, slopes = [], []
    for one in (exact, cheap):
        leaf = images.clone().requires_grad_(True)
        found = one(here.normalise(leaf), units)
        slopes.append(torch.autograd.grad(found.sum(), leaf)[0])
        values.append(found.detach())
    assert slopes[0].abs().max() > 1e-4
    torch.testing.assert_close(values[1], values[0], rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-10, atol=1e-12)


def test_the_energy_of_a_layer_too() -> None:
    model, here = Normed(), space((3, 7, 6))
    images, none = here.normalise(torch.rand(2, 3, 7, 6, dtype=torch.float64)), torch.zeros(2)
    cheap = Energy(model, "norm").lean(here)
    assert left(cheap.model) == ["other"]
    torch.testing.assert_close(cheap(images, none), Energy(model, "norm")(images, none), rtol=1e-11, atol=1e-12)


def test_visualise_climbs_the_cheap_model(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[nn.Module] = []
    asked = Units.__call__

    def watched(self: Units, images: Tensor, units: Tensor) -> Tensor:
        seen.append(self.model)
        return asked(self, images, units)

    monkeypatch.setattr(Units, "__call__", watched)
    model = Normed().float()
    pictures = auditor.visualise(model, "norm", [1, 2], steps=4, size=16)
    assert len(seen) == 5
    assert all(one is not model and left(one) == ["other"] for one in seen)
    monkeypatch.setattr(Units, "lean", lambda self, _space: self)
    torch.testing.assert_close(auditor.visualise(model, "norm", [1, 2], steps=4, size=16), pictures, rtol=0, atol=1e-3)


def test_a_model_that_cannot_be_copied_is_climbed_as_it_is() -> None:
    class Single(Normed):
        def __deepcopy__(self, _memo: object) -> None:
            raise TypeError("there is one of me")

    model = Single()
    here: Space = space((3, 7, 6))
    assert Units(model, "norm").lean(here).model is model
