from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auditor.checkpoint import Checkpoint


def written(path: Path) -> Checkpoint:
    checkpoint = Checkpoint(path, facts={"failed": {"x": "trace"}})
    checkpoint.write(3, {"a": {"v": np.arange(100)}, "empty": {}})
    return checkpoint


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    written(tmp_path / "c.npz")
    back = Checkpoint(tmp_path / "c.npz").read()
    assert back.done == 3
    assert np.array_equal(back.states["a"]["v"], np.arange(100))
    assert back.states["empty"] == {}
    assert back.facts == {"failed": {"x": "trace"}}


def test_none_counts_as_nothing_done(tmp_path: Path) -> None:
    assert Checkpoint(tmp_path / "c.npz").read().done == 0


@pytest.mark.parametrize("cut", [10, 200, -30])
def test_a_torn_file_counts_as_none(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "c.npz"
    written(path)
    path.write_bytes(path.read_bytes()[:cut])
    assert Checkpoint(path).read().done == 0


def test_no_flipped_byte_of_the_data_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    written(path)
    data = path.read_bytes()
    place = data.index(np.arange(100).tobytes()[80:160]) + 4
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    assert Checkpoint(path).read().done == 0
