"""`auditor init`: a commented audit.toml."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from auditor.errors import ConfigError
from auditor.store import read_audit, write_bytes
from auditor.types import AuditRecord, Measure, Section, Value

DEFAULT = """\
# What `auditor run` audits, and what `auditor check` asks of it. Options of the command line stand over what is written here.
# A key that is not known is an error; docs/audit.schema.json lists them all.

# requires = ">=0.1"                  # versions of auditor that this file is for

[target]
# model = "torchvision:resnet50"      # or timm:NAME, hf:NAME, package.module:factory, file.py:factory, demo:NAME
# weights = "model.safetensors"
# second_model = "timm:resnet18"      # another model of the same classes, to be shown what is made for the first
# generator = "generator.py:make"     # features of the model to images, in the place of one trained on the data
# model_args = { width = 2 }          # for a factory
# preprocess = "imagenet"             # or, where the model does not bring one, in units where pixels are 0 to 1:
# mean = [0.485, 0.456, 0.406]
# std = [0.229, 0.224, 0.225]
# resize = 256                        # short side, or [height, width]
# crop = 224
# interpolation = "bilinear"
# classes = "classes.txt"             # names in the order of the logits, one a line
# task = "classification"             # or "features": the label-free probes only
# device = "auto"

[data]
# path = "photos/val"                 # a folder of class folders, manifest.csv, images.npz, loose images, or a factory
# train = "photos/train"              # what the model was trained on: `neighbours` looks for leaks into the data
# label_map = "labels.csv"            # label of the data -> class of the model
# depth16 = "full"                    # 16-bit images: full, minmax or max=N
# group = "patient_id"                # column of the manifest: images of one entry belong together, n and intervals go by it

# [probes.occlusion]                  # parameters of a probe: `auditor probes explain occlusion` names them
# images = 32

# [probes.shape_bias]                 # pictures whose shape and texture disagree: SHAPE/SHAPEn-TEXTUREm.jpg
# cues = "cue-conflict"
# categories = "categories.json"      # category -> class indices or names, where the categories are no classes of the model

# [profiles.nightly.adversarial]      # your own profile: `auditor run --profile nightly`
# images = 500

[gate]
confidence = 0.95                     # of each one-sided bound
decide = "bounds"                     # "point" compares the values themselves, and the report says so
coverage = 0.99                       # least share of the listed images that could be used
# preset = "standard@1"               # rules to start from: hygiene, and no worse than the baseline
# baseline = "baseline.parquet"       # `auditor baseline set AUDIT` writes it; a URL will do as well
# on_missing_baseline = "inconclusive"  # or "warn" for the first pull request, or "fail"

# A rule passes when the one-sided bound of the figure is on the right side of the line, fails when the other bound is on the
# wrong side, and is inconclusive in between (exit code 4). Take the # away, and set lines that your release must hold.
# [[gate.rules]]
# measure = "performance.top1"        # probe.measure, or probe.measure.scope
# at_least = 0.80                     # or at_most, or no_worse_than_baseline_by
# slice = "site=north"                # these images alone; "site" is a rule on each site, as performance.recall is on each class
# level = "fail"                      # or "warn": told, and exit code 0
# on_inconclusive = "inconclusive"    # or "pass", "fail"
"""


def write_config(path: Path, *, force: bool, source: Path | None = None) -> Path:
    """Write the commented default to `path`, or rules that the audit `source` holds; an existing file is kept unless `force`."""
    if path.exists() and not force:
        raise ConfigError(f"{path} exists and was kept; give another name, or --force to replace it")
    write_bytes(path, (DEFAULT if source is None else proposed(source)).encode())
    return path


def proposed(folder: Path) -> str:
    """The default with rules that an equal model would hold in 95 of 100 audits of other images like these."""
    record = read_audit(folder)
    model = record.provenance.get("model")
    spec = model.get("source") if isinstance(model, Mapping) else None
    head = DEFAULT[: DEFAULT.index("# [[gate.rules]]")]
    if isinstance(spec, str) and spec:
        head = head.replace(
            '# model = "torchvision:resnet50"      #', f"# model = {json.dumps(spec)}  # the accepted audit's;", 1
        )
    rules = [text for probe, section in record.sections.items() for text in proposals(record, probe, section)]
    said = f"# From the audit {record.name}: lines that an equal model holds in 95 of 100 audits. Read each before you keep it.\n"
    against = "".join(AGAINST.format(measure=m, margin=margin) for m, margin in BASELINES if has(record, m))
    return head + said + "\n".join(rules) + ("\n" + ONCE + against if against else "")


def has(record: AuditRecord, measure: str) -> bool:
    """The audit holds this figure, or one a class of it."""
    probe, _, name = measure.partition(".")
    section = record.sections.get(probe)
    return section is not None and any(key.partition(".")[0] == name for key in section.values)


def proposals(record: AuditRecord, probe: str, section: Section) -> Iterator[str]:
    """Rules on the figures of a section that point somewhere: those without a scope, and one for all classes."""
    measures = {measure.name: measure for measure in record.catalogue.get(probe, ())}
    for key, value in section.values.items():
        measure = measures.get(key)
        if measure is None or measure.direction == "none" or any(flag.startswith("void:") for flag in value.flags):
            continue
        line = line_for(value, higher=measure.direction == "higher")
        if line is not None:
            yield rule_text(f"{probe}.{key}", measure, line, value)
    recalls = [value for key, value in section.values.items() if probe == "performance" and key.startswith("recall.")]
    lines = [line for value in recalls if (line := line_for(value, higher=True)) is not None]
    if len(lines) == len(recalls) > 0:
        yield rule_text("performance.recall", measures["recall"], min(lines), None)


def line_for(value: Value, *, higher: bool) -> float | None:
    """The figure less twice the way to its bound, rounded away from it: so that the bound of another sample still clears it.

    A figure without sampling error gets a twentieth of room. None where nothing can be asked.
    """
    if value.value is None:
        return None
    end = value.low if higher else value.high
    if value.kind == "exact":
        room = max(0.05 * abs(value.value), 0.005)
        end = value.value - room / 2 if higher else value.value + room / 2
    if end is None:
        return None
    line = value.value - 2 * (value.value - end)
    scale = 10 ** (2 if value.unit in ("share", "probability") or abs(line) < 1 else 1 if abs(line) < 100 else 0)
    line = math.floor(line * scale) / scale if higher else math.ceil(line * scale) / scale
    return min(max(line, 0.0), 1.0) if value.unit in ("share", "probability") else line


def rule_text(id: str, measure: Measure, line: float, value: Value | None) -> str:
    """One rule of audit.toml, with the figure it was made from."""
    side = "at_least" if measure.direction == "higher" else "at_most"
    was = f"of each class: {measure.meaning}" if value is None else f"{measure.title}: {value.value:.4g} in that audit"
    return f"\n[[gate.rules]]\nmeasure = {json.dumps(id)}\n{side} = {line!r}  # {' '.join(was.split())}\n"


BASELINES = (("performance.top1", 0.01), ("performance.recall", 0.05))
ONCE = """
# Against a baseline (`auditor baseline set AUDIT` makes one): what is lost on the same images.
# baseline = "baseline.parquet"       # under [gate]
# on_missing_baseline = "warn"        # for the first pull request
"""
AGAINST = """
# [[gate.rules]]
# measure = "{measure}"
# no_worse_than_baseline_by = {margin}
"""
