"""Budgets: what is cut, in which order, and that a plan that was written is repeated."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from auditor import api, budget
from auditor.budget import cut, ladder, seconds_of, told
from auditor.errors import ConfigError
from auditor.estimate import Rates
from auditor.fold import Cost
from auditor.job import Job
from auditor.plan import Plan
from auditor.probe import Probe
from auditor.probes import configured
from auditor.types import Finding
from tests.small import PREPROCESS, images, net


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("5 min", 300), ("1h30m", 5400), ("1.5m", 90), (12, 12)]
)
def test_a_time_is_read(text: Any, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 days", "-5m", "0", 0, -1, "m5", "5m!"])
def test_what_is_no_time_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match="expected a time such as 90s, 5m or 1h30m, got"):
        seconds_of(text)


@dataclass(frozen=True)
class Sized(Probe):
    """Costs as many forwards as it has images, times its price."""

    images: int = 32
    name: str = "sized"
    price: float = 1.0
    title: ClassVar[str] = "Sized"
    cites: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[Any, ...]] = ()

    def id(self) -> str:  # type: ignore[override]
        return self.name

    def cost(self, *_: Any) -> Cost:
        return Cost(self.images * self.price)

    def conclude(self, *_: Any) -> Finding:
        return Finding("done")


def job(*probes: Any) -> Job:
    target: Any = SimpleNamespace(task="classification", preprocess=PREPROCESS, choose=lambda *_: ["x"])
    data: Any = SimpleNamespace(labels=np.arange(10), __len__=lambda: 10)
    data = type("Data", (), {"labels": np.arange(10), "__len__": lambda _self: 10})()
    plan = Plan("standard", {p.id(): p.parameters() for p in probes}, batch=8, shard=16, threads=1, device="cpu")
    return Job(target, data, list(probes), plan, "x")


SECOND = Rates(1.0, 2.0)


def after(seconds: float, kept: Any = (), smaller: int = 8) -> tuple[dict[str, int], Job]:
    probes = [Sized(32, "a"), Sized(32, "b", 2.0), Sized(32, "c", 3.0)]
    quick = {p.name: dataclasses.replace(p, images=smaller) for p in probes}
    made = cut(job(*probes), seconds, SECOND, kept, quick)
    return {p.name: p.images for p in made.probes}, made  # type: ignore[attr-defined]


def test_the_dearest_goes_down_first_and_no_further_than_needed() -> None:
    assert after(202)[0] == {"a": 32, "b": 32, "c": 32}, "10 of the pass and 32 + 64 + 96: it fits"
    assert after(201)[0] == {"a": 32, "b": 32, "c": 20}, "half-way from 32 to 8"
    assert after(160)[0] == {"a": 32, "b": 20, "c": 20}
    assert after(80)[0] == {"a": 20, "b": 8, "c": 8}


def test_when_all_are_as_small_as_quick_the_dearest_is_left_out() -> None:
    images, made = after(45)
    assert images == {"a": 8, "b": 8}
    assert made.plan.left_out == {"c": "the budget of 45 s has no room for it: about 24 s"}
    assert made.plan.cuts == {"a": "images 8 instead of 32", "b": "images 8 instead of 32"}
    assert set(made.plan.probes) == {"a", "b"}
    assert made.plan.probes["a"]["images"] == 8


def test_what_was_left_out_makes_room_for_the_others_again() -> None:
    images, made = after(57)
    assert images == {"a": 20, "b": 8}, "10 + 20 + 16: half-way up fits, all the way would not"
    assert made.plan.cuts == {"a": "images 20 instead of 32", "b": "images 8 instead of 32"}
    probes = [Sized(32, "a"), Sized(32, "b", 2.0), Sized(32, "c", 30.0)]
    made = cut(job(*probes), 120, SECOND, (), {p.name: dataclasses.replace(p, images=8) for p in probes})
    assert {p.name: p.images for p in made.probes} == {"a": 32, "b": 32}  # type: ignore[attr-defined]
    assert made.plan.cuts == {}
    assert set(made.plan.left_out) == {"c"}


def test_what_a_rule_asks_for_is_never_cut() -> None:
    images, made = after(5, kept={"c"})
    assert images == {"c": 32}
    assert set(made.plan.left_out) == {"a", "b"}


def test_a_step_that_the_probe_refuses_is_skipped() -> None:
    @dataclass(frozen=True)
    class Even(Sized):
        def __post_init__(self) -> None:
            if self.images % 8:
                raise ValueError("images: a multiple of 8")

    assert [p.images for p in ladder(Even(32), Even(8))] == [8]  # type: ignore[attr-defined]
    assert ladder(Sized(32), Sized(32)) == []
    assert ladder(Sized(32), None) == []
    assert told({"images": 32, "name": "a"}, {"images": 8, "name": "a"}) == "images 8 instead of 32"


def audited(tmp_path: Path, out: str, **given: Any) -> api.Audit:
    config = {"gate": {"rules": [{"measure": "performance.top1", "at_least": 0.0}]}}
    return api.run(
        net(), (images(), np.arange(30) % 3), preprocess=PREPROCESS, out=tmp_path / out, work=tmp_path / "work", device="cpu",
        config=config, **given,
    )  # fmt: skip


def fixed(monkeypatch: pytest.MonkeyPatch, forward: float, gradient: float) -> None:
    monkeypatch.setattr(budget, "measured", lambda _job: Rates(forward, gradient))


def test_a_budget_is_kept_and_its_plan_repeats_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch, 1.0, 2.0)
    wanted = ["performance", "occlusion", "saliency", "neighbours", "embedding"]  # their order is not that of the alphabet
    first = audited(tmp_path, "first", budget=3000.0, probes=wanted)
    cuts = first.record.plan["cuts"]
    assert set(cuts) <= {"occlusion", "saliency"}
    assert cuts, first.record.plan
    assert first["performance"].status == "done"
    again = audited(tmp_path, "again", plan=first.path / "plan.json")
    for name in ("predictions.parquet", "plan.json"):
        assert (first.path / name).read_bytes() == (again.path / name).read_bytes()
    one, other = (json.loads((a.path / "audit.json").read_text()) for a in (first, again))
    assert one.pop("name") != other.pop("name")
    assert one == other
    assert f"To keep a budget of time, {next(iter(cuts))} ran with" in first.index.read_text()


def test_a_stopped_run_goes_on_under_the_plan_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed(monkeypatch, 1.0, 2.0)
    given = {"budget": 3000.0, "probes": ["performance", "occlusion", "saliency"]}
    monkeypatch.setattr(api, "execute", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        audited(tmp_path, "x", **given)
    (kept,) = (tmp_path / "work" / "plans").iterdir()
    monkeypatch.undo()
    fixed(monkeypatch, 9.0, 9.0)  # the machine is slower now; the run goes on all the same
    found = audited(tmp_path, "x", **given)
    assert not kept.exists()
    fixed(monkeypatch, 1.0, 2.0)
    assert found.record.plan["cuts"] == audited(tmp_path, "y", **given).record.plan["cuts"]


def test_plans_that_are_none_and_options_beside_a_plan_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "torn.json").write_text("{")
    (tmp_path / "other.json").write_text('{"profile": "quick"}')
    for name, what in (("gone", "cannot read"), ("torn", "is no JSON"), ("list", "is no plan"), ("other", "is no plan")):
        with pytest.raises(ConfigError, match=f"--plan: .*{what}"):
            audited(tmp_path, "x", plan=tmp_path / f"{name}.json")
    with pytest.raises(ConfigError, match="leave out --profile, --seed"):
        audited(tmp_path, "x", plan=tmp_path / "other.json", profile="quick", seed=3)
    plan = Plan("quick", {"performance": {"nope": 1}}, batch=8, shard=16, threads=1, device="cpu")
    (tmp_path / "odd.json").write_text(json.dumps(dataclasses.asdict(plan)))
    with pytest.raises(ConfigError, match=r"\[probes.performance\] has no parameter 'nope'"):
        audited(tmp_path, "x", plan=tmp_path / "odd.json")
    plan = Plan("quick", {"performance": {}}, batch=8, shard=16, threads=1, device="tpu")
    (tmp_path / "tpu.json").write_text(json.dumps(dataclasses.asdict(plan)))
    with pytest.raises(ConfigError, match="--plan was made on tpu, and this run is on cpu"):
        audited(tmp_path, "x", plan=tmp_path / "tpu.json")


def test_every_probe_survives_a_plan_file() -> None:
    from auditor.planning import probe_of
    from auditor.probes import registry

    for name in registry():
        for profile in ("quick", "standard", "full"):
            made = configured(name, {}, profile)
            if made is not None:
                back = probe_of(name, json.loads(json.dumps(made.parameters())))
                assert back == made, (name, profile)
