"""Tuning: what may be chosen, that what disagrees is refused, and that the choice repeats without a clock."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor import api, tune
from auditor.errors import ConfigError, TargetError
from auditor.target import Forward, load_target
from auditor.tune import COMPARED, Trial, disagreement, ranked
from tests.small import PREPROCESS, images

PROBES = "performance,activations,patches"


class Net(nn.Module):
    """Two convolutions with norms of their own statistics. `step`: what tells the classes apart, beside an offset that all share."""

    def __init__(self, step: float = 1.0, offset: float = 0.0) -> None:
        super().__init__()
        self.step, self.offset = step, offset
        self.a, self.na = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.b, self.nb = nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.na(self.a(x)))
        x = torch.relu(self.nb(self.b(x)))
        found: Tensor = self.offset + self.step * self.head(x.mean((2, 3)))
        return found


def net(**given: float) -> Net:
    torch.manual_seed(1)
    made = Net(**given)
    for norm in (made.na, made.nb):
        nn.init.normal_(norm.running_mean, std=0.3)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return made.eval()


def audited(tmp_path: Path, out: str, model: nn.Module | None = None, **given: Any) -> api.Audit:
    return api.run(
        model or net(), (images(), np.arange(30) % 3), preprocess=PREPROCESS, out=tmp_path / out, work=tmp_path / "work",
        device="cpu", **{"probes": PROBES, **given},
    )  # fmt: skip


def by_hand(monkeypatch: pytest.MonkeyPatch, best: Forward) -> list[Forward]:
    """The clock says that `best` is the quickest; what it was asked about."""
    asked: list[Forward] = []

    def clocked(job: Any, _folds: Any, batch: int) -> float:
        asked.append(dataclasses.replace(job.target.forward, batch=batch))
        return 0.5 if asked[-1] == best else 1.0

    monkeypatch.setattr(tune, "clocked", clocked)
    return asked


BEST = Forward(4, channels_last=True, folded=True)


def test_the_winner_is_written_used_and_told_and_repeats_to_the_byte_without_a_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = by_hand(monkeypatch, BEST)
    first = audited(tmp_path, "first", tune=True)
    assert {(f.channels_last, f.folded) for f in asked} == {(a, b) for a in (False, True) for b in (False, True)}
    assert {f.batch for f in asked} == {1, 2, 4, 8, 16}, "by doubling, up to the 30 images"
    assert {f.precision for f in asked} == {"float32"}, "bfloat16 only where it is asked for"
    plan = json.loads((first.path / "plan.json").read_text())
    assert (plan["batch"], plan["forward"]) == (4, dataclasses.asdict(BEST))
    assert plan["tuned"]["images"] == 30
    assert 0 < plan["tuned"]["apart"] < 1e-4, "folding rounds: it was the folded one that was compared"
    assert "computed with channels last, batch norms folded" in first.index.read_text()
    run = json.loads((first.path / "run.json").read_text())
    assert {
        "batch": 4,
        "channels_last": True,
        "folded": True,
        "precision": "float32",
        "laid_out": False,
        "refused": "",
        "seconds_an_image": 0.5,
    } in run["tuned"]

    def clock(*_: Any) -> float:
        raise AssertionError("a plan that is repeated reads no clock")

    monkeypatch.setattr(tune, "clocked", clock)
    again = audited(tmp_path, "again", plan=first.path / "plan.json", probes=None)
    for name in ("predictions.parquet", "plan.json"):
        assert (first.path / name).read_bytes() == (again.path / name).read_bytes()
    one, other = (json.loads((a.path / "audit.json").read_text()) for a in (first, again))
    assert one.pop("name") != other.pop("name")
    assert one == other
    assert "computed with channels last, batch norms folded" in again.index.read_text()


def test_the_pass_is_computed_as_the_plan_says_and_the_next_run_as_the_model_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand(monkeypatch, BEST)
    target = load_target(net(), preprocess=PREPROCESS, device="cpu")
    seen: list[tuple[Forward, int]] = []
    look = type(target).look

    def spied(self: Any, given: Tensor, *more: Any) -> Any:
        seen.append((self.forward, len(given)))
        return look(self, given, *more)

    monkeypatch.setattr(type(target), "look", spied)
    audited(tmp_path, "tuned", target, tune=True)  # type: ignore[arg-type]
    assert seen[-1][0] == BEST
    assert max(n for forward, n in seen if forward == BEST) == 4
    seen.clear()
    audited(tmp_path, "plain", target)  # type: ignore[arg-type]
    assert {forward for forward, _ in seen} == {Forward()}


class Wide(nn.Module):
    """A convolution of channels enough."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.head = nn.Conv2d(3, 128, 3, padding=1), nn.Conv2d(128, 128, 3, padding=1), nn.Linear(128, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(torch.relu(self.a(torch.relu(self.stem(x)))).mean((2, 3)))
        return found


def test_convolutions_are_laid_out_where_that_is_quickest_and_their_layers_still_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    model, best = Wide().eval(), Forward(8, channels_last=True, laid_out=True)
    asked = by_hand(monkeypatch, best)
    found = audited(tmp_path, "laid", model, tune=True)
    assert found.record.plan["forward"] == dataclasses.asdict(best)
    assert {(f.channels_last, f.folded) for f in asked if f.laid_out} == {(True, False)}, "there is no norm to fold"
    assert "computed with channels last, convolutions laid out" in found.index.read_text()
    plain = audited(tmp_path, "plain", model)
    one, other = ((a.path / "audit.json").read_text() for a in (found, plain))
    for layer in ("stem", "a"):
        assert one.count(f'"{layer}"') == other.count(f'"{layer}"') > 0, "what the layers show is found by their names"
    refused = [t["refused"] for t in json.loads((audited(tmp_path, "small", tune=True).path / "run.json").read_text())["tuned"]]
    assert sum("no convolution of the model can be laid out" in why for why in refused) == 2


def test_bfloat16_is_chosen_only_where_it_is_asked_for_and_said_to_be_approximate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = Forward(2, precision="bfloat16")
    by_hand(monkeypatch, best)
    assert audited(tmp_path, "plain", tune=True).record.plan["forward"]["precision"] == "float32"
    found = audited(tmp_path, "rough", net(step=50.0), tune=True, precision="bfloat16")
    assert found.record.plan["forward"] == dataclasses.asdict(best)
    assert 1e-4 < found.record.plan["tuned"]["apart"] < 0.1
    assert "with bfloat16 (--tune), approximately" in found.index.read_text()


def test_a_candidate_that_gives_other_classes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand(monkeypatch, Forward(2, precision="bfloat16"))
    found = audited(tmp_path, "x", net(step=0.01, offset=100.0), tune=True, precision="bfloat16")  # steps below its rounding
    assert found.record.plan["forward"]["precision"] == "float32"
    refused = [t["refused"] for t in json.loads((found.path / "run.json").read_text())["tuned"] if t["precision"] == "bfloat16"]
    assert refused
    assert all("images get another class" in why for why in refused)


def test_what_a_model_does_not_bear_is_refused_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand(monkeypatch, BEST)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    found = audited(tmp_path, "x", plain, tune=True, probes="performance")
    assert not found.record.plan["forward"]["folded"]
    trials = json.loads((found.path / "run.json").read_text())["tuned"]
    assert {t["refused"] for t in trials if t["folded"] and not t["laid_out"]} == {
        "batch norms folded: no batch norm of the model can be folded",
        "channels last, batch norms folded: no batch norm of the model can be folded",
    }


def test_a_stopped_run_goes_on_under_the_plan_that_was_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand(monkeypatch, BEST)
    real = api.execute
    monkeypatch.setattr(api, "execute", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        audited(tmp_path, "x", tune=True)
    assert len(list((tmp_path / "work" / "plans").iterdir())) == 1
    monkeypatch.setattr(api, "execute", real)
    by_hand(monkeypatch, Forward(1))  # another mood of the clock
    assert audited(tmp_path, "x", tune=True).record.plan["forward"] == dataclasses.asdict(BEST)
    assert not list((tmp_path / "work" / "plans").iterdir())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tune": True, "precision": "float8"}, "--precision: expected float32 or bfloat16, got 'float8'"),
        ({"precision": "bfloat16"}, "--precision bfloat16 is tried by --tune: give both"),
        ({"tune": True, "batch": 8}, "--tune chooses the batch: leave out --batch 8"),
        ({"tune": True, "plan": "plan.json", "probes": None}, "--plan repeats a plan as it is: leave out --tune"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(tmp_path: Path, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        audited(tmp_path, "x", **given)


@pytest.mark.parametrize(
    ("forward", "told"),
    [
        ({"precision": "float8"}, "expected a precision of float32, bfloat16 in forward, got 'float8'"),
        ({"folded": "yes"}, "expected channels_last, folded and laid_out true or false"),
        ({"batch": -1}, "expected batch >= 0 in forward, got -1"),
        ({"colour": 1}, "unexpected keyword argument 'colour'"),
    ],
)
def test_a_plan_with_an_unknown_forward_is_none(tmp_path: Path, forward: dict[str, Any], told: str) -> None:
    plan = json.loads((audited(tmp_path, "x", probes="performance").path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps({**plan, "forward": forward}))
    with pytest.raises(ConfigError, match=told):
        audited(tmp_path, "y", plan=tmp_path / "plan.json", probes=None)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_look_gives_what_the_model_gives(wrapped: bool, precision: str) -> None:
    class Tupled(Net):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x), x

    torch.manual_seed(2)
    target = load_target((Tupled if wrapped else Net)().eval(), preprocess=PREPROCESS, device="cpu")
    given = torch.randn(5, 3, *target.input_shape[1:])
    layers = ("nb", "head")
    before = target.look(given, layers)
    target.compute_as(Forward(0, channels_last=True, folded=True, precision=precision))
    assert target.stand_in is not None
    assert target.stand_in.hidden == {"a", "b"}
    after, scale = target.look(given, layers), 1e-5 if precision == "float32" else 0.05
    pairs = [(before.scores, after.scores), (before.features, after.features)]
    for one, other in [*pairs, *((before.activations[name], after.activations[name]) for name in layers)]:
        assert other.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0, atol=scale * float(one.abs().max()))
    assert not torch.equal(before.scores, after.scores), "it is not the model itself that answered"
    own = target.look(given, ("a",))
    target.compute_as(Forward())
    assert torch.equal(own.activations["a"], target.look(given, ("a",)).activations["a"]), (
        "a folded convolution is the model's own"
    )


def test_a_copy_that_gives_other_scores_is_not_used() -> None:
    class Moody(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + (0 if x.is_contiguous() else 1)

    target = load_target(Moody().eval(), preprocess=PREPROCESS, device="cpu")
    with pytest.raises(TargetError, match="channels last: outputs differ by"):
        target.compute_as(Forward(0, channels_last=True))
    assert target.forward == Forward()
    assert target.stand_in is None


def test_agreement_by_hand() -> None:
    scores = np.array([[1.0, 0.9], [0.2, 0.5]], dtype=np.float32)
    features = np.array([[1.0], [2.0]], dtype=np.float32)
    assert disagreement({"scores": scores}, {"scores": scores + 5e-5}, "float32")[0] == ""
    assert "differ by 2.0e-04 of the largest" in disagreement({"scores": scores}, {"scores": scores + 2e-4}, "float32")[0]
    assert disagreement({"scores": scores}, {"scores": scores + 2e-4}, "bfloat16")[0] == ""
    assert disagreement({"scores": scores}, {"scores": scores[:, ::-1]}, "bfloat16")[0] == "2 of 2 images get another class"
    assert "NaN" in disagreement({"scores": scores}, {"scores": scores * np.nan}, "bfloat16")[0]
    assert disagreement({"features": features}, {"features": features * 1.01}, "bfloat16")[0] == ""
    assert "features differ by" in disagreement({"features": features}, {"features": features * 1.05}, "bfloat16")[0]
    assert COMPARED >= 64


def test_what_rounds_has_to_be_clearly_quicker() -> None:
    plain, lean, rough = (
        Trial(Forward(8), 1.0),
        Trial(Forward(8, folded=True), 0.97),
        Trial(Forward(8, precision="bfloat16"), 0.97),
    )
    assert ranked([lean, rough, plain])[0] == plain
    assert ranked([plain, dataclasses.replace(lean, seconds=0.9)])[0].forward == lean.forward
    both = Trial(Forward(8, folded=True, precision="bfloat16"), 0.87)
    assert ranked([dataclasses.replace(lean, seconds=0.9), both])[0].forward == lean.forward
    assert ranked([Trial(Forward(4), refused="no"), plain]) == [plain]
