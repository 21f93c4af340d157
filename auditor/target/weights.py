"""Weights from a file: tensors only, never unpickled; wrappers and prefixes are taken off by a rule that is printed."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from auditor.errors import WeightsError

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
WRAPPERS = (
    "state_dict_ema", "model_ema", "ema_state_dict", "ema", "state_dict", "model_state_dict", "model", "module", "net", "weights",
)  # fmt: skip
"""Keys under which checkpoints keep their weights, in the order in which they are looked for: an average (EMA) is what ships."""
PREFIXES = ("_orig_mod.", "module.", "model.", "net.")
UNUSED = "num_batches_tracked"
"""A counter of batch norm that no forward in eval mode reads."""

State = dict[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """The tensors of a file, and what was unwrapped to reach them."""

    path: Path
    state: State
    notes: tuple[str, ...] = ()


def read_weights(path: Path) -> Weights:
    """Read a .safetensors, .pt, .pth, .bin or .ckpt. Raises WeightsError: missing, damaged, or able to run code."""
    if path.suffix.lower() not in SUFFIXES:
        raise WeightsError(f"--weights expects {', '.join(SUFFIXES)}; got {path.name}; save a state_dict as safetensors")
    if not path.is_file():
        raise WeightsError(f"--weights: {path} {'is a folder' if path.is_dir() else 'does not exist'}; check the path")
    state, notes = unwrap(load_any(path), path)
    return Weights(path, state, notes)


def load_any(path: Path) -> Any:
    """The content of a weights file as plain data and tensors on the CPU."""
    if path.suffix.lower() == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise WeightsError(f"{path} is no whole safetensors file ({line(error)}); get it again or convert it anew") from error
    refuse_programs(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of formats that are refused or read here
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors and plain data ({reason(error)}), which could run code: it was not loaded; "
            f"where you trust it, turn it into safetensors once: {conversion(path)}"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise WeightsError(f"{path} cannot be read as weights ({line(error)}); it may be damaged: get it again") from error


def refuse_programs(path: Path) -> None:
    """Raise for TorchScript and exported programs: archives that carry code."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise WeightsError(f"{path} is a damaged archive ({line(error)}); get it again") from error
    if any("/code/" in name or name.endswith(("constants.pkl", ".so", "archive_format")) for name in names):
        raise WeightsError(
            f"{path} is a program (TorchScript or torch.export), not weights: it was not loaded; "
            f"where you trust it, take its weights out: {conversion(path)}"
        )


def conversion(path: Path) -> str:
    """The command that makes a refused file harmless."""
    return f"auditor convert {path} {path.with_suffix('.safetensors')} --trust-code"


def line(error: BaseException) -> str:
    """An error's first sentence, short."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 140 else text[:137] + "..."


def reason(error: BaseException) -> str:
    """The name that weights_only stumbled over, out of torch's long text."""
    text = " ".join(str(error).split())
    for mark in ("GLOBAL ", "Unsupported global: "):
        if mark in text:
            return "it asks for " + text.split(mark, 1)[1].split(" was not")[0].split(" ")[0].removeprefix("GLOBAL ")
    return line(error).split(". ")[0]


def is_state(value: Any) -> bool:
    """A mapping of names to tensors, not empty."""
    return isinstance(value, Mapping) and bool(value) and all(isinstance(v, Tensor) for v in value.values())


def unwrap(value: Any, path: Path) -> tuple[State, tuple[str, ...]]:
    """(name -> tensor, notes): the first of WRAPPERS that holds tensors, at most three deep."""
    notes: list[str] = []
    for _ in range(3):
        if is_state(value):
            return {str(k): v for k, v in value.items()}, tuple(notes)
        if not isinstance(value, Mapping):
            break
        key = next((k for k in WRAPPERS if isinstance(value.get(k), Mapping) and holds_tensors(value[k])), None)
        if key is None:
            tensors = {str(k): v for k, v in value.items() if isinstance(v, Tensor)}
            if not tensors:
                break
            left = [str(k) for k in value if str(k) not in tensors]
            return tensors, (*notes, f"Weights file: {len(left)} entries that are no tensors were left out ({few(left)}).")
        notes.append(f"Weights file: unwrapped from its key {key!r}, of {few(map(str, value))}.")
        value = value[key]
    got = f"keys {few(map(str, value))}" if isinstance(value, Mapping) else type(value).__name__
    raise WeightsError(f"{path} holds no state_dict (name -> tensor); got {got}; save model.state_dict()")


def holds_tensors(value: Mapping[Any, Any], depth: int = 2) -> bool:
    """Whether a mapping has a tensor in it or in a mapping within."""
    return any(
        isinstance(v, Tensor) or (depth > 0 and isinstance(v, Mapping) and holds_tensors(v, depth - 1)) for v in value.values()
    )


def few(names: Iterable[str], most: int = 6) -> str:
    """The first names, and how many there are."""
    known = list(names)
    return ", ".join(known[:most]) + (f", ... ({len(known)} in all)" if len(known) > most else "")


def candidates(state: State) -> list[tuple[str, State]]:
    """(chain of PREFIXES, the state without it) for every chain that some names begin with; the state itself comes first."""
    found = [("", state)]
    for chain, have in found:
        for prefix in PREFIXES:
            cut = {key.removeprefix(prefix): value for key, value in have.items() if key.startswith(prefix)}
            if cut and len(found) < 16:
                found.append((chain + prefix, cut))
    return found


def without_prefix(state: State, wanted: Iterable[str]) -> tuple[State, tuple[str, ...]]:
    """The state without the chain of PREFIXES after which most names meet `wanted` (none on a tie), and the note to print."""
    names = set(wanted)
    chain, best = max(candidates(state), key=lambda found: len(names & set(found[1])))
    if not chain:
        return state, ()
    left = [key for key in state if not key.startswith(chain)]
    more = f"; {len(left)} entries without it were left out ({few(left, 3)})" if left else ""
    return best, (f"Weights file: prefix {chain!r} was removed{more}.",)


@dataclass(frozen=True)
class Fit:
    """How a state meets a model."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    """(name, shape in the file, shape in the model)."""


def fit(model: nn.Module, state: State) -> Fit:
    """Compare names and shapes; a missing batch-norm counter is no loss."""
    own = model.state_dict()
    missing = tuple(k for k in own if k not in state and not k.endswith(UNUSED))
    unexpected = tuple(k for k in state if k not in own)
    pairs = ((k, tuple(state[k].shape), tuple(own[k].shape)) for k in own if k in state)
    return Fit(missing, unexpected, tuple(p for p in pairs if p[1] != p[2]))


def classes_of(found: Fit) -> int | None:
    """The number of classes of the weights, where nothing but heads is misshaped: all in their first side, by the same number."""
    moves = {(file[:1], own[:1], file[1:] == own[1:]) for _, file, own in found.misshaped}
    if len(moves) != 1:
        return None
    file, own, rest_equal = next(iter(moves))
    return file[0] if file and own and rest_equal else None


def load_into(model: nn.Module, weights: Weights) -> tuple[str, ...]:
    """Copy the weights into the model; the notes to print. Raises WeightsError, which lists what does not fit."""
    state, notes = without_prefix(weights.state, model.state_dict())
    require_fit(fit(model, state), weights.path, model)
    model.load_state_dict(state, strict=False)
    return notes


def require_fit(found: Fit, path: Path, model: nn.Module) -> None:
    """Raise WeightsError where anything is missing, unexpected or misshaped."""
    told = []
    if found.missing:
        told.append(f"missing in the file: {few(found.missing)}")
    if found.unexpected:
        told.append(f"not in the model: {few(found.unexpected)}")
    if found.misshaped:
        told.append("of another shape: " + few((f"{k} {a} where the model has {b}" for k, a, b in found.misshaped), 4))
    if told:
        raise WeightsError(f"{path} does not fit {type(model).__name__}: {'; '.join(told)}; {hint_for(found)}")


def hint_for(found: Fit) -> str:
    """What to do about weights that do not fit."""
    if found.misshaped and not found.missing and not found.unexpected:
        return "give the architecture its own settings with --model-arg (such as num_classes=K)"
    return "name the architecture that these weights belong to, or its settings with --model-arg"
