"""[gate]: the rules that a release must hold, and the waivers that let one through for a while."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from auditor.config.moved import today_of
from auditor.config.presets import PRESETS
from auditor.config.strict import Finite, Strict

WAIVER_DAYS = 30
"""How long a waiver holds where it does not say."""
BOUNDS = ("at_least", "at_most", "no_worse_than_baseline_by")
Text = Annotated[str, Field(min_length=1)]


class Rule(Strict):
    """One of [[gate.rules]]: a figure and the line it must hold."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in BOUNDS]})

    measure: str = Field(pattern=r"^[^.\s]+\.[^.\s]+(\..+)?$", description="probe.measure, or probe.measure.scope")
    at_least: Finite | None = None
    at_most: Finite | None = None
    no_worse_than_baseline_by: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """The loss against the baseline that is still accepted, in the measure's unit."""
    level: Literal["fail", "warn"] = "fail"
    scope: Text | None = None
    """A class, a layer: the figure's part behind its second dot."""
    slice: str | None = Field(default=None, pattern=r"^[^=]+(=.*)?$", description="a column of the manifest, or column=value")
    """Images that the rule is on. Without `=value` it is a rule on many: one figure a value of the column."""
    on_inconclusive: Literal["inconclusive", "pass", "fail"] = "inconclusive"
    require_proof: bool = False
    """Of a rule on many classes or slices: one that is undecided is inconclusive, too."""

    @model_validator(mode="after")
    def one_line(self) -> Self:
        """Exactly one bound, and one scope at most."""
        if sum(getattr(self, name) is not None for name in BOUNDS) != 1:
            raise ValueError(f"expected exactly one of {', '.join(BOUNDS[:-1])} and {BOUNDS[-1]}")
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
    def kind(self) -> str:
        """Which bound it has: at_least, at_most or no_worse_than_baseline_by."""
        return next(name for name in BOUNDS if getattr(self, name) is not None)

    @property
    def line(self) -> float:
        """The bound as it was typed."""
        return float(getattr(self, self.kind))

    @property
    def paired(self) -> bool:
        """Against the baseline."""
        return self.no_worse_than_baseline_by is not None

    @property
    def place(self) -> tuple[str, str, str, str, bool]:
        """What it is about: two rules at one place speak of the same figure."""
        probe, name = today_of(f"{self.probe}.{self.name}").split(".")
        return probe, name, self.part, self.slice or "", self.paired


class Waiver(Strict):
    """One of [[gate.waivers]]: who lets which failing figure through, why, and until when."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["expires"]}, {"required": ["granted"]}]})

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="letters, digits, - and _")
    measure: str = Field(pattern=r"^[^.\s]+\.[^.\s]+(\..+)?$", description="probe.measure, or probe.measure.scope")
    scope: Text | None = None
    slice: str | None = Field(default=None, pattern=r"^[^=]+=.*$", description="column=value")
    weights: str | None = Field(default=None, pattern=r"^[0-9a-f]{8,64}$", description="8 to 64 hexadecimal digits")
    """Of which model: the first digits of the weights' digest, as the report shows it. Any model without it."""
    owner: Text
    reason: Text
    granted: date | None = None
    expires: date | None = None
    """The last day on which it holds."""
    bound: Finite | None = None
    """The figure's value beyond which the waiver does not reach."""

    @field_validator("granted", "expires", mode="before")
    @classmethod
    def a_day(cls, value: object) -> object:
        """A TOML date, or the same as text."""
        if isinstance(value, str):
            try:
                return date.fromisoformat(value)
            except ValueError:
                value = f"{value!r}"
        if value is None or type(value) is date:
            return value
        raise ValueError(f"expected a day such as 2026-08-31, got {value}")

    @model_validator(mode="after")
    def it_ends(self) -> Self:
        """A waiver without an end is none."""
        if self.expires is None and self.granted is None:
            raise ValueError(f"expected expires, or granted (it then holds {WAIVER_DAYS} days); a waiver without an end is none")
        if self.scope is not None and self.measure.count(".") > 1:
            raise ValueError(f"the scope stands twice, in measure = {self.measure!r} and in scope = {self.scope!r}; give it once")
        return self

    @property
    def last_day(self) -> date:
        """The day after which it is expired."""
        if self.expires is not None:
            return self.expires
        assert self.granted is not None, "it_ends holds"
        return self.granted + timedelta(days=WAIVER_DAYS)

    @property
    def covers(self) -> str:
        """The id of the outcome that it speaks of."""
        return outcome_id(*(f"{self.measure}.{self.scope}" if self.scope else self.measure).split(".", 2), of=self.slice or "")


def outcome_id(*parts: str, of: str = "") -> str:
    """`performance.recall.cat[mark=clean]`: probe, measure, scope, slice."""
    return ".".join(part for part in parts if part) + (f"[{of}]" if of else "")


class GateSettings(Strict):
    """[gate]: what a release must hold. Part of no digest but its own: an audit can be judged again under another."""

    preset: Annotated[str, Field(description=f"one of {', '.join(PRESETS)}")] | None = None
    """Rules to start from; a rule of one's own on the same figure takes the place of the preset's."""
    rules: list[Rule] = Field(default=[])
    waivers: list[Waiver] = Field(default=[])
    baseline: Text | None = None
    """File or URL of the baseline that `auditor baseline set` wrote; `#sha256=...` behind it pins its content."""
    on_missing_baseline: Literal["inconclusive", "warn", "fail"] = "inconclusive"
    """What a rule against the baseline says where there is none yet: "warn" for the first pull request."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of each one-sided bound."""
    decide: Literal["bounds", "point"] = "bounds"
    coverage: Annotated[float, Field(ge=0, le=1)] = 0.99
    """Least share of the listed images that were used."""

    @field_validator("preset")
    @classmethod
    def known_preset(cls, value: str | None) -> str | None:
        """A preset is named with its version."""
        if value is not None and value not in PRESETS:
            raise ValueError(f"expected one of {', '.join(PRESETS)}, got {value!r}")
        return value

    @model_validator(mode="after")
    def nothing_twice(self) -> Self:
        """Two rules of one figure differ in their line or level; waivers in their id."""
        again = first_repeated(repr((rule.place, rule.kind, rule.line, rule.level)) for rule in self.rules)
        if again is not None:
            raise ValueError(f"two rules on {self.rules[again].measure} are the same; remove one")
        again = first_repeated(waiver.id for waiver in self.waivers)
        if again is not None:
            raise ValueError(f"two waivers have the id {self.waivers[again].id!r}; give each its own")
        return self

    @property
    def digest(self) -> str:
        """sha256 of the policy, its waivers included."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    @property
    def all_rules(self) -> tuple[Rule, ...]:
        """One's own, then those of the preset that no rule of one's own takes the place of."""
        own = {rule.place for rule in self.rules}
        given = [Rule.model_validate(rule) for rule in PRESETS[self.preset]] if self.preset else []
        return (*self.rules, *(rule for rule in given if rule.place not in own))


def first_repeated(keys: Iterable[str]) -> int | None:
    """The place of the first key that was there before."""
    seen: set[str] = set()
    for place, key in enumerate(keys):
        if key in seen:
            return place
        seen.add(key)
    return None
