"""What `run` and `plan` were asked: the command's options over those of audit.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auditor.config import Settings, load_config
from auditor.errors import ConfigError
from auditor.planning import Wish
from auditor.preprocess import Geometry, Preprocess


@dataclass(frozen=True)
class Request:
    """The options of `run` and `plan`, as typed."""

    model: str | None = None
    second_model: str | None = None
    generator: str | None = None
    data: str | None = None
    train: str | None = None
    config: Path | None = None
    weights: Path | None = None
    model_arg: list[str] | None = None
    probes: str | None = None
    profile: str = "standard"
    device: str = "auto"
    task: str | None = None
    out: Path | None = None
    work: Path | None = None
    classes: Path | None = None
    label_map: Path | None = None
    preprocess: str | None = None
    mean: str | None = None
    std: str | None = None
    resize: str | None = None
    crop: str | None = None
    interpolation: str = "bilinear"
    depth16: str = "full"
    seed: int = 0
    batch: int | None = None
    plan: Path | None = None
    budget: str | None = None
    save: Path | None = None
    engine: str = "local"
    workers: int | None = None
    keep_features: bool = False
    tune: bool = False
    precision: str | None = None
    settings: Settings | None = field(default=None)


def numbers(text: str, option: str) -> tuple[float, ...]:
    """`0.5,0.5,0.5` as floats."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{option}: expected comma-separated numbers such as 0.485,0.456,0.406, got {text!r}") from error


def size(text: str, option: str) -> tuple[int, ...]:
    """`256` or `224x192` (height x width) as whole numbers."""
    try:
        sides = tuple(int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise ConfigError(f"{option}: expected a side such as 224, or HxW such as 224x192, got {text!r}") from error
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise ConfigError(f"{option}: expected a side such as 224, or HxW such as 224x192, got {text!r}")
    return sides


def given_preprocess(request: Request) -> Preprocess | None:
    """The preprocessing that the options spell out, None where they do not."""
    if request.preprocess is not None:
        if request.preprocess != "imagenet":
            raise ConfigError(
                f"--preprocess: expected imagenet, got {request.preprocess!r}; spell others out with --mean --std --resize --crop"
            )
        return Preprocess.imagenet()
    if request.mean is None and request.std is None:
        if request.resize or request.crop:
            raise ConfigError("--resize and --crop need --mean and --std beside them: a normalisation is never assumed")
        return None
    if request.mean is None or request.std is None:
        raise ConfigError("--mean and --std go together; give both")
    mean, std = numbers(request.mean, "--mean"), numbers(request.std, "--std")
    if len(mean) != len(std) or len(mean) not in (1, 3) or min(std) <= 0:
        raise ConfigError(
            f"--mean and --std: expected 1 or 3 numbers each, std above 0, got {request.mean!r} and {request.std!r}"
        )
    resize = size(request.resize, "--resize") if request.resize else None
    crop = size(request.crop, "--crop") if request.crop else None
    geometry = Geometry(
        mode="RGB" if len(mean) == 3 else "L",
        resize=None if resize is None else resize[0] if len(resize) == 1 else (resize[0], resize[1]),
        crop=None if crop is None else (crop[0], crop[-1]),
        interpolation=request.interpolation,
    )
    return Preprocess(geometry=geometry, mean=mean, std=std)


def model_args(pairs: list[str] | None) -> dict[str, Any]:
    """`--model-arg width=2` as {"width": 2}: JSON where it parses, else text."""
    import json

    found: dict[str, Any] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"--model-arg: expected name=value, got {pair!r}")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def settings_of(request: Request) -> Settings:
    """audit.toml as asked for, the one in this folder, or an empty one."""
    if request.settings is not None:
        return request.settings
    if request.config is not None:
        return load_config(request.config)
    return load_config(Path("audit.toml")) if Path("audit.toml").exists() else load_config({})


def section(settings: Settings, name: str) -> dict[str, Any]:
    """The keys that audit.toml sets in one section."""
    part = getattr(settings, name)
    return part.model_dump(exclude_none=True, exclude_unset=True) if hasattr(part, "model_dump") else dict(part or {})


def merged(request: Request, settings: Settings) -> Request:
    """Options of the command line over those of [target] and [data]."""
    from dataclasses import fields, replace

    names = {f.name: f.default for f in fields(Request)}
    found: dict[str, Any] = {}
    for key, value in {**section(settings, "target"), **section(settings, "data")}.items():
        name = {"path": "data", "model_args": "model_arg", "label_map": "label_map"}.get(key, key)
        if name in names and getattr(request, name) == names[name]:
            found[name] = as_option(name, value)
    return replace(request, **found)


def as_option(name: str, value: Any) -> Any:
    """A value of audit.toml in the form of its option."""
    if name == "model_arg" and isinstance(value, Mapping):
        import json

        return [f"{key}={json.dumps(item)}" for key, item in value.items()]
    if name in ("mean", "std") and isinstance(value, list | tuple):
        return ",".join(str(v) for v in value)
    if name in ("resize", "crop") and value is not None:
        return "x".join(str(v) for v in value) if isinstance(value, list | tuple) else str(value)
    if name in ("weights", "classes", "label_map", "out", "work"):
        return Path(value)
    return value


def default_name(model: str) -> str:
    """A folder name from a model's spec."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(model).name).strip("-.") or "audit"


def wished(request: Request) -> Wish:
    """What is to be run."""
    names = None if request.probes is None else [part.strip() for part in request.probes.split(",") if part.strip()]
    return Wish(names, request.profile, request.seed, request.batch, request.plan, tune=request.tune, precision=request.precision)
