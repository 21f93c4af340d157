"""A small network with two depths, and images of known textures: stripes one way, stripes the other, noise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor.fold import concatenate
from auditor.preprocess import Geometry, Preprocess
from auditor.probe import Results
from auditor.target import Target, load_target

SIDE = 16
PREPROCESS = Preprocess(Geometry("RGB", (SIDE, SIDE)), (0.5,) * 3, (0.25,) * 3)


class Net(nn.Module):
    """Two rectified convolutions and a head on means over positions: it sees texture alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU()
        self.second, self.act2 = nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act2(self.second(self.act(self.first(x)))).mean((2, 3)))


class Data:
    """Six images of SIDE x SIDE, two of a class."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        wave = (np.arange(SIDE) // 2 % 2 * 200).astype(np.uint8)
        planes = [np.tile(wave, (SIDE, 1)), np.tile(wave[:, None], (1, SIDE)), rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)]
        self.images = np.stack([np.stack([np.roll(p, k, 0)] * 3, axis=2) for p in planes for k in (0, 1)])
        self.labels = np.repeat(np.arange(3), 2)
        self.classes = ("across", "down", "noise")
        self.samples = [SimpleNamespace(key=f"{i:064x}:0", name=f"{i}.png") for i in range(6)]
        self.digest = "d"

    def __len__(self) -> int:
        return 6

    def pixels(self, positions: Any) -> Any:
        return self.images[np.asarray(positions)]

    def load(self, positions: Any, device: Any) -> Tensor:
        return PREPROCESS.normalise(torch.from_numpy(self.pixels(positions)).permute(0, 3, 1, 2)).to(device)


class Facts(SimpleNamespace):
    """Evidence, as far as these probes read it."""

    names = ("across", "down", "noise")

    def chosen(self, count: int) -> Any:
        return np.array([2, 0, 4, 1, 3, 5])[:count]


@pytest.fixture
def world() -> tuple[Target, Facts]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net()
    target = load_target(model, preprocess=PREPROCESS, device="cpu")
    return target, Facts(dataset=Data(), seed=3, predictions=object())


def rows_of(probe: Any, target: Any, facts: Any, chunk: int | None = None) -> Any:
    """The rows of a probe's study, `chunk` items at a time."""
    study = probe.study(target, facts, Results())
    assert study is not None
    size = chunk or study.chunk
    return concatenate([study.work(target, facts.dataset, study.items[i : i + size]) for i in range(0, len(study.items), size)])
