"""Every stage of the benchmark in one run, and one table:

    python -m benchmarks --out DIR [--small] [--only STAGE ...] [--jobs N] [--page]

Each stage is a process of its own of one thread, and writes DIR/STAGE.json; they run one after the other, or as many at once as
--jobs says, which must not be more than there are cores: the sides of a stage take turns, so that what another one takes of the
machine's memory and caches they bear about alike. Two come last, each alone: the pass, which over the bare loop does little but
read maps that lie in the cache, if nobody else fills it; and what has workers of its own. All rows are then laid together as
DIR/benchmarks.md and DIR/benchmarks.json, with --page also in docs/. What has been measured before and is not asked for again is
taken as it lies in DIR, and told; with --only and no stage the page of the last run is made again. Returns 1 where a stage
failed; a target that is missed is told, with its reason, and is no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from benchmarks.common import ENVIRONMENT, Row, about, arguments, named, read, table
from benchmarks.reasons import missed

ROOT = Path(__file__).parent.parent
STAGES = (
    "data_pass", "occlusion", "robustness", "visualisation", "synthesis", "embedding", "neighbours", "report", "whole_audit",
    "ray_workers",
)  # fmt: skip
"""In the order of the table; those that this checkout lacks are left out."""
PEERS = (
    "captum", "zennit-crp", "torchattacks", "foolbox", "torch-lucent", "kornia", "scikit-learn", "openTSNE", "umap-learn",
    "faiss-cpu", "ray",
)  # fmt: skip
LONGEST = ("robustness", "whole_audit", "visualisation", "report")
"""Begun first, so that none is left over at the end beside an idle core."""
ALONE = ("data_pass", "ray_workers")
"""One asks how much the cache holds, the other has two processes of its own."""
SAID = """\
Ratios are of CPU time, of sides that took turns: in one process, those of the data pass batch by batch in forks of one. A target
`>= x` means x times as fast as the peer, `<= x` at most x times its time. Ratios of single rounds stand in the last column: how
far apart they lie says how busy the machine was."""


def run(stage: str, out: Path, small: bool, more: Sequence[str] = ()) -> dict[str, float | int]:
    """One stage; its exit status and seconds."""
    (out / f"{stage}.json").unlink(missing_ok=True)
    begin = time.monotonic()
    command = [sys.executable, "-m", f"benchmarks.{stage}", "--out", str(out), *(["--small"] if small else []), *more]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}, check=False)  # noqa: S603 - our own modules
    return {"status": done.returncode, "seconds": round(time.monotonic() - begin, 1)}


def collected(out: Path, stages: Sequence[str]) -> list[Row]:
    """The rows of all stages that wrote some."""
    files = [path for path in (out / f"{stage}.json" for stage in stages) if path.is_file()]
    return [row for path in files for row in read(path)]


def page(rows: Sequence[Row], facts: Mapping[str, object], ended: Mapping[str, Mapping[str, float | int]], small: bool) -> str:
    """The table with what it was measured on."""
    told = ", ".join(f"{name} {value}" for name, value in facts.items())
    counts = {word: sum(row.met is met for row in rows) for word, met in (("met", True), ("missed", False))}
    parts = [
        "# Benchmarks",
        f"Made by `make bench`: {told}." + (" A small run, which is a try and no measurement." if small else ""),
        SAID,
        table(rows),
        f"Of {counts['met'] + counts['missed']} targets {counts['met']} are met and {counts['missed']} missed.",
    ]
    if why := missed(rows):
        parts.append(why)
    broken = [f"{stage} (exit status {how['status']})" for stage, how in ended.items() if how["status"]]
    if broken:
        parts.append(f"Stages that failed, with what they had written before: {', '.join(broken)}.")
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Run, gather, write."""
    parser = arguments(__doc__)
    told = f"of {', '.join(STAGES)}; all by default, with none the page of what lies in DIR is made again"
    parser.add_argument("--only", nargs="*", choices=STAGES, metavar="STAGE", help=told)
    parser.add_argument("--page", action="store_true", help="write docs/benchmarks.md and docs/benchmarks.json as well")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="stages at once; 1 by default")
    parser.add_argument("--resnet20", nargs=3, metavar=("ARCH.py", "WEIGHTS", "DATA"), help="for the stage robustness")
    parser.add_argument("--attacked", type=int, metavar="N", help="images of the stage robustness; 500 by default")
    given: argparse.Namespace = parser.parse_args()
    more = {"robustness": ["--resnet20", *(str(Path(path).resolve()) for path in given.resnet20)] if given.resnet20 else []}
    more["robustness"] += ["--images", str(given.attacked)] if given.attacked else []
    given.out = given.out.resolve()
    given.out.mkdir(parents=True, exist_ok=True)
    known = [stage for stage in STAGES if find_spec(f"benchmarks.{stage}") is not None]
    facts = about()
    asked = [stage for stage in known if given.only is None or stage in given.only]

    def begun(stage: str) -> dict[str, float | int]:
        print(f"== {stage}", flush=True)
        return run(stage, given.out, given.small, more.get(stage, ()))

    with ThreadPoolExecutor(max(1, given.jobs)) as pool:
        among = [stage for stage in LONGEST if stage in asked]
        among += [stage for stage in asked if stage not in (*LONGEST, *ALONE)]
        ended = dict(zip(among, pool.map(begun, among), strict=True))
    ended |= {stage: begun(stage) for stage in asked if stage in ALONE}
    rows = collected(given.out, known)
    facts["peers"] = ", ".join(told for told in map(named, PEERS) if " " in told)
    facts |= {"stages at once": given.jobs} if given.jobs > 1 else {}
    small, last = given.small, given.out / "benchmarks.json"
    if given.only == [] and last.is_file():
        found = json.loads(last.read_text(encoding="utf-8"))
        facts, small, ended = found["about"], found["small"], found["stages"]
    text = page(rows, facts, ended, small)
    if not set(known) <= set(ended):
        absent = [stage for stage in known if not (given.out / f"{stage}.json").is_file()]
        text += "\nLaid together from runs of single stages" + (f"; not measured: {', '.join(absent)}" if absent else "") + ".\n"
    content = {"about": facts, "small": small, "stages": ended, "rows": [asdict(row) for row in rows]}
    for folder in [given.out, *([ROOT / "docs"] if given.page else [])]:
        (folder / "benchmarks.md").write_text(text, encoding="utf-8")
        (folder / "benchmarks.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(text)
    return 1 if any(how["status"] for how in ended.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
