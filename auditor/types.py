"""The records that flow from a probe to an audit, a gate and a page. Frozen, without logic, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION = 1

Json: TypeAlias = Any
Array: TypeAlias = NDArray[Any]
Direction: TypeAlias = Literal["higher", "lower", "none"]
Kind: TypeAlias = Literal["proportion", "statistic", "exact"]
Status: TypeAlias = Literal["done", "not_applicable", "failed", "skipped"]
FigureKind: TypeAlias = Literal[
    "table", "bars", "lines", "heatmap", "histogram", "scatter", "gallery", "sheet", "pages", "note"
]  # fmt: skip

CHAPTERS = (
    "performance", "calibration", "diagnoses", "filters", "activations", "patches", "occlusion", "saliency", "guided_backprop",
    "sanity", "neighbours", "embedding", "visualisation", "facets", "generator", "deepdream", "inversion", "texture", "style",
    "shape_bias", "adversarial", "corruptions",
)  # fmt: skip
"""The sections in the order of the report; a probe that is not named here comes after those that are, by its id."""


@dataclass(frozen=True)
class Measure:
    """One figure that a probe promises: its name has no dot, a scope follows the first dot (`psnr.layer3`)."""

    name: str
    title: str
    unit: str
    """"share", "images", "dB", "nats", "iterations", "correlation": what one means; "" for a pure number."""
    direction: Direction
    meaning: str
    """One plain sentence for the reader of the report."""
    revision: int = 1
    """Raised when the meaning changes; a baseline from another revision is inconclusive."""


@dataclass(frozen=True)
class Value:
    """A measured figure with all that a gate needs to bound it itself.

    kind "proportion": `k` of `n`, bounded exactly (Clopper-Pearson 1934).
    kind "statistic": the function named `statistic` (see `auditor.bounds`) of the per-sample `columns`, bounded by bootstrap.
    kind "exact": a property of the weights or of a fixed computation; without sampling error.
    `low` and `high` are the two-sided 90 % interval, so each is a one-sided 95 % bound.
    """

    value: float | None
    kind: Kind
    unit: str
    n: int | None = None
    k: int | None = None
    low: float | None = None
    high: float | None = None
    statistic: str | None = None
    columns: tuple[str, ...] = ()
    seed: int | None = None
    flags: tuple[str, ...] = ()
    """Why this figure may not be trusted or is approximate: shown beside it; a flag that starts with "void:" never passes."""


@dataclass(frozen=True)
class Figure:
    """One thing shown. `data` is small JSON (no array above 1,000 numbers); larger things are artifacts, named in `data` by file.

    The keys of `data` by kind are described in docs/figures.md and drawn by `auditor.report`.
    """

    name: str
    kind: FigureKind
    title: str
    caption: str = ""
    """What is shown of what, and how it was scaled."""
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Stamp:
    """A verdict of one probe on the section of another (sanity on saliency)."""

    about: str
    """A section, or `method.NAME`: an attribution method, wherever a gallery's `keys` say that its maps are shown."""
    verdict: str
    why: str


@dataclass(frozen=True)
class Finding:
    """What a probe concludes."""

    status: Status
    reason: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences for the reader: what stands out in this model, with its figures."""
    stamps: tuple[Stamp, ...] = ()
    artifacts: Mapping[str, Array] = field(default_factory=dict)
    """File name within the section -> array. `.png` and `.jpg`: uint8 (H,W), (H,W,1) or (H,W,3). `.npy`: any numbers."""
    columns: Mapping[str, Array] = field(default_factory=dict)
    """Column of predictions.parquet -> (N,), one entry a sample, NaN where the sample was not looked at."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """What the clock measured, in words -> its figure: for run.json and the page. audit.json holds nothing of the clock."""
    traceback: str = ""


@dataclass(frozen=True)
class About:
    """A probe in words, from its docstring."""

    asks: str = ""
    formula: str = ""
    read: str = ""
    misleads: str = ""


@dataclass(frozen=True)
class Section:
    """A Finding in an audit, with what its reader needs to know of its probe. Artifacts are files by now."""

    id: str
    title: str
    status: Status
    reason: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    stamps: tuple[Stamp, ...] = ()
    parameters: Mapping[str, Json] = field(default_factory=dict)
    only_shown: tuple[str, ...] = ()
    """Parameters that alter what is shown and no figure: audits that differ in these alone can be compared."""
    about: About = About()
    cites: tuple[str, ...] = ()
    cost: Mapping[str, float] = field(default_factory=dict)
    """Work, not time: "forwards" and "gradients", in images through the whole network."""
    traceback: str = ""

    def __getitem__(self, measure: str) -> Value:
        return self.values[measure]


@dataclass(frozen=True)
class AuditRecord:
    """Everything the report shows and the gate judges; `auditor.store` writes it to and reads it from a folder."""

    schema_version: int
    name: str
    provenance: Mapping[str, Json]
    """model {source, digest, parameters, task, classes...}, preprocess, versions, plan digest."""
    dataset: Mapping[str, Json]
    """The ledger: listed, ok, normalised, quarantined, coverage, entries, classes, label_rule, notes; `train`: that of the
    training set, where one was given."""
    plan: Mapping[str, Json]
    catalogue: Mapping[str, tuple[Measure, ...]]
    """Probe id -> the measures it promises."""
    sections: Mapping[str, Section]
    files: Mapping[str, str] = field(default_factory=dict)
    """Path within the folder -> sha256."""

    def __getitem__(self, probe: str) -> Section:
        return self.sections[probe]


@dataclass(frozen=True)
class Outcome:
    """One rule on one figure, judged."""

    id: str
    """`performance.top1` or `inversion.psnr.blocks.2`: probe, measure, scope."""
    verdict: Literal["pass", "fail", "warn", "inconclusive", "incomplete", "waived", "undecided"]
    """`undecided`: one of many classes or slices of which nothing is shown; it is listed and changes no code."""
    sentence: str
    """One sentence with value, interval, n and bound."""
    rule: Mapping[str, Json]
    value: float | None = None
    low: float | None = None
    high: float | None = None
    """The one-sided bounds by which it was decided; of a rule against the baseline: those of the difference."""
    n: int | None = None
    needed: int | None = None
    """Samples that would decide an inconclusive rule, where that can be said."""
    samples: tuple[int, ...] = ()
    """Indices of the images behind it, worst first; of a rule against the baseline: every image that is newly wrong."""
    names: tuple[str, ...] = ()
    """Of those images."""
    unit: str = ""
    least: bool | None = None
    """The figure must be at least its line; at most where False; None where there is no line."""
    usable: bool = True
    """False where no figure is there that could pass: void, not finite, without bounds, or without a baseline."""
    number: int | None = None
    """Which rule of the policy, from 0; None for what holds without a rule."""
    many: int = 1
    """Figures that the rule is on: its error is held over all of them (Holm 1979)."""
    groups: int | None = None
    """Groups that the n images belong to, where they are not taken as independent."""
    baseline: Mapping[str, Json] = field(default_factory=dict)
    """value (the baseline's on the same images), difference, line, pairs, broken, fixed, p (McNemar's) and newly_right."""
    tells: Mapping[str, Json] = field(default_factory=dict)
    """What so many samples can tell apart: see auditor.bounds.power."""
    waiver: str = ""
    """The id of the waiver that lets it through."""


@dataclass(frozen=True)
class Verdict:
    """The gate's answer; gate.json is this record."""

    verdict: Literal["pass", "warn", "fail", "incomplete", "inconclusive", "not_gated"]
    exit_code: int
    why: str
    outcomes: tuple[Outcome, ...] = ()
    policy: Mapping[str, Json] = field(default_factory=dict)
    policy_digest: str = ""
    waivers: tuple[Mapping[str, Json], ...] = ()
    """Every waiver of the policy with its state: used, unused or expired."""
    baseline: Mapping[str, Json] = field(default_factory=dict)
    """What it was compared with: name, date, digests, overlap, drift since the first baseline, and why it could not be used."""
    group: str = ""
    """The column by which images were taken together; "" where they are taken as independent."""
    today: str = ""
    """The day it was judged, where waivers made that matter."""
    source: Mapping[str, Json] = field(default_factory=dict)
    """Where the policy stands: path, and the lines of its rules and waivers; and `hub`, the benchmark that [report] names."""


@dataclass(frozen=True)
class Baseline:
    """What an audit is compared with: the figures and the answers of an earlier one, image by image."""

    name: str
    made: str
    """The day it was set."""
    model: Mapping[str, Json]
    """source and digest of its model, names of its classes, task, seed."""
    revisions: Mapping[str, int]
    """`probe.measure` -> revision."""
    parameters: Mapping[str, Mapping[str, Json]]
    """Probe id -> its parameters."""
    values: Mapping[str, Value]
    """`probe.measure[.scope]` -> figure."""
    columns: Mapping[str, Array]
    """As in predictions.parquet, (N,) each: key, name, label, predicted, and what the figures rest on."""
    first: Mapping[str, Json] = field(default_factory=dict)
    """name, made and values of the first baseline of all: what it has drifted from. Empty in the first one itself."""
    source: str = ""
    """File or URL it was read from."""
    digest: str = ""
    """sha256 of that file."""


VERDICTS: Mapping[str, str] = {
    "pass": "Pass",
    "warn": "Pass, with warnings",
    "fail": "Fail",
    "incomplete": "Incomplete",
    "inconclusive": "Inconclusive",
    "not_gated": "Not gated",
    "waived": "Waived",
    "undecided": "Undecided",
}
"""A verdict, of a rule or of the whole, as a reader sees it."""


METHOD_TITLES: Mapping[str, str] = {
    "saliency": "saliency",
    "gradient_x_input": "gradient x input",
    "integrated_gradients": "integrated gradients",
    "smoothgrad": "SmoothGrad",
    "guided_backprop": "guided backprop",
    "deconvnet": "deconvnet",
    "gradcam": "Grad-CAM",
    "occlusion": "occlusion",
}
"""The attribution methods, as a reader sees them."""


def is_finite(value: float | None) -> bool:
    """True for a real, finite number: what is not one never passes a rule."""
    return value is not None and bool(np.isfinite(value))
