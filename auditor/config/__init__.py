"""audit.toml -> settings. An unknown key, a wrong type or a missing file is a ConfigError of one line."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from auditor.config.words import in_words, shown
from auditor.errors import ConfigError
from auditor.types import Json

Finite = Annotated[float, Field(allow_inf_nan=False)]
Side = Annotated[int, Field(gt=0)]
Sides = Annotated[list[Side], Field(min_length=2, max_length=2)]
Channels = Annotated[list[Finite], Field(min_length=1, max_length=3)]

RELEASE = re.compile(r"\d+(?:\.\d+)*")
CLAUSE = re.compile(r"\s*(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)\s*")


class Strict(BaseModel):
    """No key but its own, no type but the one that is asked for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TargetSettings(Strict):
    """[target]: the model, as the options of `run` give it."""

    model: str | None = None
    weights: str | None = None
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
    depth16: str | None = Field(default=None, pattern=r"^(full|minmax|max=[1-9][0-9]*)$", description="full, minmax or max=N")


class Rule(Strict):
    """One of [[gate.rules]]: a figure and the line it must hold."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["at_least"]}, {"required": ["at_most"]}]})

    measure: str = Field(pattern=r"^[^.\s]+\.[^.\s]+(\..+)?$", description="probe.measure, or probe.measure.scope")
    at_least: Finite | None = None
    at_most: Finite | None = None
    level: Literal["fail", "warn"] = "fail"
    scope: Annotated[str, Field(min_length=1)] | None = None
    """A class, a layer: the figure's part behind its second dot."""
    on_inconclusive: Literal["inconclusive", "pass", "fail"] = "inconclusive"

    @model_validator(mode="after")
    def one_line(self) -> Self:
        """Exactly one bound, and one scope at most."""
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("expected exactly one of at_least and at_most")
        if self.scope is not None and self.measure.count(".") > 1:
            raise ValueError(f"the scope stands twice, in measure = {self.measure!r} and in scope = {self.scope!r}; give it once")
        return self

    @property
    def probe(self) -> str:
        """`performance` of `performance.top1`."""
        return self.measure.split(".", 2)[0]

    @property
    def name(self) -> str:
        """`top1` of `performance.top1`."""
        return self.measure.split(".", 2)[1]

    @property
    def part(self) -> str:
        """The scope, wherever it was given; "" without one."""
        parts = self.measure.split(".", 2)
        return self.scope or (parts[2] if len(parts) > 2 else "")

    @property
    def line(self) -> float:
        """The bound."""
        line = self.at_least if self.at_least is not None else self.at_most
        assert line is not None, "one_line holds"
        return line


class GateSettings(Strict):
    """[gate]: what a release must hold. Part of no digest but its own: an audit can be judged again under another."""

    rules: list[Rule] = []
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of each one-sided bound."""
    decide: Literal["bounds", "point"] = "bounds"
    coverage: Annotated[float, Field(ge=0, le=1)] = 0.99
    """Least share of the listed images that were used."""

    @model_validator(mode="after")
    def no_rule_twice(self) -> Self:
        """Two rules of one figure differ in their line or level."""
        seen: set[str] = set()
        for rule in self.rules:
            same = repr((rule.probe, rule.name, rule.part, rule.at_least, rule.at_most, rule.level))
            if same in seen:
                raise ValueError(f"two rules on {rule.measure} are the same; remove one")
            seen.add(same)
        return self

    @property
    def digest(self) -> str:
        """sha256 of the policy."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


class ReportSettings(Strict):
    """[report]."""


class Settings(Strict):
    """audit.toml."""

    model_config = ConfigDict(title="audit.toml")

    requires: Annotated[str, Field(description="versions of auditor that this file is for, such as >=0.1,<1")] | None = None
    target: TargetSettings = TargetSettings()
    data: DataSettings = DataSettings()
    probes: dict[str, dict[str, Any]] = {}
    """Probe id -> its parameters."""
    profiles: dict[str, dict[str, dict[str, Any]]] = {}
    """Name -> probe id -> parameters."""
    gate: GateSettings = GateSettings()
    report: ReportSettings = ReportSettings()


def load_config(source: str | Path | Mapping[str, Any]) -> Settings:
    """Settings of a file, or of the same content as a mapping.

    Raises ConfigError: no such file, no valid TOML, an unknown key, a wrong type, or a version of auditor that it is not for.
    """
    where = "the configuration" if isinstance(source, Mapping) else str(source)
    data = jsonable(source) if isinstance(source, Mapping) else read_toml(Path(source))
    check_version(data.get("requires"), where)
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{where}: {in_words(error, Settings)}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """The file's content."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}; `auditor init {path}` writes one") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}; correct that line") from error


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
