"""A user's own model: a factory in a package or a file; and the demo's models."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from auditor.errors import AuditError, TargetError
from auditor.preprocess import Opaque, Preprocess, from_transform
from auditor.target.built import Built, Preparation, inferred, own_words
from auditor.target.weights import Weights, load_into


@contextlib.contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Modules of a folder can be imported within."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def load_module(module: str, option: str = "--model") -> ModuleType:
    """A module by its dotted name (the current folder included) or by the path of its file; errors name the `option`."""
    path = Path(module)
    if path.suffix != ".py":
        with importable(Path.cwd()):
            return importlib.import_module(module)
    if not path.is_file():
        raise TargetError(f"{option} {module}:...: the file {path} does not exist; check the path")
    name = f"auditor_user_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"{option} {module}:...: {path} is no Python file; check the path")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded  # dataclasses and pickle look a class's module up by its name
    with importable(path.resolve().parent):
        spec.loader.exec_module(loaded)
    return loaded


def from_factory(module: str, name: str, weights: Weights | None, args: Mapping[str, Any]) -> Built:
    """What `module:name` returns: a model, or (model, preprocessing), or (model, preprocessing, class names).

    The preprocessing and the class names may also be the model's attributes `preprocess` and `classes`.
    """
    spec = f"{module}:{name}"
    try:
        factory = getattr(load_module(module), name, None)
        if not callable(factory):
            raise TargetError(
                f"--model {spec}: {module} has no factory {name!r}; name a function or class that returns the model"
            )
        made = factory(**args)
        found = read_product(made, spec)
        notes: tuple[str, ...] = ()
        if weights is not None:
            count = inferred(found.model, weights) if "num_classes" not in args else None
            if count is not None and accepts(factory, "num_classes"):
                found = read_product(factory(**{**args, "num_classes": count}), spec)
                notes = (f"{count} classes, by the head in the weights.",)
            notes += load_into(found.model, weights)
    except AuditError:
        raise
    except Exception as error:
        raise own_words(spec, error, "correct the factory or its --model-arg") from error
    return Built(found.model, found.preprocess, found.classes, notes)


def accepts(factory: Any, name: str) -> bool:
    """Whether a callable takes this keyword."""
    import inspect

    try:
        return name in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False


def read_product(made: Any, spec: str) -> Built:
    """The model, preprocessing and names in what a factory returned."""
    parts = made if isinstance(made, tuple) else (made,)
    if not parts or not isinstance(parts[0], nn.Module):
        raise TargetError(
            f"--model {spec}: expected a torch.nn.Module, or (model, preprocessing[, class names]); got {type(made).__name__}"
        )
    given = parts[1] if len(parts) > 1 else getattr(parts[0], "preprocess", None)
    names = parts[2] if len(parts) > 2 else getattr(parts[0], "classes", None)
    classes = tuple(map(str, names)) if isinstance(names, list | tuple) and names else None
    return Built(parts[0], as_preparation(given), classes)


def as_preparation(given: Any) -> Preparation | None:
    """A Preprocess as it is, a torchvision transform translated, another function of an image as an opaque one."""
    if given is None or isinstance(given, Preprocess | Opaque):
        return given
    plain_function = callable(given) and not isinstance(given, nn.Module)
    return from_transform(given) if plain_function or hasattr(given, "mean") else None


def from_demo(rest: str, weights: Weights | None, args: Mapping[str, Any]) -> Built:
    """The embedded models."""
    from auditor.demo.models import build

    if args:
        raise TargetError(f"--model demo:{rest} takes no --model-arg; got {', '.join(args)}")
    model, preprocess, classes = build(rest)
    notes = () if weights is None else load_into(model, weights)
    return Built(model, preprocess, classes, notes)
