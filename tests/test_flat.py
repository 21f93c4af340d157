"""What an image adds to the memory that is held while an audit works: much less than its scores and features."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from auditor import memory, stream
from auditor.evidence.graph import graph
from auditor.evidence.labelled import labelled
from auditor.evidence.pca import pca
from auditor.evidence.predictions import Outputs, Predictions
from auditor.methods.calibration import crossed, softened
from auditor.methods.votes import agreement
from auditor.ops import neighbours, points, room, spans
from auditor.plan import Plan
from auditor.types import Array
from tests.small import PREPROCESS

FEW, MANY, WIDTH = 400, 1600, 128
ROW = 4 * WIDTH
"""Bytes of an image's features, and of its scores."""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that are small beside these tables, as they are beside those of real data."""
    monkeypatch.setattr(points, "BLOCK", 32)
    monkeypatch.setattr(points, "HELD", 0)
    monkeypatch.setattr(neighbours, "WAITING", 4096)
    monkeypatch.setattr(spans, "NUMBERS", 32 * WIDTH)
    monkeypatch.setattr(room, "SMALL", 1024)


def grown(work: Callable[[int], object]) -> float:
    """Bytes that each further image adds to the peak."""
    peaks = []
    for count in (FEW, FEW, MANY):  # the first one is not counted: imports, caches
        tracemalloc.start()
        try:
            held = work(count)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        del held
    return (peaks[2] - peaks[1]) / (MANY - FEW)


def table(folder: Path, count: int) -> Array:
    """(count,WIDTH) float32 in a file."""
    path = folder / f"{count}.npy"
    if not path.exists():
        np.save(path, np.random.default_rng(0).normal(size=(count, WIDTH)).astype(np.float32))
    return np.asarray(np.load(path, mmap_mode="r"))


def test_the_tool_sees_a_copy(tmp_path: Path) -> None:
    table(tmp_path, FEW), table(tmp_path, MANY)
    assert grown(lambda count: table(tmp_path, count).astype(np.float64)) > 1.9 * ROW


def test_a_pass_holds_no_scores_and_features(tmp_path: Path) -> None:
    class Data:
        def __init__(self, count: int) -> None:
            self.labels = np.zeros(count, dtype=np.int64)

        def __len__(self) -> int:
            return len(self.labels)

        def load(self, positions: Any, device: Any) -> torch.Tensor:
            return torch.zeros(len(positions), WIDTH)

    look = SimpleNamespace(
        device=torch.device("cpu"),
        look=lambda images, _layers=(): SimpleNamespace(scores=images, features=images, activations={}),
    )
    plan = Plan(profile="quick", probes={}, batch=16, shard=32, threads=1, device="cpu")

    def work(count: int) -> object:
        data: Any = Data(count)
        target: Any = look
        return stream.run_pass(target, data, {"out": Outputs()}, plan, tmp_path / str(np.random.default_rng().integers(1 << 30)))

    assert grown(work) < 0.25 * ROW


def test_the_graph_of_neighbours_lies_in_files_and_features_are_read_in_pieces(tmp_path: Path) -> None:
    table(tmp_path, FEW), table(tmp_path, MANY)
    found = grown(lambda count: graph(table(tmp_path, count), room=room.in_folder(tmp_path / "room")))
    assert found < 0.25 * ROW, "an image's 91 neighbours alone take 1,092 bytes"
    assert not list((tmp_path / "room").iterdir()), "the files have no name"


@pytest.mark.parametrize(
    "work",
    [
        lambda x, _y: pca(x).at(slice(0, 9)),
        lambda x, y: (lambda p: (p.predicted, p.second, p.confidence, p.loss))(Predictions(x, y)),
        lambda x, y: labelled(SimpleNamespace(predictions=Predictions(x, y))),  # type: ignore[arg-type]
        lambda x, y: softened(x, np.ones(len(x)), y),
        lambda x, y: agreement(np.broadcast_to(np.arange(91), (len(x), 91)), y, 5),
    ],
    ids=["pca", "predictions", "labelled", "softened", "agreement"],
)
def test_what_follows_from_them_is_worked_out_in_pieces(tmp_path: Path, work: Callable[[Array, Array], object]) -> None:
    table(tmp_path, FEW), table(tmp_path, MANY)
    assert grown(lambda count: work(table(tmp_path, count), np.arange(count) % WIDTH)) < 0.3 * ROW


def test_the_halves_of_the_temperature_are_read_in_pieces_too(tmp_path: Path) -> None:
    table(tmp_path, FEW), table(tmp_path, MANY)
    found = grown(lambda count: crossed(table(tmp_path, count), np.arange(count) % WIDTH, np.arange(count) % 2 == 0))
    assert found < 0.75 * ROW, "one half of the scores as they are"


def test_room_that_there_is_not_is_told_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room, "reserve", full)
    with pytest.raises(room.StoreError, match=r"cannot keep 8,000 bytes in .*No space left on device; free some space, or give"):
        room.in_folder(tmp_path)((1000,), np.float64)


def test_memory_grows_by_what_an_image_adds() -> None:
    calls = (
        SimpleNamespace(name="conv", shape=(3, 8, 10, 10), inputs=(3, 3, 10, 10)), SimpleNamespace(name="fc", kind="Linear", shape=(3, 4), inputs=(3, 8)),
    )  # fmt: skip
    model, cpu = torch.nn.Conv2d(128, 128, 3, padding=1), torch.device("cpu")
    target = SimpleNamespace(
        trace=calls, head="fc", outputs=4, input_shape=(3, 10, 10), preprocess=PREPROCESS, model=model, device=cpu
    )

    def of(count: int, train: int = 0) -> memory.Room:
        given = SimpleNamespace(
            target=target, dataset=range(count), train=range(train) if train else None, plan=SimpleNamespace(batch=2)
        )
        return memory.room(given)  # type: ignore[arg-type]

    few, many = of(1000), of(3000)
    assert many.memory - few.memory == 2000 * memory.EACH
    laid_out = 2 * 2 * 36 * 4 * 128**2 + 3 * 9 * 4 * 128**2  # both directions, each for few tiles and for many
    assert few.memory == memory.AT_WORK + 1000 * memory.EACH + 2 * 4 * 804 + laid_out
    assert few.files == 1000 * (300 + 4 * (8 + 4) + 12 * 91 + 512 * 3)
    assert of(1000, 500).files > few.files
