"""Load a model, check its contract on one batch, freeze it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from auditor.errors import ConfigError, ContractError, TargetError
from auditor.ops.maps import Shape
from auditor.preprocess import Opaque, Preprocess
from auditor.target import contract
from auditor.target.factory import as_preparation
from auditor.target.model import Recipe, Target, test_batch
from auditor.target.sources import open_model
from auditor.target.trace import Call, find_head, trace
from auditor.target.weights import line, load_into, read_weights

TASKS = ("classification", "features")


def pick_device(name: str | torch.device) -> torch.device:
    """`auto` is CUDA, then MPS, then the CPU. Raises ConfigError where the named one is not there."""
    if isinstance(name, torch.device):
        return name
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    kind = name.partition(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"--device: expected auto, cpu, cuda or mps, got {name!r}")
    if (kind == "cuda" and not cuda) or (kind == "mps" and not mps):
        raise ConfigError(f"--device {name}: this machine has none that torch can use; give --device auto or cpu")
    return torch.device(name)


def freeze(model: nn.Module, device: torch.device) -> Callable[[], None]:
    """Put a model into eval mode on `device` without gradients of its weights; returns what undoes it."""
    modes = [(module, module.training) for module in model.modules()]
    grads = [(p, p.requires_grad) for p in model.parameters()]
    tensors = [*model.parameters(), *model.buffers()]
    before = tensors[0].device if tensors else device
    model.eval().requires_grad_(False)
    if before != device:
        model.to(device)

    def restore() -> None:
        if before != device:
            model.to(before)
        for module, mode in modes:
            module.training = mode
        for parameter, grad in grads:
            parameter.requires_grad_(grad)

    return restore


def digest_of(model: nn.Module) -> str:
    """sha256 of the weights, the structure, and the source of the user's own module classes."""
    digest = hashlib.sha256(repr(model).encode("utf-8", "backslashreplace"))
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, Tensor):
            continue
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    for source in sorted(own_sources(type(m) for m in model.modules())):
        digest.update(source.encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def own_sources(classes: Iterable[type]) -> set[str]:
    """The source of classes that no library brings: their weights alone do not say what they compute."""
    found = set()
    for kind in set(classes):
        if kind.__module__.partition(".")[0] in ("torch", "torchvision", "timm", "transformers"):
            continue
        try:
            found.add(inspect.getsource(kind))
        except (OSError, TypeError):
            found.add(f"{kind.__module__}.{kind.__qualname__}")
    return found


def load_target(
    model: str | nn.Module,
    *,
    preprocess: Preprocess | Opaque | Callable[..., Any] | None = None,
    weights: str | Path | None = None,
    model_args: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    task: str | None = None,
    fallback: Preprocess | Opaque | None = None,
    device: str | torch.device = "auto",
    input_shape: Callable[[Preprocess | Opaque], Shape] | Shape | None = None,
) -> Target:
    """Load a model and check its contract on one batch.

    `model`: what --model takes, or an nn.Module. `preprocess`: instead of the model's own. `input_shape`: (C,H,W), or a
    function that finds it, for a preprocessing that fixes no size. `fallback`: its preprocessing where
    it brings none. The model is frozen until `restore`.
    Raises TargetError (no preprocessing, cannot be built), WeightsError, ContractError (no class scores), ConfigError.
    """
    if task is not None and task not in TASKS:
        raise ConfigError(f"--task: expected {' or '.join(TASKS)}, got {task!r}")
    place = pick_device(device)
    if isinstance(model, str):
        built = open_model(model, weights=None if weights is None else Path(weights), args=model_args or {})
        source, own, net = model, built.preprocess, built.model
        recipe: Recipe | None = Recipe(model, None if weights is None else Path(weights).absolute(), dict(model_args or {}))
        names, notes = classes or built.classes, list(built.notes)
    else:
        if not isinstance(model, nn.Module):
            raise TargetError(f"expected a torch.nn.Module or what --model takes, got {type(model).__name__}")
        source, own, net, recipe = type(model).__qualname__, as_preparation(getattr(model, "preprocess", None)), model, None
        given = classes or getattr(model, "classes", None)
        names, notes = tuple(map(str, given)) if isinstance(given, list | tuple) and given else None, []
        if weights is not None:
            notes += load_into(net, read_weights(Path(weights)))
    if weights is not None:
        notes.insert(0, f"Weights from the file {Path(weights).name}.")
    prepared = as_preparation(preprocess) or own or fallback
    if prepared is None:
        raise TargetError(
            f"{source} brings no preprocessing, and none is assumed: "
            "give --mean and --std (with --resize, --crop), or --preprocess imagenet"
        )
    if preprocess is not None and own is not None:
        notes.append("The preprocessing is the one that was given, not the model's own.")
    shape = shape_of(prepared, input_shape)
    digest = digest_of(net)
    restore = freeze(net, place)
    try:
        images = test_batch(prepared, shape, place)
        calls, outputs, module, told = inspect_model(net, images, task or "classification")
    except BaseException:
        restore()
        raise
    return Target(
        model=net,
        module=module,
        preprocess=prepared,
        device=place,
        task=task or "classification",
        outputs=outputs,
        classes=None if names is None else tuple(names),
        source=source,
        name=type(net).__name__,
        digest=digest,
        input_shape=shape,
        trace=calls,
        head=find_head(calls, raw_outputs(calls, outputs, told)),
        notes=(*notes, *told),
        recipe=recipe,
        _restore=restore,
    )


def raw_outputs(calls: tuple[Call, ...], outputs: int, notes: tuple[str, ...]) -> int:
    """Channels of the head: one for a binary classifier, those of the last linear layer where there are no scores."""
    if any(note.startswith("One logit") for note in notes):
        return 1
    return outputs or next((c.shape[-1] for c in reversed(calls) if c.leaf and c.kind == "Linear" and c.shape), 0)


def shape_of(preprocess: Preprocess | Opaque, given: Callable[[Preprocess | Opaque], Shape] | Shape | None) -> tuple[int, ...]:
    """(C,H,W) of the model's input: by the preprocessing, else as given."""
    size = preprocess.geometry.size if preprocess.invertible else None
    if size is not None:
        return (preprocess.channels, *size)
    if given is None:
        raise TargetError("the preprocessing fixes no size; give --resize HxW or --crop, or input_shape=(C,H,W)")
    return tuple(given(preprocess) if callable(given) else given)


def inspect_model(model: nn.Module, images: Tensor, task: str) -> tuple[tuple[Call, ...], int, nn.Module, tuple[str, ...]]:
    """(calls, K, module that gives scores, notes) of one batch."""
    try:
        calls, _ = trace(model, images)
    except Exception as error:
        raise ContractError(
            f"the model fails on a batch {tuple(images.shape)}: {type(error).__name__}: {line(error)}; "
            "check --resize, --crop and the number of channels"
        ) from error
    if task == "features":
        return calls, 0, model, ()
    outputs, where, notes = contract.check(model, images)
    module = contract.Scores(model) if where else model
    with torch.no_grad():
        first, again = module(images), module(images)
    if not torch.allclose(first.float(), again.float(), rtol=1e-3, atol=1e-5):
        notes = (*notes, contract.RANDOM)
    return calls, outputs, module, notes
