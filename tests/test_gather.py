"""What a job's probes bring: studies that follow from the pass, helper nets, budgets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from auditor import api, gather
from auditor.dataset import open_dataset
from auditor.evidence import Outputs
from auditor.fold import Study
from auditor.gather import Deadline, collect
from auditor.job import Job
from auditor.lesson import Lesson
from auditor.plan import Plan
from auditor.probe import Probe, Results
from auditor.target.load import load_target
from auditor.types import Finding
from tests.small import PREPROCESS, images, net


def job(tmp_path: Path, *probes: Any, count: int = 30) -> Job:
    target = load_target(net(), preprocess=PREPROCESS, device="cpu")
    data = open_dataset((images(count), None), preprocess=PREPROCESS, outputs=3, work=tmp_path)
    plan = Plan("quick", {probe.id(): {} for probe in probes}, batch=8, shard=16, threads=1, device="cpu")
    return Job(target, data, list(probes), plan, "x")


@dataclass(frozen=True)
class Stub(Probe):
    title: ClassVar[str] = "Stub"
    cites: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[Any, ...]] = ()

    def conclude(self, *_: Any) -> Finding:
        return Finding("done")


def stub(name: str, kind: type[Stub] = Stub) -> Any:
    return type(name, (kind,), {"id": classmethod(lambda cls: name)})()


def test_the_items_of_a_study_may_follow_from_the_pass_and_from_what_the_probe_reads(tmp_path: Path) -> None:
    class First(Stub):
        def conclude(self, *_: Any) -> Finding:
            return Finding("done", notes=("told",))

    class Second(Stub):
        reads = ("first",)

        def look(self, _target: Any) -> Outputs:
            return Outputs()

        def study(self, _target: Any, _evidence: Any, results: Results) -> Study:
            assert not results.rows
            assert results.look is not None
            best = int(results.look.save()["scores"][:, 0].argmax())
            return Study(((best, len(results.findings["first"].notes)),), lambda _t, _d, items: {"item": np.array(items)}, 1)

        def conclude(self, _target: Any, _evidence: Any, results: Results) -> Finding:
            assert results.look is not None
            return Finding("done", artifacts=dict(results.rows) | {"scores": results.look.save()["scores"]})

    findings = collect(job(tmp_path, stub("second", Second), stub("first", First)), tmp_path / "work").findings
    assert findings["second"].status == "done", findings["second"].traceback
    told = findings["second"].artifacts
    assert told["item"].tolist() == [[told["scores"][:, 0].argmax(), 1]]


class Doubler:
    """A weight that doubles with each step."""

    def __init__(self) -> None:
        self.module = nn.Linear(1, 1)
        nn.init.ones_(self.module.weight)

    def step(self, _index: int) -> float:
        with torch.no_grad():
            self.module.weight.mul_(2)
        return self.module.weight.item()

    def save(self) -> dict[str, Any]:
        return self.module.state_dict()

    def load(self, state: Any) -> None:
        self.module.load_state_dict(state)


class Taught(Stub):
    """Asks for a helper net; its study and its conclusion use it."""

    started: ClassVar[list[int]] = []

    def lessons(self, _target: Any, _evidence: Any, results: Results) -> tuple[Lesson, ...]:
        assert not results.trained

        def start(*_: Any) -> Doubler:
            self.started.append(1)
            return Doubler()

        return (Lesson("doubler", {}, 5, start),)

    def study(self, _target: Any, _evidence: Any, results: Results) -> Study:
        net = results.trained["doubler"].module
        return Study(((1,), (2,)), lambda _t, _d, items: {"value": np.array([i * float(net.weight) for (i,) in items])}, 1)

    def conclude(self, _target: Any, _evidence: Any, results: Results) -> Finding:
        assert results.trained["doubler"].losses.tolist() == [2, 4, 8, 16, 32]
        return Finding("done", artifacts=dict(results.rows), timings={"training, s": results.trained["doubler"].seconds})


def test_a_probe_is_given_the_helper_net_that_it_asked_for(tmp_path: Path) -> None:
    told: list[str] = []
    found = collect(job(tmp_path, stub("a", Taught)), tmp_path / "work", progress=lambda what, *_: told.append(what))
    assert found.findings["a"].status == "done", found.findings["a"].traceback
    assert found.findings["a"].artifacts["value"].tolist() == [32, 64]
    assert told.count("train doubler") == 5
    assert set(found.costs) == {"a"}
    assert set(found.spent) == {"pass", "a"}
    assert all(stage["seconds"] >= 0 and stage["cpu_seconds"] >= 0 for stage in found.spent.values())


def test_equal_lessons_of_two_probes_are_one_training(tmp_path: Path) -> None:
    told: list[str] = []
    probes = stub("a", Taught), stub("b", Taught)
    found = collect(job(tmp_path, *probes), tmp_path / "work", progress=lambda what, *_: told.append(what))
    assert {f.status for f in found.findings.values()} == {"done"}
    assert told.count("train doubler") == 5, "the second finds it kept"


def test_a_training_that_fails_is_its_probes_failure(tmp_path: Path) -> None:
    class Broken(Taught):
        def lessons(self, *_: Any) -> tuple[Lesson, ...]:
            def start(*_: Any) -> Doubler:
                raise RuntimeError("no start")

            return (Lesson("broken", {}, 5, start),)

    found = collect(job(tmp_path, stub("a", Broken), stub("b")), tmp_path / "work").findings
    assert (found["a"].status, found["b"].status) == ("failed", "done")
    assert "no start" in found["a"].reason


def test_what_the_clock_measured_stands_in_run_json_and_on_the_page_alone(tmp_path: Path) -> None:
    class Clocked(Stub):
        def conclude(self, *_: Any) -> Finding:
            return Finding("done", timings={"speed-up by the clock": 123.25})

    audit = api.run(
        net(),
        (images(), None),
        preprocess=PREPROCESS,
        probes=[stub("a", Clocked)],
        out=tmp_path / "x",
        device="cpu",
        work=tmp_path,
    )
    assert json.loads((audit.path / "run.json").read_text())["timings"] == {"a": {"speed-up by the clock": 123.25}}
    assert "123.25" not in (audit.path / "audit.json").read_text()
    assert "speed-up by the clock" in audit.index.read_text()


def clock(monkeypatch: pytest.MonkeyPatch, now: Mapping[str, float]) -> None:
    monkeypatch.setattr(gather.time, "monotonic", lambda: now["s"])


class Slow(Stub):
    """Each item takes 10 s of a clock that the test turns."""

    now: ClassVar[dict[str, float]] = {"s": 0.0}

    def study(self, *_: Any) -> Study:
        def work(_target: Any, _dataset: Any, items: Any) -> dict[str, Any]:
            self.now["s"] += 10
            return {"item": np.array([i for (i,) in items])}

        return Study(tuple((i,) for i in range(3)), work, 1)

    def conclude(self, _target: Any, _evidence: Any, results: Results) -> Finding:
        return Finding("done", artifacts=dict(results.rows))


def test_past_the_deadline_only_what_a_rule_asks_for_is_carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Slow.now["s"] = 0.0
    clock(monkeypatch, Slow.now)
    probes = [stub(name, Slow) for name in ("a", "b", "gated", "d")]
    found = collect(job(tmp_path, *probes), tmp_path / "work", deadline=Deadline(45, {"gated"}, began=0.0))
    assert {name: f.status for name, f in found.findings.items()} == {
        "gated": "done", "a": "skipped", "b": "skipped", "d": "skipped",
    }  # fmt: skip
    assert found.dropped["a"] == "the budget of 45 s was used up: 2 of 3 items were finished, and no rule asks for it"
    assert found.dropped["b"].startswith("the budget of 45 s was used up: it had not begun")
    Slow.now["s"] = 0.0
    again = collect(job(tmp_path, *probes), tmp_path / "work")
    assert again.findings["a"].artifacts["item"].tolist() == [0, 1, 2]
    assert Slow.now["s"] == 70, "the gated one and two items were kept"


def test_a_rule_is_carried_out_however_late_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Slow.now["s"] = 0.0
    clock(monkeypatch, Slow.now)
    found = collect(job(tmp_path, stub("gated", Slow)), tmp_path / "work", deadline=Deadline(5, {"gated"}, began=0.0))
    assert found.findings["gated"].status == "done"
