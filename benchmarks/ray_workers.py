"""Two workers of Ray of one thread each beside one process of one thread: python -m benchmarks.ray_workers --out DIR

One plan, one model, one data set; the two take turns (ABAB), every run with a work folder of its own. The workers have started
and imported torch before the clock does: Ray's start-up is left out, the loading of the model in each worker is not. Efficiency
is seconds of one process / (2 x seconds with two workers): of the whole audit, and of the stages that are shared out. The
audits are compared byte by byte. Writes docs/ray_workers.md where the run of one process took at least five minutes.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from auditor import api  # noqa: E402
from auditor.engines.ray import Ray  # noqa: E402
from auditor.preprocess import IMAGENET_MEAN, IMAGENET_STD, Geometry, Preprocess  # noqa: E402
from auditor.store import read_json  # noqa: E402
from benchmarks.common import Row, arguments, missing, named, written  # noqa: E402

STAGE, FILE, EFFICIENCY = "two workers", "ray_workers", 0.85

SIDE, FULL = 160, 300.0
PREPROCESS = Preprocess(Geometry("RGB", (SIDE, SIDE), None, "nearest"), IMAGENET_MEAN, IMAGENET_STD)
PROBES = "performance,activations,patches,neighbours,occlusion,corruptions"
SHARED = ("pass", "patches", "activations", "occlusion", "corruptions")
"""Stages whose work is done by the workers."""


def data(count: int) -> tuple[Any, Any]:
    """Noise in blocks of 8 px: what is computed does not depend on what is seen."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (count, SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
    return small.repeat(8, 1).repeat(8, 2), np.arange(count) % 10


def run(count: int, folder: Path, engine: Any, profile: str) -> dict[str, Any]:
    """One audit; what run.json holds of it."""
    api.run(
        "torchvision:resnet18@none", data(count), preprocess=PREPROCESS, probes=PROBES, profile=profile, device="cpu",
        out=folder / "audit", work=folder / "work", engine=engine, weights=weights(folder.parent),
    )  # fmt: skip
    return read_json(folder / "audit" / "run.json")


def weights(folder: Path) -> Path:
    """A file of random weights, the same for all runs."""
    path = folder / "resnet18.pt"
    if not path.exists():
        from torchvision.models import resnet18

        torch.manual_seed(0)
        torch.save(resnet18(num_classes=10).state_dict(), path)
    return path


def same(one: Path, other: Path) -> bool:
    """Whether two audits are equal to the byte, but for run.json and the page that shows it."""
    found = [
        {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name not in LEFT}
        for root in (one / "audit", other / "audit")
    ]
    return found[0] == found[1]


LEFT = ("run.json", "index.html")


def shared(facts: dict[str, Any], unit: str) -> float:
    """Seconds of the stages that are shared out."""
    return float(sum(facts["spent"][stage][unit] for stage in SHARED if stage in facts["spent"]))


def main() -> int:
    """Measure, print, write the page; 1 where an audit differs."""
    parser: argparse.ArgumentParser = arguments(__doc__)
    parser.add_argument("--images", type=int, help="of the data set: 6,000, which take one process at least 5 min; 300 if small")
    parser.add_argument("--rounds", type=int, default=1, help="times that both take their turn")
    parser.add_argument("--profile", default="standard", help="quick for a short try, which writes no page")
    asked = parser.parse_args()
    if find_spec("ray") is None:
        written(asked.out, FILE, [missing(STAGE, "all", "ray")])
        return 0
    asked.images = asked.images or (300 if asked.small else 6_000)
    if asked.small:
        asked.profile, asked.rounds = "quick", 1
    torch.set_num_threads(1)
    rows: list[tuple[dict[str, Any], dict[str, Any]]] = []
    equal = True
    with tempfile.TemporaryDirectory() as place, Ray(workers=2) as engine:
        begin = time.monotonic()
        run(600, Path(place) / "warm", engine, "quick")
        print(f"Ray and its workers were up, and had done a short audit, after {time.monotonic() - begin:.0f} s", flush=True)
        for turn in range(asked.rounds):
            folders = [Path(place) / f"{name}-{turn}" for name in ("local", "ray")]
            one = run(asked.images, folders[0], "local", asked.profile)
            for handle in engine.hands:
                handle.cpu_seconds = 0.0
            rows.append((one, run(asked.images, folders[1], engine, asked.profile)))
            equal = equal and same(*folders)
            print(line(turn, *rows[-1]), flush=True)
    written(asked.out, FILE, [as_row(asked, rows, equal)])
    text = page(asked.images, rows, equal)
    print(text)
    if min(one["seconds"] for one, _ in rows) >= FULL:
        (ROOT / "docs" / "ray_workers.md").write_text(text, encoding="utf-8")
    return 0 if equal else 1


def as_row(asked: argparse.Namespace, rows: list[tuple[dict[str, Any], dict[str, Any]]], equal: bool) -> Row:
    """The median turn as a row of the common table. Seconds are of the wall: two workers save no CPU time."""
    ratios = [one["seconds"] / two["seconds"] / 2 for one, two in rows]
    shared_out = statistics.median(shared(one, "seconds") / shared(two, "seconds") / 2 for one, two in rows)
    by_cpu = statistics.median(balance(one, two) for one, two in rows)
    seconds = [statistics.median(facts["seconds"] for facts in side) for side in zip(*rows, strict=True)]
    found = statistics.median(ratios)
    note = f"efficiency, by the wall; of the shared stages {shared_out:.2f}, by CPU time {by_cpu:.2f}; audits {SAME[equal]}"
    return Row(
        STAGE, f"ResNet-18, {SIDE} px, {asked.images:,} images, profile {asked.profile}", seconds[1],
        f"one process ({named('ray')})", seconds[0], found, f">= {EFFICIENCY:g}", equal and found >= EFFICIENCY, note,
    )  # fmt: skip


SAME = {True: "equal to the byte", False: "NOT equal"}


def balance(one: dict[str, Any], two: dict[str, Any]) -> float:
    """Efficiency by processor time, which a busy machine changes less: that of one process / 2 x (the busier worker's, and what
    the first process did itself).
    """
    total = sum(stage["cpu_seconds"] for stage in two["spent"].values())
    workers = two["engine"]["cpu_seconds"]
    return float(sum(stage["cpu_seconds"] for stage in one["spent"].values()) / (2 * (max(workers) + total - sum(workers))))


def line(turn: int, one: dict[str, Any], two: dict[str, Any]) -> str:
    """One turn as a row of the table."""
    whole = one["seconds"] / two["seconds"] / 2
    part = shared(one, "seconds") / shared(two, "seconds") / 2
    cpu = shared(two, "cpu_seconds") / shared(one, "cpu_seconds")
    cells = (
        turn + 1,
        f"{one['seconds']:.0f}",
        f"{two['seconds']:.0f}",
        f"{whole:.2f}",
        f"{part:.2f}",
        f"{balance(one, two):.2f}",
        f"{cpu:.2f}",
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def page(images: int, rows: list[tuple[dict[str, Any], dict[str, Any]]], equal: bool) -> str:
    """The table with what it was measured on."""
    head = (
        "# Two workers beside one process\n\n"
        f"Made by `python benchmarks/ray_workers.py` on {time.strftime('%Y-%m-%d')} with torch {torch.__version__} on "
        f"{os.cpu_count()} cores ({platform.machine()}): ResNet-18 at {SIDE} px, {images:,} images, probes {PROBES}; one thread "
        "a process; Ray's start-up left out. The audits are " + ("equal to the byte.\n\n" if equal else "NOT equal.\n\n")
    )
    columns = "| turn | one process, s | two workers, s | efficiency | of the shared stages | by CPU time | workers' CPU, x |\n"
    return (
        head
        + columns
        + "| --- | --- | --- | --- | --- | --- | --- |\n"
        + "\n".join(line(i, *row) for i, row in enumerate(rows))
        + "\n"
    )


if __name__ == "__main__":
    sys.exit(main())
