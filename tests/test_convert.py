from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from auditor.convert import convert
from auditor.errors import StoreError, WeightsError


def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2))


def same(path: Path) -> bool:
    found = load_file(path)
    return set(found) == set(net().state_dict()) and all(torch.equal(found[k], v) for k, v in net().state_dict().items())


def test_plain_weights_are_converted_here(tmp_path: Path) -> None:
    torch.save({"state_dict": net().state_dict()}, tmp_path / "w.pt")
    told = convert(tmp_path / "w.pt", tmp_path / "w.safetensors")
    assert "4 tensors" in told
    assert same(tmp_path / "w.safetensors")


def test_a_whole_model_needs_trust_and_a_child(tmp_path: Path) -> None:
    torch.save(net(), tmp_path / "whole.pt")
    with pytest.raises(WeightsError, match="--trust-code"):
        convert(tmp_path / "whole.pt", tmp_path / "w.safetensors")
    assert list(tmp_path.glob("*.safetensors")) == []
    told = convert(tmp_path / "whole.pt", tmp_path / "w.safetensors", trust_code=True)
    assert "child process" in told
    assert same(tmp_path / "w.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.safetensors", "whole.pt"]


def test_nothing_is_overwritten_and_the_ending_is_asked_for(tmp_path: Path) -> None:
    torch.save(net().state_dict(), tmp_path / "w.pt")
    (tmp_path / "there.safetensors").write_bytes(b"mine")
    with pytest.raises(StoreError, match="not replaced"):
        convert(tmp_path / "w.pt", tmp_path / "there.safetensors")
    with pytest.raises(WeightsError, match=r"\.safetensors"):
        convert(tmp_path / "w.pt", tmp_path / "out.bin")
    assert (tmp_path / "there.safetensors").read_bytes() == b"mine"


def test_a_child_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"\x80\x02cno_such_module\nthing\n.")
    with pytest.raises(WeightsError, match="could not be opened"):
        convert(tmp_path / "bad.pt", tmp_path / "w.safetensors", trust_code=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.pt"]
