"""`auditor convert`: a checkpoint into safetensors. What can run code is opened, if at all, in a child without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from auditor.errors import StoreError, WeightsError
from auditor.store import sync_folder
from auditor.target.weights import State, line, load_any, read_weights, unwrap

SECONDS = 600
"""That the child may take."""

CHILD = """
import ctypes, json, sys
source, out, kind = sys.argv[1:4]
user, net = 0x10000000, 0x40000000
try:
    libc = ctypes.CDLL(None, use_errno=True)
    cut = libc.unshare(net) == 0 or libc.unshare(user | net) == 0
except (OSError, AttributeError):
    cut = False
import torch
if kind == "script":
    value = torch.jit.load(source, map_location="cpu")
else:
    value = torch.load(source, map_location="cpu", weights_only=False)
def plain(value, depth=0):
    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict) and depth < 4:
        return {str(k): p for k, v in value.items() if (p := plain(v, depth + 1)) is not None}
    return None
torch.save(plain(value), out)
print(json.dumps({"cut": cut}))
"""
"""Opens a pickle that may run code, and hands its tensors on in a file without any."""


def convert(source: Path, out: Path, *, trust_code: bool = False) -> str:
    """Write the weights in `source` to `out` (.safetensors); the sentence to print.

    A file that weights_only accepts is converted here. One that it refuses (a pickled module, TorchScript) needs `trust_code`,
    and is then opened in a child process, cut off from the network where the system allows it.
    Raises WeightsError, StoreError.
    """
    if out.suffix != ".safetensors":
        raise WeightsError(f"convert writes .safetensors; got {out.name}; give OUT that ending")
    if out.exists():
        raise StoreError(f"{out} exists and is not replaced; give another OUT")
    try:
        weights = read_weights(source)
        state, notes = weights.state, weights.notes
    except WeightsError as refused:
        if "--trust-code" not in str(refused):
            raise
        if not trust_code:
            raise
        state, notes = in_child(source, out)
    save(state, out)
    return " ".join([f"{out}: {len(state)} tensors, {sum(t.numel() for t in state.values()):,} numbers.", *notes])


def in_child(source: Path, out: Path) -> tuple[State, tuple[str, ...]]:
    """The tensors of a file that can run code, by a process of its own."""
    plain = out.with_name(f".{out.name}.{os.getpid()}.pt")
    kind = "script" if is_script(source) else "pickle"
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter on our own text; the user asked for it with --trust-code
            [sys.executable, "-c", CHILD, str(source), str(plain), kind],
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        if done.returncode != 0 or not plain.is_file():
            told = done.stderr.strip().splitlines()
            raise WeightsError(f"{source} could not be opened: {told[-1] if told else f'exit {done.returncode}'}; get it again")
        state, notes = unwrap(load_any(plain), source)
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"{source} was not opened within {SECONDS} s; it was stopped") from error
    finally:
        plain.unlink(missing_ok=True)
    offline = '"cut": true' in done.stdout
    return state, (
        *notes,
        f"Opened in a child process {'without' if offline else 'with (this system cannot cut it off)'} a network.",
    )


def is_script(source: Path) -> bool:
    """Whether a file is TorchScript."""
    import zipfile

    if not zipfile.is_zipfile(source):
        return False
    with zipfile.ZipFile(source) as archive:
        return any("/code/" in name or name.endswith("constants.pkl") for name in archive.namelist())


def save(state: Mapping[str, Any], out: Path) -> None:
    """Write tensors atomically; shared storage is copied apart, which safetensors asks for."""
    plain: dict[str, Tensor] = {name: value.detach().contiguous().clone() for name, value in state.items()}
    sparse = [name for name, value in plain.items() if value.layout != torch.strided]
    if sparse:
        raise WeightsError(f"{sparse[0]} is a sparse tensor, which safetensors cannot hold; make it dense first")
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        save_file(plain, temporary)
        temporary.replace(out)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {line(error)}; free some space or choose another OUT") from error
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(out.parent)
