"""Twelve planted defences raise a flag each; honest models raise none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.demo import data, models
from auditor.methods.masking import OPTIMISES, RANDOM, WEAK, as_arrays, beaten, flags, follows_gradients, signs, weaker
from tests.methods import defences

torch.set_num_threads(1)


def same(x: Tensor) -> Tensor:
    return x


class Unit(nn.Module):
    """A demo model behind its normalisation."""

    def __init__(self, name: str = "digits") -> None:
        super().__init__()
        self.inner, self.preprocess, _ = models.build(name)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.preprocess.normalise(x))


def digits(n: int) -> tuple[Tensor, Tensor]:
    images, labels = data.load_digits()
    _, held = data.split(labels)
    return torch.from_numpy(images[held[:n]]).unsqueeze(1).float() / 255, torch.from_numpy(labels[held[:n]])


def raised(model: nn.Module, n: int = 24) -> tuple[str, ...]:
    torch.manual_seed(0)
    images, labels = digits(n)
    return flags(as_arrays(signs(model.eval(), images, labels, normalise=same)))


EXPECTED = {
    "Quantised": "zero gradient", "Binarised": "zero gradient", "Resized": "random", "Noisy": "random",
    "Saturated": "saturated", "Detached": "finite differences", "Backwards": "finite differences",
    "Shattered": "finite differences", "Rounded": "zero gradient", "Purified": "gradients of its own",
    "Thermometer": "zero gradient", "Mixed": "zero gradient",
}  # fmt: skip


@pytest.mark.parametrize("kind", defences.DEFENCES, ids=lambda kind: kind.__name__)
def test_a_planted_defence_raises_its_flag(kind) -> None:
    said = raised(kind(Unit()))
    assert any(EXPECTED[kind.__name__] in flag for flag in said), said
    assert all(flag.startswith("void:") for flag in said)


@pytest.mark.parametrize("name", ["digits", "digits-robust"])
def test_an_honest_model_raises_none(name) -> None:
    assert raised(Unit(name), 60) == ()


def test_a_smooth_net_in_double_precision_has_a_true_slope() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 4, 5), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 24 * 24, 10)).double()
    images, _ = digits(10)
    labels = net(images.double()).argmax(1)
    found = signs(net, images.double(), labels, normalise=same)
    assert not any(column.any() for column in as_arrays(found).values())


def test_a_forward_that_keeps_a_graph_without_going_back_is_honest() -> None:
    class Keeps(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with torch.enable_grad():
                return x.flatten(1)[:, :3].requires_grad_(True).exp()

    assert not follows_gradients(Keeps(), torch.rand(1, 1, 2, 3), same)


def test_flags_count_what_they_say() -> None:
    none = {name: np.zeros(40, dtype=bool) for name in ("silent", "saturated", "untrue", "unbroken", "random", "optimises")}
    assert flags(none) == ()
    some = np.arange(40)
    assert flags(none | {"silent": some < 1}) == ("void: masking suspected: zero gradient on 1 of 40 images",)
    assert flags(none | {"untrue": some < 20}) == ()
    assert "on 21 of 40" in flags(none | {"untrue": some < 21})[0]
    assert flags(none | {"unbroken": some < 2}) == ()
    assert "3 of 40" in flags(none | {"unbroken": some < 3})[0]
    assert flags(none | {"random": some < 1, "optimises": some < 1}) == (RANDOM, OPTIMISES)


def test_square_beating_the_gradient_and_fgsm_beating_pgd_are_flags() -> None:
    assert beaten(30, 1, 40) == ()
    assert "Square fools 2 of 40" in beaten(30, 2, 40)[0]
    assert beaten(30, 4, 200) == ()
    assert beaten(30, 5, 200) != ()
    once, many = np.array([[1, 0], [0, 1]], dtype=bool), np.array([[1, 1], [0, 1]], dtype=bool)
    assert weaker(once, many) == ()
    assert weaker(many, once) == (WEAK,)
