"""A user's own generator: loaded, checked, given back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import auditor
from auditor.errors import ConfigError
from auditor.preprocess import Opaque
from auditor.target import load_target, open_generator
from tests.small import PREPROCESS, images, net

FILE = """
import torch
from torch import nn

class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, codes):
        return (codes[:, :3, None, None].sigmoid() * self.scale).expand(-1, 3, 2, 2)

def make():
    return Flat()

def nothing():
    return 3
"""


class Flat(nn.Module):
    def __init__(self, features: int = 6, channels: int = 3, offset: float = 0.0, **bounds: Any) -> None:
        super().__init__()
        self.line, self.offset = nn.Linear(features, channels), offset
        for name, value in bounds.items():
            setattr(self, name, value)

    def forward(self, codes: Tensor) -> Tensor:
        return self.line(codes).sigmoid()[:, :, None, None].expand(-1, -1, 2, 2) + self.offset


@pytest.fixture
def target() -> Any:
    return load_target(net(), preprocess=PREPROCESS, device="cpu")


def test_a_function_in_a_file_makes_it(target: Any, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(FILE)
    found = open_generator(f"{tmp_path}/own.py:make", target)
    assert found.source.endswith("own.py:make")
    assert (found.features, found.bounds) == (6, None)
    assert not found.module.training
    assert not any(p.requires_grad for p in found.module.parameters())
    found.restore()
    assert found.module.training
    assert all(p.requires_grad for p in found.module.parameters())
    for name, said in (("nothing", "got int"), ("absent", "no such function")):
        with pytest.raises(ConfigError, match=said):
            open_generator(f"{tmp_path}/own.py:{name}", target)
    with pytest.raises(ConfigError, match=r"--generator .*absent.py.*does not exist"):
        open_generator(f"{tmp_path}/absent.py:make", target)
    with pytest.raises(ConfigError, match=r"expected file\.py:function"):
        open_generator("own.py", target)


def test_codes_of_its_own_have_bounds(target: Any) -> None:
    own = open_generator(Flat(4, low=-torch.ones(4), high=[1.0, 2.0, 3.0, 4.0]), target)
    assert own.features == 4
    assert own.bounds is not None
    assert own.bounds[1].tolist() == [1.0, 2.0, 3.0, 4.0]
    for bounds in (
        {"low": -torch.ones(4)},
        {"low": torch.ones(4), "high": torch.ones(4)},
        {"low": torch.zeros(3), "high": torch.ones(4)},
    ):
        with pytest.raises(ConfigError, match="`low` below `high`"):
            open_generator(Flat(4, **bounds), target)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Flat(5), "fails on codes"),
        (lambda: Flat(channels=1), r"expected images \(2,3,h,w\)"),
        (lambda: Flat(offset=1.0), r"in \[0,1\]"),
    ],
)
def test_what_makes_no_images_of_the_features_is_refused_and_given_back(target: Any, made: Any, said: str) -> None:
    module = made()
    with pytest.raises(ConfigError, match=said):
        open_generator(module, target)
    assert module.training
    assert module.line.weight.requires_grad


def test_an_opaque_preprocessing_is_refused() -> None:
    opaque = load_target(net(), preprocess=Opaque(lambda image: torch.zeros(3, 16, 16)), device="cpu", input_shape=(3, 16, 16))
    with pytest.raises(ConfigError, match="opaque"):
        open_generator(Flat(), opaque)


def test_an_audit_with_a_generator_is_another_audit_and_leaves_it_as_found(tmp_path: Path) -> None:
    data = (images(24), np.arange(24) % 3)
    common: dict[str, Any] = {"preprocess": PREPROCESS, "probes": "performance", "device": "cpu"}
    alone = auditor.run(net(), data, out=tmp_path / "a", **common)
    module = Flat()
    both = auditor.run(net(), data, out=tmp_path / "b", generator=module, **common)
    assert alone.record.provenance["key"] != both.record.provenance["key"]
    assert both.record.provenance["model"]["generator"]["source"] == "Flat"
    assert "generator" not in alone.record.provenance["model"]
    assert module.training
    model = net().train()
    with pytest.raises(ConfigError, match="fails on codes"):
        auditor.run(model, data, out=tmp_path / "c", generator=Flat(9), **common)
    assert model.training
