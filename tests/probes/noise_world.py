"""Five images of noise, three of them chosen, and facts about them: what the attribution probes are tried on."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auditor.evidence.predictions import Predictions
from auditor.fold import concatenate
from auditor.probe import Results

torch.set_num_threads(1)
CHOSEN = [3, 0, 4]


class Data:
    """Five images of noise, 12 x 10."""

    def __init__(self) -> None:
        self.images = np.random.default_rng(0).normal(0, 1, (5, 3, 12, 10)).astype(np.float32)
        self.samples = [SimpleNamespace(key=f"{i}:0", name=f"{i}.png", box=None) for i in range(5)]
        self.masks: dict[int, Any] = {}

    def __len__(self) -> int:
        return 5

    def load(self, positions: Any, device: torch.device) -> Tensor:
        return torch.from_numpy(self.images[np.asarray(positions)]).to(device)

    def mask(self, position: int) -> Any:
        return self.masks.get(position)

    def pixels(self, positions: Any) -> Any:
        return (np.clip(self.images[np.asarray(positions)], 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)


class Facts(SimpleNamespace):
    def chosen(self, count: int) -> Any:
        return np.array(CHOSEN)[:count]


def noise_world(model: nn.Module) -> tuple[Any, Any]:
    """(target, facts) of a frozen model with four classes."""
    data = Data()
    scores = model(torch.from_numpy(data.images)).numpy()
    target = SimpleNamespace(module=model, device=torch.device("cpu"), input_shape=(3, 12, 10))
    predictions = Predictions(scores, np.array([0, 1, 2, 3, -1]))
    return target, Facts(dataset=data, seed=3, names=tuple("abcd"), predictions=predictions)


def rows_of(probe: Any, target: Any, facts: Any, chunk: int = 2) -> dict[str, Any]:
    """The rows of a probe's study, its work pickled as a worker would get it."""
    study = probe.study(target, facts, Results())
    assert study is not None
    work = pickle.loads(pickle.dumps(study.work))
    return concatenate([work(target, facts.dataset, study.items[i : i + chunk]) for i in range(0, len(study.items), chunk)])
