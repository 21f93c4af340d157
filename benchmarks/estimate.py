"""What a plan says that an audit takes, beside what it took, on three models, each audit in a process of its own:

    python -m benchmarks.estimate --out DIR [--resnet20 ARCH.py WEIGHTS DATA] [--photographs MANIFEST]

Digits: the demo's, profile standard. EfficientNet-Lite0: the demo's, profile quick, on the demo's photographs, or on those of
--photographs. ResNet-20: --resnet20 names a file that defines `resnet20()` (He 2016, option A), its weights, and a folder of
CIFAR-10 pictures by class; profiles quick and standard. What was taken is CPU time of the stages, without reading and writing
files; the ratio is how far the estimate is off, as a share of what was taken. DIR/estimate.md has both for each probe.
--small: the digits alone, profile quick.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import ENVIRONMENT, Row, arguments, prepared, written

MOST = 0.3
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Case:
    """One audit."""

    name: str
    profile: str
    model: str
    data: str
    """A name of the demo's data, or a path."""
    weights: str = ""
    normalised: bool = False
    """Whether the preprocessing is that of ImageNet, without a resize."""


@dataclass(frozen=True)
class Found:
    """Seconds by stage."""

    estimate: Mapping[str, float]
    took: Mapping[str, float]

    def off(self) -> float:
        """Of the whole, as a share of what was taken."""
        took = sum(self.took.values())
        return abs(sum(self.estimate.values()) - took) / took


def audit(case: Case, folder: Path) -> None:
    """Run one in this process."""
    import auditor
    from auditor.demo import data
    from auditor.preprocess import Geometry

    prepared()
    source = str(data.build(case.data, folder / "data")) if case.data in ("digits", "photographs") else case.data
    given: dict[str, Any] = {"weights": case.weights} if case.weights else {}
    if case.normalised:
        given["preprocess"] = auditor.Preprocess(Geometry(), *IMAGENET)
    auditor.run(
        case.model, source, profile=case.profile, out=folder / "audit", work=folder / "work", device="cpu", estimate=True, **given
    )


def measured(case: Case) -> Found:
    """Run one in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.estimate", "--out", folder, "--one", json.dumps(case.__dict__)]
        environment = {**os.environ, **ENVIRONMENT}
        subprocess.run(command, check=True, env=environment)  # noqa: S603 - our own module
        run = json.loads((Path(folder) / "audit" / "run.json").read_text())
    took = {name: float(spent["cpu_seconds"]) for name, spent in run["spent"].items()}
    return Found({name: float(seconds) for name, seconds in run["estimate"].items()}, took)


def cases_of(given: argparse.Namespace) -> list[Case]:
    """What is to be run."""
    if given.small:
        return [Case("digits", "quick", "demo:digits", "digits")]
    found = [
        Case("digits", "standard", "demo:digits", "digits"),
        Case("EfficientNet-Lite0", "quick", "demo:efficientnet-lite0", given.photographs or "photographs"),
    ]
    if given.resnet20:
        file, weights, folder = given.resnet20
        found += [
            Case("ResNet-20", profile, f"{file}:resnet20", folder, weights, normalised=True) for profile in ("quick", "standard")
        ]
    return found


def told(case: Case, found: Found) -> str:
    """Markdown: both by stage, the dearest first."""
    lines = [
        f"## {case.name}, {case.profile}",
        "",
        "| stage | estimate, s | taken, s | estimate / taken |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in sorted(found.took, key=lambda name: -found.took[name]):
        due, took = found.estimate.get(name, 0.0), found.took[name]
        lines.append(
            f"| {name} | {due:.1f} | {took:.1f} | {due / took:.2f} |"
            if took >= 0.05
            else f"| {name} | {due:.1f} | {took:.1f} | - |"
        )
    due, took = sum(found.estimate.values()), sum(found.took.values())
    return "\n".join([*lines, f"| all | {due:.1f} | {took:.1f} | {due / took:.2f} |", ""])


def rows_of(cases: Sequence[Case], out: Path) -> list[Row]:
    """One row an audit."""
    rows: list[Row] = []
    texts: list[str] = []
    for case in cases:
        found = measured(case)
        took, due = sum(found.took.values()), sum(found.estimate.values())
        what = f"{case.name}, {case.profile}"
        rows.append(Row("estimate", what, took, "the plan's estimate", due, found.off(), f"<= {MOST:g}", found.off() <= MOST))
        texts.append(told(case, found))
        written(out, "estimate", rows)
        (out / "estimate.md").write_text("\n".join(texts))
    return rows


def main() -> int:
    """0 where every estimate is within MOST."""
    parser = arguments(__doc__)
    parser.add_argument("--resnet20", nargs=3, metavar=("ARCH.py", "WEIGHTS", "DATA"))
    parser.add_argument("--photographs", help="a manifest of photographs with ImageNet's classes")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        audit(Case(**json.loads(given.one)), given.out)
        return 0
    return int(not all(row.met for row in rows_of(cases_of(given), given.out)))


if __name__ == "__main__":
    sys.exit(main())
