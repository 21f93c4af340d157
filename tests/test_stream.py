from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from auditor import stream
from auditor.evidence.predictions import Outputs
from auditor.fold import Batch, Fold, Study
from auditor.methods.topk import NOWHERE
from auditor.plan import Plan, shard_of
from auditor.probes.patches.watch import Watch

COUNT = 23


class Sum(Fold):
    layers = ("double",)

    def __init__(self, fail_at: int | None = None) -> None:
        self.total, self.seen, self.fail_at = 0.0, [], fail_at

    def see(self, batch: Batch) -> None:
        if self.fail_at is not None and self.fail_at in batch.positions:
            raise RuntimeError("planted")
        self.total += float(batch.activations["double"].double().sum())
        self.seen += batch.positions.tolist()

    def merge(self, other: Sum) -> None:
        self.total += other.total
        self.seen += other.seen

    def save(self) -> dict[str, Any]:
        return {"total": np.array(self.total), "seen": np.array(self.seen, dtype=np.int64)}

    def load(self, state: Any) -> None:
        self.total, self.seen = float(state["total"]), state["seen"].tolist()


class Data:
    def __init__(self) -> None:
        self.images = torch.randn(COUNT, 3, generator=torch.Generator().manual_seed(0))
        self.labels = np.zeros(COUNT, dtype=np.int64)
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return COUNT

    def load(self, positions: Any, device: Any) -> torch.Tensor:
        self.loaded += list(positions)
        return self.images[torch.as_tensor(np.asarray(positions))]


def target(stop_at: int | None = None) -> Any:
    calls = SimpleNamespace(n=0)

    def look(images: torch.Tensor, layers: Any = ()) -> Any:
        calls.n += 1
        if stop_at is not None and calls.n > stop_at:
            raise KeyboardInterrupt
        return SimpleNamespace(scores=images * 3, features=images, activations={"double": images * 2})

    return SimpleNamespace(device=torch.device("cpu"), look=look, calls=calls)


PLAN = Plan(profile="quick", probes={}, batch=2, shard=4, threads=1, device="cpu")


def test_every_sample_is_read_exactly_once_in_order(tmp_path: Path) -> None:
    data = Data()
    merged, failed = stream.run_pass(target(), data, {"sum": Sum(), "out": Outputs()}, PLAN, tmp_path)
    assert data.loaded == list(range(COUNT))
    assert merged["sum"].seen == list(range(COUNT))
    np.testing.assert_array_equal(merged["out"].save()["scores"], (data.images * 3).numpy())
    assert failed == {}


@pytest.mark.parametrize("shard", [1, 4, 7, 100])
def test_any_split_gives_the_same(tmp_path: Path, shard: int) -> None:
    whole, _ = stream.run_pass(target(), Data(), {"sum": Sum()}, PLAN, tmp_path / "a")
    split, _ = stream.run_pass(target(), Data(), {"sum": Sum()}, dataclasses.replace(PLAN, shard=shard), tmp_path / "b")
    assert split["sum"].seen == whole["sum"].seen
    assert split["sum"].total == pytest.approx(whole["sum"].total, rel=1e-6)


def test_an_interrupted_pass_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    whole, _ = stream.run_pass(target(), Data(), {"sum": Sum()}, PLAN, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        stream.run_pass(target(stop_at=7), Data(), {"sum": Sum()}, PLAN, tmp_path / "b")
    data = Data()
    resumed, _ = stream.run_pass(target(), data, {"sum": Sum()}, PLAN, tmp_path / "b")
    assert data.loaded == list(range(12, COUNT)), "three shards of four were finished"
    assert resumed["sum"].total == whole["sum"].total
    assert resumed["sum"].seen == whole["sum"].seen


def test_a_forward_that_is_random_draws_the_same_when_it_is_resumed(tmp_path: Path) -> None:
    def noisy(stop_at: int | None = None) -> Any:
        plain = target(stop_at)

        def look(images: torch.Tensor, layers: Any = ()) -> Any:
            return plain.look(images + torch.rand_like(images), layers)

        return SimpleNamespace(device=plain.device, look=look)

    whole, _ = stream.run_pass(noisy(), Data(), {"out": Outputs()}, PLAN, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        stream.run_pass(noisy(stop_at=7), Data(), {"out": Outputs()}, PLAN, tmp_path / "b")
    torch.manual_seed(99)
    resumed, _ = stream.run_pass(noisy(), Data(), {"out": Outputs()}, PLAN, tmp_path / "b")
    np.testing.assert_array_equal(resumed["out"].save()["scores"], whole["out"].save()["scores"])


def test_a_probe_that_raises_fails_alone_and_stays_failed_on_resume(tmp_path: Path) -> None:
    folds = {"good": Sum(), "bad": Sum(fail_at=6)}
    merged, failed = stream.run_pass(target(), Data(), folds, PLAN, tmp_path)
    assert merged["good"].seen == list(range(COUNT))
    assert "bad" not in merged
    assert "planted" in failed["bad"]
    data = Data()
    merged, failed = stream.run_pass(target(), data, folds, PLAN, tmp_path)
    assert data.loaded == []
    assert set(merged) == {"good"}
    assert "planted" in failed["bad"]


class Early(Sum):
    by_layer = True

    def __init__(self, fail_at: int | None = None) -> None:
        super().__init__(fail_at)
        self.room: list[float] = []

    def beside(self, others: Sum) -> None:
        self.room = [others.total]

    def see(self, batch: Batch) -> None:
        raise AssertionError("it sees layer by layer")

    def see_layer(self, layer: str, output: torch.Tensor, positions: Any) -> None:
        assert self.room, "it was told what the shards before gave"
        super().see(SimpleNamespace(positions=positions, activations={layer: output}))  # type: ignore[arg-type]


def by_layer(kept: list[bool]) -> Any:
    plain = target()

    def look(images: torch.Tensor, layers: Any = (), show: Any = None) -> Any:
        found = plain.look(images, layers)
        if "double" in layers:
            kept.append(show("double", found.activations["double"]))
        return SimpleNamespace(scores=found.scores, features=found.features, activations=found.activations if kept[-1] else {})

    return SimpleNamespace(device=plain.device, look=look)


def test_who_sees_layer_by_layer_gets_the_same_and_nothing_is_kept_for_it(tmp_path: Path) -> None:
    whole, _ = stream.run_pass(target(), Data(), {"sum": Sum()}, PLAN, tmp_path / "a")
    kept: list[bool] = []
    found, failed = stream.run_pass(by_layer(kept), Data(), {"early": Early()}, PLAN, tmp_path / "b")
    assert failed == {}
    assert (found["early"].seen, found["early"].total) == (whole["sum"].seen, whole["sum"].total)
    assert not any(kept)
    both, _ = stream.run_pass(by_layer(kept), Data(), {"early": Early(), "sum": Sum()}, PLAN, tmp_path / "c")
    assert kept[-1], "another fold wants the layer when the forward has ended"
    assert both["early"].seen == both["sum"].seen == whole["sum"].seen


def test_who_fails_at_a_layer_fails_alone(tmp_path: Path) -> None:
    folds = {"good": Early(), "bad": Early(fail_at=6), "out": Outputs()}
    merged, failed = stream.run_pass(by_layer([True]), Data(), folds, PLAN, tmp_path)
    assert merged["good"].seen == list(range(COUNT))
    assert set(merged) == {"good", "out"}
    assert "planted" in failed["bad"]


def test_a_shard_sent_to_another_process_takes_nothing_of_what_is_merged() -> None:
    sent = pickle.loads(pickle.dumps(stream.Shard({"sum": Sum()}, {}, 2, 0, {"sum": Sum(fail_at=3)})))
    assert sent.merged == {}
    assert set(sent.empty) == {"sum"}


class Workers:
    """Three other processes that take the shards in no order."""

    def __init__(self) -> None:
        self.given: list[tuple[int, Any]] = []

    def run(self, tasks: Any, work: Any, where: Any, data: Any) -> Any:
        held = [pickle.loads(pickle.dumps(work)) for _ in range(3)]
        spans, order = dict(tasks), [3, 0, 5, 1, 4, 2]
        found = {number: held[place % 3](where, data, spans[number]) for place, number in enumerate(order)}
        self.given = [(number, found[number]) for number, _ in tasks]
        yield from self.given


def test_a_worker_leaves_out_what_has_no_room_beside_its_own_shards_and_the_pass_gives_the_same(tmp_path: Path) -> None:
    def look(images: torch.Tensor, _layers: Any = (), show: Any = None) -> Any:
        show("maps", images[:, :, None, None] * torch.tensor([1.0, 0.5]))
        return SimpleNamespace(scores=images, features=images, activations={})

    where, data = SimpleNamespace(device=torch.device("cpu"), look=look), Data()
    folds: dict[str, Fold] = {"watch": Watch({"maps": None}, 2), "out": Outputs()}  # type: ignore[dict-item]
    workers = Workers()
    alone, _ = stream.run_pass(where, data, folds, PLAN, tmp_path / "a")
    shared, failed = stream.run_pass(where, data, folds, PLAN, tmp_path / "b", engine=workers)  # type: ignore[arg-type]
    assert failed == {}
    for name, value in alone["watch"].save().items():
        np.testing.assert_array_equal(shared["watch"].save()[name], value, err_msg=name)
    entered = {number: int((states["watch"]["0.positions"] != NOWHERE).sum()) for number, (states, _) in workers.given}
    assert entered[3] == entered[0] == entered[5] == 6, "the first of each worker had all the room"
    assert sum(entered[number] for number in (1, 4, 2)) < 3 * 6


def square(_target: Any, data: Any, items: Any) -> dict[str, Any]:
    return {"x": np.array([item[0] ** 2 for item in items])}


@pytest.mark.parametrize("chunk", [1, 3, 50])
def test_the_rows_of_a_study_keep_the_order_of_its_items(tmp_path: Path, chunk: int) -> None:
    items = tuple((i,) for i in (5, 2, 9, 1, 7))
    rows = stream.run_study("s", Study(items, square, chunk), target(), Data(), PLAN, tmp_path)
    assert rows["x"].tolist() == [25, 4, 81, 1, 49]


def test_a_study_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    done: list[int] = []

    def work(_target: Any, _data: Any, items: Any) -> dict[str, Any]:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(items[0][0])
        return {"x": np.array([items[0][0]])}

    items = tuple((i,) for i in range(4))
    with pytest.raises(KeyboardInterrupt):
        stream.run_study("s", Study(items, work, 1), target(), Data(), PLAN, tmp_path)
    rows = stream.run_study("s", Study(items, square, 1), target(), Data(), PLAN, tmp_path)
    assert rows["x"].tolist() == [0, 1, 4, 9]


@pytest.mark.parametrize("most", [1, 3, 16, 49, 50, 99])
@pytest.mark.parametrize("count", [0, 1, 33, 50])
def test_the_items_of_a_study_are_shared_out_evenly(count: int, most: int) -> None:
    parts = [span for _, span in stream.chunks(count, most)]
    assert [i for span in parts for i in span] == list(range(count))
    assert len(parts) == -(-count // most), "as few as can be"
    sizes = {len(span) for span in parts}
    assert not sizes or max(sizes) <= min(most, min(sizes) + 1)


@pytest.mark.parametrize("batch", [1, 8, 15, 256])
@pytest.mark.parametrize("count", [0, 1, 300, 1100])
def test_shards_are_whole_batches_shared_out_evenly(count: int, batch: int) -> None:
    parts = [span for _, span in stream.shards(count, shard_of(batch), batch)]
    assert [i for span in parts for i in span] == list(range(count))
    assert all(len(span) % batch == 0 for span in parts[:-1]), "no forward of less than a batch but the last"
    assert not parts or max(map(len, parts)) <= min(map(len, parts)) + 2 * batch
    assert len(parts) == -(-count // shard_of(batch))


def test_a_study_that_loses_rows_is_told(tmp_path: Path) -> None:
    study = Study(((1,), (2,)), lambda *_: {"x": np.zeros(1)}, 2)
    with pytest.raises(ValueError, match="expected 2 rows"):
        stream.run_study("s", study, target(), Data(), PLAN, tmp_path)


def test_outputs_lie_in_files_and_an_interrupted_pass_appends_to_them(tmp_path: Path) -> None:
    whole, _ = stream.run_pass(target(), Data(), {"out": Outputs(), "sum": Sum()}, PLAN, tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        stream.run_pass(target(stop_at=7), Data(), {"out": Outputs(), "sum": Sum()}, PLAN, tmp_path / "b")
    data = Data()
    resumed, _ = stream.run_pass(target(), data, {"out": Outputs(), "sum": Sum()}, PLAN, tmp_path / "b")
    assert data.loaded == list(range(12, COUNT))
    for name in ("scores", "features"):
        np.testing.assert_array_equal(resumed["out"].save()[name], whole["out"].save()[name])
    assert {key.partition("/")[0] for key in np.load(tmp_path / "b" / "pass.npz").files} == {"head", "sum"}
    assert len(list((tmp_path / "b").glob("pass-out-*.rows"))) == 2, "those of the stopped pass are gone"
    done = Data()
    again, _ = stream.run_pass(target(), done, {"out": Outputs(), "sum": Sum()}, PLAN, tmp_path / "b")
    assert done.loaded == []
    np.testing.assert_array_equal(again["out"].save()["scores"], whole["out"].save()["scores"])


def test_a_pass_whose_rows_are_lost_begins_anew(tmp_path: Path) -> None:
    whole, _ = stream.run_pass(target(), Data(), {"out": Outputs(), "sum": Sum()}, PLAN, tmp_path)
    next(tmp_path.glob("pass-out-scores*.rows")).unlink()
    data = Data()
    again, _ = stream.run_pass(target(), data, {"out": Outputs(), "sum": Sum()}, PLAN, tmp_path)
    assert data.loaded == list(range(COUNT))
    assert again["sum"].total == whole["sum"].total
    np.testing.assert_array_equal(again["out"].save()["scores"], whole["out"].save()["scores"])
