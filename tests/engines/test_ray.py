"""Ray: the audit is the same to the byte, whoever dies."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor import api, engines
from auditor.dataset import open_dataset
from auditor.engines.handle import require_answer
from auditor.engines.local import LOCAL
from auditor.engines.ray import Ray
from auditor.errors import ConfigError, EngineError, WorkerError
from auditor.target import load_target, open_generator
from auditor.target.sent import pack, unpack
from tests.cli.test_resume import contents
from tests.cli.world import called
from tests.engines.ray_world import Squares
from tests.small import PREPROCESS, images, net
from tests.target.test_generator import FILE, Flat

dumps = pytest.importorskip("ray").cloudpickle.dumps

NETS = """
import torch
from torch import nn
from helper import WIDTH

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.fc = nn.Linear(WIDTH, 3)

    def forward(self, x):
        return {"logits": self.fc(self.conv(x).relu().mean((2, 3)))}

def net():
    return Net()  # other weights in every process
"""
COUNT = 5 * 256
PROBES = "performance,activations,patches,neighbours,occlusion,adversarial"


@pytest.fixture(scope="module")
def ray() -> Iterator[Ray]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with Ray(workers=2) as engine:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # another cluster: not the one that was asked for
            engine.connect()
        yield engine
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("world")
    target = load_target(net(), preprocess=PREPROCESS, device="cpu")
    return target, open_dataset((images(12), None), preprocess=PREPROCESS, outputs=3, work=folder)


def tasks(count: int) -> list[tuple[int, range]]:
    return [(i, range(2 * i, 2 * i + 2)) for i in range(count)]


def numbers(results: Any) -> list[Any]:
    return [(index, [square for square, _ in found]) for index, found in results]


def test_local_and_ray_and_a_killed_worker_give_the_same_bytes(ray: Ray, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "helper.py").write_text("WIDTH = 4\n")
    (tmp_path / "nets.py").write_text(NETS)
    torch.manual_seed(1)  # all three runs are to audit one model, whose factory draws another one in every process
    state = {
        "conv.weight": torch.randn(4, 3, 3, 3),
        "conv.bias": torch.zeros(4),
        "fc.weight": torch.randn(3, 4),
        "fc.bias": torch.zeros(3),
    }
    torch.save(state, tmp_path / "net.pt")
    np.savez(
        tmp_path / "data.npz", images=rng.integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8), labels=rng.integers(0, 3, COUNT)
    )
    killed: list[int] = []
    before = ray.lost

    def kill(what: str, done: int, _total: int) -> None:
        """As the first shard of the pass is merged, and again among the items of a study: who is at work where there is one."""
        if (what, done) in (("pass", 256), ("occlusion", 4)):
            alive = [handle for handle in ray.pool if handle.pid]
            hit = next((handle for handle in alive if handle.under_way), alive[0])
            os.kill(hit.pid, signal.SIGKILL)
            killed.append(hit.pid)

    def audit(name: str, **more: Any) -> dict[str, bytes]:
        api.run(
            str(tmp_path / "nets.py:net"), str(tmp_path / "data.npz"), out=tmp_path / name / "x", work=tmp_path / f"work-{name}",
            weights=tmp_path / "net.pt", preprocess=replace(PREPROCESS, geometry=replace(PREPROCESS.geometry, resize=None)),
            probes=PROBES, profile="quick", device="cpu", batch=64, **more,
        )  # fmt: skip
        return contents(tmp_path / name / "x")

    local = audit("local")
    assert audit("ray", engine=ray) == local
    assert ray.lost == before
    assert audit("killed", engine=ray, progress=kill) == local
    assert len(set(killed)) == 2
    assert ray.lost == before + 2
    assert "audit.json" in local
    sections = api.open_audit(tmp_path / "killed/x").record.sections
    assert [sections[name].status for name in PROBES.split(",")] == ["done"] * 6
    run = api.open_audit(tmp_path / "killed/x").path / "run.json"
    assert '"workers":2' in run.read_text().replace(" ", "")


def test_what_was_stopped_on_ray_goes_on_in_one_process(ray: Ray, tmp_path: Path) -> None:
    data = (images(4 * 256), np.arange(4 * 256) % 3)
    model, seen = net(), []

    def run(name: str, work: str, **more: Any) -> dict[str, bytes]:
        api.run(
            model,
            data,
            preprocess=PREPROCESS,
            probes="performance",
            out=tmp_path / name / "x",
            work=tmp_path / work,
            device="cpu",
            batch=64,  # four make a shard of 256
            **more,
        )
        return contents(tmp_path / name / "x")

    def stop(what: str, done: int, _total: int) -> None:
        if (what, done) == ("pass", 512):
            raise KeyboardInterrupt

    whole = run("whole", "a")
    with pytest.raises(KeyboardInterrupt):
        run("cut", "b", engine=ray, progress=stop)
    assert run("cut", "b", progress=lambda what, done, _: seen.append((what, done))) == whole
    assert ("pass", 768) in seen
    assert ("pass", 512) not in seen, "the finished shards are not read again"


def test_results_come_in_the_order_of_the_tasks_from_two_processes(ray: Ray, world: Any) -> None:
    list(ray.run(tasks(2), Squares(), *world))
    ray.ray.get([handle.actor.ready.remote() for handle in ray.pool])  # both have started
    found = list(ray.run(tasks(40), Squares(slow=0), *world))
    assert numbers(found) == [(i, [(2 * i) ** 2, (2 * i + 1) ** 2]) for i in range(40)]
    assert len({pid for _, rows in found for _, pid in rows}) == 2
    assert numbers(LOCAL.run(tasks(40), Squares(), *world)) == numbers(found)


@pytest.mark.slow
def test_a_unit_that_kills_its_worker_twice_is_done_the_third_time(ray: Ray, world: Any, tmp_path: Path) -> None:
    before = ray.lost
    found = numbers(ray.run(tasks(6), Squares(str(tmp_path), dies_at=4, times=2), *world))
    assert found == numbers(LOCAL.run(tasks(6), Squares(), *world))
    assert ray.lost == before + 2


@pytest.mark.slow
def test_a_unit_that_kills_every_worker_is_told(ray: Ray, world: Any, tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="died 3 times over items 4 to 5"):
        list(ray.run(tasks(6), Squares(str(tmp_path), dies_at=4, times=99), *world))
    assert numbers(ray.run(tasks(3), Squares(), *world)) == numbers(LOCAL.run(tasks(3), Squares(), *world)), (
        "and the engine goes on"
    )


@pytest.mark.slow
def test_an_error_that_passes_is_no_error(ray: Ray, world: Any, tmp_path: Path) -> None:
    found = numbers(ray.run(tasks(6), Squares(str(tmp_path), fails_at=4, times=2), *world))
    assert found == numbers(LOCAL.run(tasks(6), Squares(), *world))


@pytest.mark.slow
def test_an_error_that_stays_is_the_one_of_a_single_process_with_its_traceback(ray: Ray, world: Any, tmp_path: Path) -> None:
    traces, given = [], []
    for engine in (LOCAL, ray):
        folder = tmp_path / type(engine).__name__
        folder.mkdir()
        with pytest.raises(Exception, match="planted at 4") as raised:  # noqa: PT012 - what came before counts
            given.append([])
            for index, _ in engine.run(tasks(6), Squares(str(folder), fails_at=4, times=99), *world):
                given[-1].append(index)
        traces.append(engines.traceback_of(raised.value))
    assert given == [[0, 1], [0, 1]]
    assert traces[0] == traces[1]
    assert "ray_world.py" in traces[0]
    assert traces[0].strip().endswith("Awkward: planted at 4")


class Locked(nn.Module):
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.lock = threading.Lock()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))


def test_a_model_that_cannot_be_sent_is_refused_with_what_to_do(ray: Ray, world: Any) -> None:
    target = load_target(Locked(), preprocess=PREPROCESS, device="cpu")
    with pytest.raises(EngineError, match=r"the model Locked cannot be sent to a worker.*--model file.py:factory"):
        list(ray.run(tasks(2), Squares(), target, world[1]))


def test_a_model_that_a_worker_has_not_is_told(ray: Ray, world: Any, tmp_path: Path) -> None:
    (tmp_path / "gone.py").write_text("from torchvision.models import resnet18 as net\n")
    target = load_target(f"{tmp_path / 'gone.py'}:net", preprocess=PREPROCESS, device="cpu", input_shape=(3, 16, 16))
    (tmp_path / "gone.py").unlink()
    with pytest.raises(
        EngineError, match=r"a worker cannot make the model: TargetError.*gone.py:net and its files must be on every node"
    ):
        list(ray.run(tasks(2), Squares(), target, world[1]))


def test_a_model_that_is_made_otherwise_is_told(tmp_path: Path) -> None:
    source = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.{}(), nn.Flatten(), nn.Linear(784, 3))\n"
    (tmp_path / "nets.py").write_text(source.format("ReLU"))
    target = load_target(f"{tmp_path / 'nets.py'}:net", preprocess=PREPROCESS, device="cpu", input_shape=(3, 16, 16))
    sent = pack(target, dumps)
    assert torch.equal(unpack(sent).model[0].weight, target.model[0].weight), "random weights of this process, made nowhere else"
    (tmp_path / "nets.py").write_text(source.format("Tanh"))
    with pytest.raises(EngineError, match="makes another model of"):
        unpack(sent)


class Hidden(nn.Module):
    """Computes with what is in no state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.gain = 1.0

    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return self.gain * self.fc(x.mean((2, 3))), 0


def test_a_target_that_was_sent_is_the_same() -> None:
    target = load_target(Hidden(), preprocess=PREPROCESS, device="cpu")
    target.second = load_target(net(), preprocess=PREPROCESS, device="cpu")
    again, batch = unpack(pack(target, dumps)), torch.rand(2, 3, 16, 16)
    for one, other in ((target, again), (target.second, again.second)):
        assert torch.equal(one.look(batch).scores, other.look(batch).scores)
        assert (one.identity, one.trace, one.head) == (other.identity, other.trace, other.head)
        assert not other.model.training
    sent = pack(target, dumps)
    assert sent.generator is None
    with pytest.raises(EngineError, match="gives other scores of the same batch"):
        unpack(replace(sent, seen={**sent.seen, "scores": sent.seen["scores"] + 1}))


@pytest.mark.parametrize("named", [True, False])
def test_ones_own_generator_goes_along(tmp_path: Path, named: bool) -> None:
    (tmp_path / "own.py").write_text(FILE.replace("torch.ones(())", "torch.rand(())"))  # drawn anew in every process
    target = load_target(net(), preprocess=PREPROCESS, device="cpu")
    target.generator = open_generator(f"{tmp_path}/own.py:make" if named else Flat(), target)
    sent, codes = pack(target, dumps), torch.rand(2, 6)
    again = unpack(sent).generator
    assert torch.equal(again.module(codes), target.generator.module(codes))
    assert (again.digest, again.features, again.bounds) == (target.generator.digest, 6, None)
    if named:
        (tmp_path / "own.py").unlink()
        with pytest.raises(EngineError, match="a worker cannot make the generator"):
            unpack(sent)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, told = called("run", "--model", "demo:digits", "--data", "x", "--engine", "ray", cwd=tmp_path)
    assert code == 2
    assert "pip install 'auditor[ray]'" in told


def test_a_cluster_that_does_not_answer_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        code, _, told = called(
            "run", "--model", "nothing:there", "--data", "x", "--engine", f"ray:127.0.0.1:{port}", cwd=tmp_path
        )
    assert code == 2
    assert f"ray:127.0.0.1:{port}: nothing answers there" in told


@pytest.mark.parametrize("address", ["somewhere", "host:", ":6379", "ray://host", "host:port"])
def test_what_is_no_address_is_told(address: str) -> None:
    with pytest.raises(EngineError, match="expected host:port, ray://host:port or auto"):
        require_answer(address)


@pytest.mark.parametrize("spec", ["dask", "local:1", "ray:", ""])
def test_what_is_no_engine_is_told(spec: str) -> None:
    with pytest.raises(ConfigError, match="expected local, ray or ray:ADDRESS"), engines.opened(spec):
        pass


def test_workers_are_those_of_ray() -> None:
    with pytest.raises(ConfigError, match="--workers are those of --engine ray"), engines.opened("local", 2):
        pass
