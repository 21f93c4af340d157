"""A small network whose units are known, and images that may carry a mark."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auditor.fold import Batch, concatenate
from auditor.probe import Results
from auditor.probes.patches import Patches
from auditor.probes.patches.layers import Layer
from auditor.probes.patches.odd import sheets
from auditor.probes.patches.watch import Watch
from auditor.types import Array, Finding

SIDE, COUNT = 24, 60


class Data:
    """Noise of 24 x 24; the last image of every class of ten carries a bright mark in the corner where `marked` says so."""

    def __init__(self, marked: bool = False, labels: bool = True) -> None:
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 120, (COUNT, SIDE, SIDE, 1), dtype=np.uint8)
        self.labels = np.arange(COUNT) // 10 if labels else np.full(COUNT, -1)
        if marked:
            self.images[::3, 1:4, 1:4] = 255
        self.samples = [SimpleNamespace(key=f"{i}:0", name=f"{i}.png") for i in range(COUNT)]
        self.slices: dict[str, Array] = {}

    def __len__(self) -> int:
        return COUNT

    def load(self, positions: Any, device: torch.device) -> Tensor:
        return torch.from_numpy(self.images[np.asarray(positions)]).permute(0, 3, 1, 2).float() / 255

    def pixels(self, positions: Any) -> Array:
        return self.images[np.asarray(positions)]


class Facts(SimpleNamespace):
    def chosen(self, count: int) -> Array:
        return np.random.default_rng(1).permutation(COUNT)[:count]


class Net(nn.Module):
    """Unit 0 of `first` fires at a bright 3 x 3 blob alone, unit 1 never, 2 at what is dark, 3 at an edge; `second` is positive."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.first = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        with torch.no_grad():
            self.conv.weight[0], self.conv.bias[0] = 1.0, -6.0  # nine bright pixels, and nothing less
            self.conv.weight[1], self.conv.bias[1] = -1.0, -1.0
            self.conv.weight[2], self.conv.bias[2] = -1.0, 3.0
            self.second.bias += 9

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(self.conv(x)))


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net().eval().requires_grad_(False)


def world(model: nn.Module, **kinds: Any) -> tuple[Any, Any]:
    data = Data(**kinds)
    target = SimpleNamespace(
        model=model,
        device=torch.device("cpu"),
        input_shape=(1, SIDE, SIDE),
        trace=(),
        choose=lambda _kind, count: ("first", "second")[:count],
    )
    names = tuple(f"kind {k}" for k in range(6))
    predicted = SimpleNamespace(predicted=np.arange(COUNT) % 2)
    return target, Facts(dataset=data, seed=0, names=names, predictions=predicted)


def activations(model: nn.Module, data: Data) -> dict[str, Tensor]:
    kept: dict[str, Tensor] = {}
    modules = dict(model.named_modules())
    hooks = [modules[n].register_forward_hook(lambda _m, _a, o, n=n: kept.__setitem__(n, o)) for n in ("first", "second")]
    with torch.no_grad():
        model(data.load(np.arange(COUNT), torch.device("cpu")))
    for hook in hooks:
        hook.remove()
    return kept


def looked(probe: Patches, target: Any, facts: Any, shards: Sequence[Array] = (np.arange(COUNT),), batch: int = 16) -> Watch:
    maps = activations(target.model, facts.dataset)
    empty = probe.look(target)
    assert isinstance(empty, Watch)
    total = copy.deepcopy(empty)
    for shard in shards:
        fold = copy.deepcopy(empty)
        for begin in range(0, len(shard), batch):
            index = shard[begin : begin + batch]
            held = {name: values[torch.from_numpy(index)] for name, values in maps.items()}
            fold.see(Batch(index, facts.dataset.labels[index], torch.zeros(0), None, torch.zeros(0), held))
        total.merge(pickle.loads(pickle.dumps(fold)))
    return total


def results(probe: Patches, target: Any, facts: Any, watch: Watch | None = None) -> Results:
    seen = Results(look=watch or looked(probe, target, facts))
    study = probe.study(target, facts, seen)
    assert study is not None
    work = pickle.loads(pickle.dumps(study.work))
    rows = [work(target, facts.dataset, study.items[i : i + study.chunk]) for i in range(0, len(study.items), study.chunk)]
    return replace(seen, rows=concatenate(rows))


def found(model: nn.Module, probe: Patches | None = None, **kinds: Any) -> Finding:
    target, facts = world(model, **kinds)
    probe = probe or Patches()
    return probe.conclude(target, facts, results(probe, target, facts))


def layers(probe: Patches, target: Any, facts: Any) -> list[Layer]:
    return [sheet.layer for sheet in sheets(looked(probe, target, facts), facts, most=probe.units)]
