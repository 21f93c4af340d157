"""What holds for every probe: it is documented, and leaves the model as it found it, also when it raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor import api
from auditor.preprocess import Geometry, Preprocess
from auditor.probe import Probe
from auditor.probes import registry

PREPROCESS = Preprocess(Geometry("RGB", (12, 12)), (0.5,) * 3, (0.25,) * 3)


LOAD = 4
"""Forwards when a model is loaded: the trace, the contract, and two that are compared."""


class Net(nn.Module):
    """Batch norm, a ReLU used twice (in place), a pool; can be told to raise after some calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5, padding=2)
        self.bn1 = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.fc = nn.Linear(8, 3)
        self.left = -1

    def forward(self, x: Tensor) -> Tensor:
        if self.left == 0:
            raise RuntimeError("planted")
        self.left -= 1
        x = self.act(self.bn1(self.conv1(x)))
        x = self.act(self.conv2(nn.functional.max_pool2d(x, 2)))
        return self.fc(x.mean((2, 3)))


def made() -> tuple[Net, tuple[Any, Any]]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net().train()
    model.bn1.eval()
    model.conv2.weight.requires_grad_(False)
    rng = np.random.default_rng(0)
    return model, (rng.integers(0, 256, (24, 12, 12, 3), dtype=np.uint8), np.arange(24) % 3)


def condition(model: nn.Module) -> Any:
    return (
        {name: (p.requires_grad, p.grad is None, p.detach().clone()) for name, p in model.named_parameters()},
        {name: b.clone() for name, b in model.named_buffers()},
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()],
    )


def same(a: Any, b: Any) -> bool:
    weights = all(a[0][k][:2] == b[0][k][:2] and torch.equal(a[0][k][2], b[0][k][2]) for k in a[0])
    return weights and all(torch.equal(a[1][k], b[1][k]) for k in a[1]) and a[2] == b[2]


@pytest.mark.parametrize("name", list(registry()))
def test_the_model_is_left_as_it_was_found(name: str, tmp_path: Path) -> None:
    model, data = made()
    before = condition(model)
    audit = api.run(model, data, preprocess=PREPROCESS, probes=[name], out=tmp_path / "x", profile="quick", device="cpu")
    assert audit[name].status == "done", audit[name].reason
    assert same(condition(model), before)


@pytest.mark.parametrize("name", list(registry()))
def test_and_when_it_raises_in_the_middle_the_audit_goes_on(name: str, tmp_path: Path) -> None:
    model, data = made()
    before = condition(model)
    calls: list[int] = []
    whole = model.register_forward_pre_hook(lambda *_: calls.append(1))
    api.run(model, data, preprocess=PREPROCESS, probes=[name], out=tmp_path / "w", profile="quick", device="cpu")
    whole.remove()
    own = len(calls) - LOAD - 1  # and the pass
    if own < 1:
        assert registry()[name].study is Probe.study, "a probe without a study makes no forward of its own"
        return
    model.left = LOAD + 1 + own // 2
    audit = api.run(
        model, data, preprocess=PREPROCESS, probes=[name], out=tmp_path / "x", profile="quick", device="cpu", work=tmp_path
    )
    assert audit[name].status == "failed"
    assert "planted" in audit[name].reason
    assert audit.index.is_file()
    assert same(condition(model), before)


@pytest.mark.parametrize("name", list(registry()))
def test_every_measure_is_promised_and_every_value_has_its_unit(name: str, tmp_path: Path) -> None:
    model, data = made()
    section = api.run(model, data, preprocess=PREPROCESS, probes=[name], out=tmp_path / "x", profile="quick", device="cpu")[name]
    measures = {m.name: m for m in registry()[name].measures}
    assert section.values
    for key, value in section.values.items():
        measure = measures[key.partition(".")[0]]
        assert value.unit == measure.unit, key
        assert measure.title
        assert measure.meaning.endswith(".")
