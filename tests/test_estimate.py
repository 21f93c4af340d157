"""What a plan says that work takes: the arithmetic, and that a run holds it beside what was taken."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auditor import api, estimate
from auditor.cli.run import print_time
from auditor.estimate import Rates
from auditor.fold import Cost
from auditor.ops.lbfgs import OWN, step_seconds
from tests.small import PREPROCESS, images, net

RATES = Rates(1.0, 10.0, 0.5, 5.0, operation=0.01, multiplication=0.001)


def job(cost: Cost) -> tuple[Any, Any]:
    needs = SimpleNamespace(scores=False, labels=False, convolutions=False, pixels=False)
    probe = SimpleNamespace(id=lambda: "x", needs=needs, reads_train=False, cost=lambda *_: cost)
    data = type("Data", (), {"labels": np.arange(10), "__len__": lambda _self: 10})()
    target = SimpleNamespace(task="classification", preprocess=PREPROCESS)
    return probe, SimpleNamespace(target=target, dataset=data, probes=[probe], train=None, plan=SimpleNamespace(batch=5))


@pytest.mark.parametrize(
    ("cost", "seconds"),
    [
        (Cost(), 0.0),
        (Cost(8, 0, batch=4), 8 * 1.0 + 2 * 0.5),
        (Cost(0, 8, batch=4), 8 * 10.0 + 2 * 5.0),
        (Cost(8, 4, batch=4, operations=50), 8 + 1 + 40 + 5 + 3 * 50 * 0.01),
        (Cost(seconds=7.0), 7.0),
        (Cost(multiplications=200), 0.2),
    ],
)
def test_the_arithmetic(cost: Cost, seconds: float) -> None:
    probe, made = job(cost)
    assert RATES.of(probe, made) == pytest.approx(seconds)
    assert RATES.by_stage(made) == {"pass": 11.0, "x": pytest.approx(seconds)}
    assert RATES.of_all(made) == pytest.approx(11.0 + seconds)


def test_a_call_is_timed_as_often_as_it_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(estimate.time, "process_time", lambda: now[0])
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now[0])
    took = iter([0.3, 0.1, 0.2, *[0.001] * 15, 5.0, 3.0])
    device = SimpleNamespace(target=SimpleNamespace(device=SimpleNamespace(type="cpu")))

    def work() -> None:
        now[0] += next(took)

    assert estimate.clocked(device, work) == pytest.approx(0.2), "the median of three"  # type: ignore[arg-type]
    before = now[0]
    assert estimate.clocked(device, work) == pytest.approx(0.001)  # type: ignore[arg-type]
    assert now[0] - before == pytest.approx(0.001 * estimate.MOST)
    assert estimate.clocked(device, work) == pytest.approx(5.0), "once"  # type: ignore[arg-type]


def test_a_run_holds_the_estimate_beside_what_was_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = api.run(
        net(), (images(), np.arange(30) % 3), preprocess=PREPROCESS, probes="performance,occlusion", out=tmp_path / "x",
        work=tmp_path / "work", device="cpu", estimate=True,
    )  # fmt: skip
    run = json.loads((found.path / "run.json").read_text())
    assert set(run["estimate"]) == set(run["spent"]) == {"pass", "performance", "occlusion"}
    assert run["estimate"]["pass"] > 0
    assert run["estimate"]["occlusion"] > run["estimate"]["performance"] == 0
    assert "estimate" not in found.record.plan
    print_time(found.path)
    assert "of the processor" in capsys.readouterr().out


def test_the_furthest_off_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spent = {name: {"seconds": 1.0, "cpu_seconds": took} for name, took in (("pass", 10.0), ("a", 30.0), ("b", 4.9))}
    (tmp_path / "run.json").write_text(json.dumps({"spent": spent, "estimate": {"pass": 10.2, "a": 12.0, "b": 7.0}}))
    print_time(tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        "time    about 45 s of the processor, about 29 s by estimate",
        "        furthest off: a 30 s, not 12; b 5 s, not 7",
    ]


def test_the_optimiser_costs_by_the_numbers_it_moves() -> None:
    small, large = step_seconds((1, 4, 4)), step_seconds((3, 40, 40))
    assert large - small == pytest.approx((4800 - 16) * OWN)
