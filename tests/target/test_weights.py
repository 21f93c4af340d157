"""Weights files: what is unwrapped, what is refused, what is listed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from auditor.errors import WeightsError
from auditor.target.weights import load_into, read_weights
from tests.target import nets


def source() -> Any:
    return nets.seeded(nets.Net)


def state() -> dict[str, torch.Tensor]:
    return dict(source().state_dict())


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in state().items()}


FILES: dict[str, tuple[Any, str]] = {
    "plain": (state(), ""),
    "state_dict": ({"state_dict": state(), "epoch": 3}, "'state_dict'"),
    "lightning": (
        {"state_dict": prefixed("model.") | {"loss.weight": torch.ones(4)}, "hyper_parameters": {"lr": 0.1}, "epoch": 1}, "'model.'",
    ),
    "parallel": (prefixed("module."), "'module.'"),
    "compiled parallel": ({"model": prefixed("module._orig_mod.")}, "'module._orig_mod.'"),
    "net": (prefixed("net."), "'net.'"),
    "ema": ({"state_dict": {k: v * 0 for k, v in state().items()}, "state_dict_ema": state()}, "'state_dict_ema'"),
    "nested": ({"model": {"state_dict": state()}}, "'model'"),
    "averaged": (prefixed("module.") | {"n_averaged": torch.tensor(5)}, "'module.'"),
    "without counter": ({k: v for k, v in state().items() if not k.endswith("num_batches_tracked")}, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("suffix", [".pt", ".ckpt"])
def test_wrappers_and_prefixes_come_off_by_a_rule_that_is_told(name: str, suffix: str, tmp_path: Path) -> None:
    content, told = FILES[name]
    path = tmp_path / f"w{suffix}"
    torch.save(content, path)
    model = nets.Net()
    weights = read_weights(path)
    notes = (*weights.notes, *load_into(model, weights))
    assert all(torch.equal(v, state()[k]) for k, v in model.state_dict().items() if not k.endswith("tracked"))
    assert told in " ".join(notes)
    assert bool(notes) == bool(told)


def test_safetensors(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "w.safetensors")
    model = nets.Net()
    assert load_into(model, read_weights(tmp_path / "w.safetensors")) == ()
    assert torch.equal(model.fc.weight, state()["fc.weight"])


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    torch.save({"state_dict": state(), "x": Bomb(mark)}, tmp_path / "w.pt")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Bomb(mark)))
    for name in ("w.pt", "raw.pth"):
        with pytest.raises(WeightsError, match="auditor convert"):
            read_weights(tmp_path / name)
    assert not mark.exists()


def test_a_whole_model_and_a_program_are_refused_with_the_way_out(tmp_path: Path) -> None:
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), tmp_path / "whole.pt")
    with pytest.raises(WeightsError, match=r"torch\.nn.* auditor convert"):
        read_weights(tmp_path / "whole.pt")
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "program.pt2")
    (tmp_path / "program.pt2").rename(tmp_path / "program.pt")
    with pytest.raises(WeightsError, match="a program"):
        read_weights(tmp_path / "program.pt")


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "flip"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_damaged_file_is_told_in_one_line(damage: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".pt":
        torch.save(state(), path)
    else:
        save_file(state(), path)
    data = path.read_bytes()
    half = len(data) // 2
    flipped = data[:2] + bytes([data[2] ^ 0xFF]) + data[3:]
    path.write_bytes({"cut": data[:half], "empty": b"", "text": b"<html>404</html>", "flip": flipped}[damage])
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_listed(tmp_path: Path) -> None:
    found = state()
    found["fc.weight"] = torch.zeros(7, 9)
    found["extra.bias"] = torch.zeros(1)
    del found["conv1.bias"]
    save_file(found, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError) as caught:
        load_into(nets.Net(), read_weights(tmp_path / "w.safetensors"))
    text = str(caught.value)
    assert "missing in the file: conv1.bias" in text
    assert "not in the model: extra.bias" in text
    assert "fc.weight (7, 9) where the model has (4, 8)" in text


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {"state_dict": {}}, torch.zeros(3)])
def test_a_file_without_weights_is_told(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="no state_dict"):
        read_weights(tmp_path / "w.pt")


def test_a_missing_file_a_folder_and_another_ending(tmp_path: Path) -> None:
    (tmp_path / "d.pt").mkdir()
    (tmp_path / "w.h5").write_bytes(b"x")
    for name, words in (("gone.pt", "does not exist"), ("d.pt", "is a folder"), ("w.h5", "expects .safetensors")):
        with pytest.raises(WeightsError, match=words):
            read_weights(tmp_path / name)
