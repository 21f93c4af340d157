"""What holds for every probe, for the tests of whoever brings one.

@pytest.mark.parametrize("check", auditor.testing.CHECKS)
def test_the_contract(check, tmp_path):
    check(MyProbe, tmp_path)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auditor import api
from auditor.preprocess import Geometry, Preprocess
from auditor.probe import Probe, about

PREPROCESS = Preprocess(Geometry("RGB", (12, 12)), (0.5,) * 3, (0.25,) * 3)
LOAD = 4
"""Forwards when a model is loaded: the trace, the contract, and two that are compared."""


class Countdown:
    """Calls until a failure, of a model and of all its copies; below 0 there is none."""

    def __init__(self) -> None:
        self.left = -1

    def __deepcopy__(self, _memo: object) -> Countdown:
        return self

    def call(self) -> None:
        """One more. Raises RuntimeError once none is left, and from then on."""
        if self.left == 0:
            raise RuntimeError("planted")
        self.left -= 1


class Net(nn.Module):
    """3 x 12 x 12 images to 3 classes: a batch norm, a ReLU used twice (in place), a pool. Fails as its `countdown` says."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5, padding=2)
        self.bn1 = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.fc = nn.Linear(8, 3)
        self.countdown = Countdown()

    def forward(self, x: Tensor) -> Tensor:
        """(n,3) scores."""
        self.countdown.call()
        x = self.act(self.bn1(self.conv1(x)))
        x = self.act(self.conv2(nn.functional.max_pool2d(x, 2)))
        scores: Tensor = self.fc(x.mean((2, 3)))
        return scores


def world() -> tuple[Net, tuple[Any, Any]]:
    """(model, (images (24,12,12,3), labels)): partly trained, partly frozen, so that what is not given back shows."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net().train()
    model.bn1.eval()
    model.conv2.weight.requires_grad_(False)
    rng = np.random.default_rng(0)
    return model, (rng.integers(0, 256, (24, 12, 12, 3), dtype=np.uint8), np.arange(24) % 3)


def audited(probe: type[Probe], model: nn.Module, data: Any, folder: Path) -> api.Audit:
    """The audit of one probe, with the parameters of the profile quick."""
    made = probe(**(probe.profiles.get("quick") or {}))
    work = folder.with_name(f"{folder.name}-work")
    return api.run(model, data, preprocess=PREPROCESS, probes=[made], out=folder, profile="quick", device="cpu", work=work)


def condition(model: nn.Module) -> Any:
    """All that a probe must leave as it was: weights, requires_grad, gradients, buffers, modes, hooks."""
    return (
        {name: (p.requires_grad, p.grad is None, p.detach().clone()) for name, p in model.named_parameters()},
        {name: b.clone() for name, b in model.named_buffers()},
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()],
    )


def same(a: Any, b: Any) -> bool:
    """Whether two conditions are equal."""
    weights = all(a[0][k][:2] == b[0][k][:2] and torch.equal(a[0][k][2], b[0][k][2]) for k in a[0])
    return weights and all(torch.equal(a[1][k], b[1][k]) for k in a[1]) and a[2] == b[2]


def is_documented(probe: type[Probe], folder: Path) -> None:
    """The four paragraphs, a paper, and measures without a dot in their names."""
    words = about(probe)
    assert all((words.asks, words.formula, words.read, words.misleads)), "the docstring lacks Asks, Formula, Read or Misleads"
    assert probe.title
    assert probe.cites, "expected at least one paper in `cites`"
    assert all("." not in m.name for m in probe.measures), "a measure's name has no dot: its scope follows the first one"


def leaves_the_model_as_it_was(probe: type[Probe], folder: Path) -> None:
    """Done, and nothing of the model has changed."""
    model, data = world()
    before = condition(model)
    section = audited(probe, model, data, folder / "whole")[probe.id()]
    assert section.status == "done", section.reason
    assert same(condition(model), before), "expected hooks, modes, requires_grad and weights as before"


def fails_alone(probe: type[Probe], folder: Path) -> None:
    """A model that raises in the middle of the probe's work: its section says so, the audit is whole, the model is as it was."""
    model, data = world()
    before = condition(model)
    calls: list[int] = []
    counting = model.register_forward_pre_hook(lambda *_: calls.append(1))
    audited(probe, model, data, folder / "counted")
    counting.remove()
    own = len(calls) - LOAD - 1  # and the pass
    if own < 1:
        assert probe.study is Probe.study, "a probe with a study makes forwards of its own"
        return
    model.countdown.left = LOAD + 1 + own // 2
    audit = audited(probe, model, data, folder / "failing")
    assert audit[probe.id()].status == "failed"
    assert "planted" in audit[probe.id()].reason
    assert audit.index.is_file()
    assert same(condition(model), before), "expected hooks, modes, requires_grad and weights as before, also after an exception"


def keeps_its_promises(probe: type[Probe], folder: Path) -> None:
    """Every value is of a measure of the probe, in its unit."""
    model, data = world()
    section = audited(probe, model, data, folder / "promised")[probe.id()]
    measures = {m.name: m for m in probe.measures}
    assert section.values, "expected at least one figure"
    for key, value in section.values.items():
        measure = measures[key.partition(".")[0]]
        assert value.unit == measure.unit, f"{key}: expected the unit {measure.unit!r}, got {value.unit!r}"
        assert measure.title
        assert measure.meaning.endswith("."), f"{key}: its meaning is a sentence"


CHECKS: tuple[Callable[[type[Probe], Path], None], ...] = (
    is_documented, leaves_the_model_as_it_was, fails_alone, keeps_its_promises,
)  # fmt: skip
"""Each raises AssertionError where a probe breaks the contract; `folder` is an empty one to write in."""
