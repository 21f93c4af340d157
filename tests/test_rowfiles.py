from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from auditor.rowfiles import RowFiles
from auditor.types import Array

FIRST, SECOND = np.arange(12, dtype=np.float32).reshape(4, 3), np.arange(6, dtype=np.float32).reshape(2, 3) + 50


def written(folder: Path) -> tuple[RowFiles, dict[str, object]]:
    files = RowFiles(folder, "pass-x")
    files.append({"a": FIRST, "b": FIRST[:, 0]})
    return files, files.facts()


def paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.rows"))


def test_rows_come_back_in_their_order_and_lie_in_a_file(tmp_path: Path) -> None:
    files, _ = written(tmp_path)
    files.append({"a": SECOND, "b": SECOND[:, 0]})
    found = files.arrays()
    files.close()
    np.testing.assert_array_equal(found["a"], np.concatenate([FIRST, SECOND]))
    np.testing.assert_array_equal(found["b"], np.concatenate([FIRST, SECOND])[:, 0])
    base: Array | None = found["a"]
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


@pytest.mark.parametrize("more", [True, False])
def test_a_later_process_goes_on(tmp_path: Path, more: bool) -> None:
    first, facts = written(tmp_path)
    first.append({"a": SECOND, "b": SECOND[:, 0]})  # after the checkpoint: not to be taken up
    first.opened["a"].flush()
    again = RowFiles(tmp_path, "pass-x")
    with closing(first), closing(again):
        goes_on(first, again, facts, tmp_path, more=more)


def goes_on(first: RowFiles, again: RowFiles, facts: dict[str, object], tmp_path: Path, *, more: bool) -> None:
    assert again.take_up(facts, more=more)
    if more:
        again.append({"a": SECOND + 1, "b": SECOND[:, 0]})
        np.testing.assert_array_equal(again.arrays()["a"], np.concatenate([FIRST, SECOND + 1]))
        np.testing.assert_array_equal(first.arrays()["a"], np.concatenate([FIRST, SECOND]), "whoever wrote before goes on too")
        again.alone()
        assert len(paths(tmp_path)) == 2
    np.testing.assert_array_equal(again.arrays()["a"][:4], FIRST)


@pytest.mark.parametrize("harm", ["missing", "short", "altered"])
def test_what_is_not_as_it_was_written_counts_as_none(tmp_path: Path, harm: str) -> None:
    first, facts = written(tmp_path)
    first.close()
    path = next(path for path in paths(tmp_path) if path.name.startswith("pass-x-b"))
    data = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-1] if harm == "short" else data[:3] + bytes([data[3] ^ 1]) + data[4:])
    before = len(paths(tmp_path))
    again = RowFiles(tmp_path, "pass-x")
    assert not again.take_up(facts, more=True)
    assert not again.tables
    assert len(paths(tmp_path)) == before, "no half a copy stays"


def test_rows_of_another_kind_are_refused(tmp_path: Path) -> None:
    files, _ = written(tmp_path)
    with closing(files), pytest.raises(ValueError, match=r"expected a of <f4 \[3\] an image, as before, got <f8 \[3\]"):
        files.append({"a": FIRST.astype(np.float64)})
