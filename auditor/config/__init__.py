"""audit.toml -> settings. An unknown key, a wrong type or a missing file is a ConfigError of one line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from auditor.config.gate import GateSettings, Rule, Waiver
from auditor.config.strict import Finite, Strict
from auditor.config.words import in_words, shown
from auditor.errors import ConfigError
from auditor.types import Json

__all__ = ["GateSettings", "Rule", "Settings", "Waiver", "json_schema", "load_config"]

Side = Annotated[int, Field(gt=0)]
Sides = Annotated[list[Side], Field(min_length=2, max_length=2)]
Channels = Annotated[list[Finite], Field(min_length=1, max_length=3)]

RELEASE = re.compile(r"\d+(?:\.\d+)*")
CLAUSE = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)\s*")


class TargetSettings(Strict):
    """[target]: the model, as the options of `run` give it."""

    model: str | None = None
    weights: str | None = None
    second_model: str | None = None
    generator: str | None = None
    model_args: dict[str, Any] | None = None
    task: Literal["classification", "features"] | None = None
    device: str | None = None
    preprocess: Literal["imagenet"] | None = None
    mean: Channels | None = None
    std: Channels | None = None
    resize: Side | Sides | None = None
    crop: Side | Sides | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] | None = None
    classes: str | None = None

    @field_validator("resize", "crop", mode="before")
    @classmethod
    def one_side_or_two(cls, value: object) -> object:
        """One message for either form."""
        sides = value if isinstance(value, list) and len(value) == 2 else [value]
        if value is not None and not all(type(side) is int and side > 0 for side in sides):
            raise ValueError(f"expected a side such as 224, or [height, width], got {shown(value)}")
        return value


class DataSettings(Strict):
    """[data]: the images and their labels."""

    path: str | None = None
    train: str | None = None
    label_map: str | None = None
    group: Annotated[str, Field(min_length=1)] | None = None
    """Column of the manifest whose equal entries belong together, such as a patient's: n and intervals are then by group."""
    depth16: str | None = Field(default=None, pattern=r"^(full|minmax|max=[1-9][0-9]*)$", description="full, minmax or max=N")


class ReportSettings(Strict):
    """[report]."""

    hub_dataset: str | None = Field(
        default=None, pattern=r"^[\w.-]+(/[\w.-]+)?$", description="owner/name of a data set on the Hub"
    )
    """The benchmark of the Hugging Face Hub that the data are of: the model card names it, `.eval_results` holds the accuracy."""
    hub_task: str | None = Field(default=None, pattern=r"^\S+$", description="the id of a task in the benchmark's eval.yaml")


class Settings(Strict):
    """audit.toml."""

    model_config = ConfigDict(title="audit.toml")

    requires: Annotated[str, Field(description="versions of auditor that this file is for, such as >=0.1,<1")] | None = None
    target: TargetSettings = TargetSettings()
    data: DataSettings = DataSettings()
    probes: dict[str, dict[str, Any]] = Field(default={})
    """Probe id -> its parameters."""
    profiles: dict[str, dict[str, dict[str, Any]]] = Field(default={})
    """Name -> probe id -> parameters."""
    gate: GateSettings = GateSettings()
    report: ReportSettings = ReportSettings()
    _text: str = PrivateAttr(default="")
    _path: str = PrivateAttr(default="")

    @property
    def source(self) -> tuple[str, str]:
        """(path as it was given, text) of the file; both empty where there was none."""
        return self._path, self._text


def load_config(source: str | Path | Mapping[str, Any]) -> Settings:
    """Settings of a file, or of the same content as a mapping.

    Raises ConfigError: no such file, no valid TOML, an unknown key, a wrong type, or a version of auditor that it is not for.
    """
    where = "the configuration" if isinstance(source, Mapping) else str(source)
    text = "" if isinstance(source, Mapping) else read_text(Path(source))
    data = jsonable(source) if isinstance(source, Mapping) else parsed(text, where)
    check_version(data.get("requires"), where)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{where}: {in_words(error, Settings)}") from error
    if text:
        settings._text, settings._path = text, where
    return settings


def parsed(text: str, where: str) -> dict[str, Any]:
    """TOML as a mapping."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not valid TOML: {error}; correct that line") from error


def read_text(path: Path) -> str:
    """The file's content."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}; `auditor init {path}` writes one") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from error


def jsonable(value: Any) -> Any:
    """A mapping as TOML would give it: tuples as lists, paths as text."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def check_version(requires: object, where: str) -> None:
    """Refuse a file that asks for another version of auditor; pre-release marks are not compared."""
    if not isinstance(requires, str):  # None, or a wrong type that the model refuses
        return
    version = str(import_module("auditor").__version__)  # by name: config stands below what the package's root names
    found = RELEASE.match(version)
    assert found, f"auditor's own version {version!r} starts with a number"
    for clause in requires.split(","):
        match = CLAUSE.fullmatch(clause)
        if not match:
            raise ConfigError(f'{where}: requires: expected versions such as ">=0.1,<1", got {requires!r}')
        sign, order = match.group(1), compare(found.group(), match.group(2))
        holds = {">=": order >= 0, "<=": order <= 0, "==": order == 0, "!=": order != 0, ">": order > 0, "<": order < 0}
        if not holds[sign]:
            raise ConfigError(f"{where} requires auditor {requires}, this is {version}; install one that fits, or edit requires")


def compare(one: str, other: str) -> int:
    """-1, 0 or 1 as the dotted number `one` is below, equal to or above `other`; 0.1 equals 0.1.0."""
    a, b = ([int(part) for part in text.split(".")] for text in (one, other))
    size = max(len(a), len(b))
    a, b = a + [0] * (size - len(a)), b + [0] * (size - len(b))
    return (a > b) - (a < b)


def json_schema() -> Json:
    """The published JSON Schema of audit.toml: docs/audit.schema.json."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
