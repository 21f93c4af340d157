"""Helper nets: a run that was stopped goes on to the same bytes, and what is kept is kept by content."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor import checkpoint
from auditor.learn import learn
from auditor.lesson import Lesson, Trained
from auditor.plan import Plan
from auditor.stream import OutOfTime

PLAN = Plan("quick", {}, batch=8, shard=16, threads=1, device="cpu", seed=3)
TARGET: Any = SimpleNamespace(identity="model")
DATA: Any = SimpleNamespace(digest="data")
STEPS = 12


class Line:
    """A line fitted by Adam to noisy points that are drawn anew at each step."""

    def __init__(self, stop_at: int | None = None, nan_at: int | None = None) -> None:
        self.module = nn.Linear(2, 1)
        self.optimiser = torch.optim.Adam(self.module.parameters(), 0.1)
        self.stop_at, self.nan_at, self.steps = stop_at, nan_at, 0

    def step(self, index: int) -> float:
        if index == self.nan_at:
            return float("nan")
        x: Tensor = torch.randn(16, 2)
        loss = (self.module(x) - x.sum(1, keepdim=True)).square().mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.steps += 1
        if index == self.stop_at:
            raise KeyboardInterrupt  # after the weights have changed: a torn step
        return float(loss.detach())

    def save(self) -> dict[str, Any]:
        return {"net": self.module.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load(self, state: Any) -> None:
        self.module.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])


def taught(folder: Path, *, late: Any = lambda: False, settings: Any = None, **given: Any) -> tuple[Trained, list[Line]]:
    made: list[Line] = []

    def start(_target: Any, _dataset: Any, _seed: int) -> Line:
        made.append(Line(**given))
        return made[-1]

    lesson = Lesson("line", settings or {"rate": 0.1}, STEPS, start)
    return learn(lesson, TARGET, DATA, PLAN, folder, late=late), made


def same(a: Trained, b: Trained) -> bool:
    weights = zip(a.module.state_dict().values(), b.module.state_dict().values(), strict=True)
    return np.array_equal(a.losses, b.losses) and all(torch.equal(x, y) for x, y in weights)


def test_it_learns_and_hands_out_a_frozen_net(tmp_path: Path) -> None:
    trained, _ = taught(tmp_path)
    assert trained.losses.shape == (STEPS,)
    assert trained.losses[-1] < trained.losses[0]
    assert not trained.module.training
    assert not any(p.requires_grad for p in trained.module.parameters())


@pytest.mark.parametrize("stop_at", [0, 5, STEPS - 1])
def test_an_interrupted_training_goes_on_to_the_same_bytes(tmp_path: Path, stop_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = taught(tmp_path / "whole")
    monkeypatch.setattr(checkpoint, "LATEST", 0.0)
    with pytest.raises(KeyboardInterrupt):
        taught(tmp_path / "cut", stop_at=stop_at)
    again, made = taught(tmp_path / "cut")
    assert same(whole, again)
    assert made[0].steps == STEPS - stop_at, "it goes on where the last whole step ended"


def test_what_is_trained_is_trained_once_and_kept_by_content(tmp_path: Path) -> None:
    first, _ = taught(tmp_path)
    again, made = taught(tmp_path)
    assert same(first, again)
    assert made[0].steps == 0
    assert again.seconds == first.seconds, "the clock of the run that trained it"
    _, others = taught(tmp_path, settings={"rate": 0.2})
    assert others[0].steps == STEPS
    assert len(list(tmp_path.glob("line-*.pt"))) == 2


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    first, _ = taught(tmp_path)
    (path,) = tmp_path.glob("*.pt")
    path.write_bytes(path.read_bytes()[:200])
    again, made = taught(tmp_path)
    assert same(first, again)
    assert made[0].steps == STEPS


def test_a_loss_that_is_no_number_ends_it_in_words(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="training of line diverged: its loss is nan at step 4 of 12; lower"):
        taught(tmp_path, nan_at=4)


def test_out_of_time_keeps_the_steps_that_were_taken(tmp_path: Path) -> None:
    whole, _ = taught(tmp_path / "whole")
    asked = iter([False] * 7 + [True])
    with pytest.raises(OutOfTime, match="7 of 12 steps"):
        taught(tmp_path / "cut", late=lambda: next(asked))
    again, made = taught(tmp_path / "cut")
    assert same(whole, again)
    assert made[0].steps == STEPS - 7


def test_other_data_models_and_seeds_are_other_nets(tmp_path: Path) -> None:
    lesson = Lesson("line", {}, STEPS, lambda *_: Line())
    other: Any = SimpleNamespace(identity="other")
    for target, data, plan in (
        (TARGET, DATA, PLAN),
        (other, DATA, PLAN),
        (TARGET, SimpleNamespace(digest="more"), PLAN),
        (TARGET, DATA, dataclasses.replace(PLAN, seed=4)),
    ):
        learn(lesson, target, data, plan, tmp_path)  # type: ignore[arg-type]
    assert len(list(tmp_path.glob("*.pt"))) == 4
