"""Audits of many small pictures, each in a process of its own, with the most memory that each stage took: what the stage
`benchmarks.report` measures.

Pictures of 32 x 32 px (smooth noise in the colour of their class) in class folders; a net of three convolutions; profile quick.
What is counted is RssAnon, read every 20 ms: memory of the process's own, without files that are mapped, which the system takes
back where it needs the room. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, CLASSES = 32, 10
MIB = 1 << 20


def pictures(folder: Path, count: int) -> None:
    """`count` PNG files of smooth noise in CLASSES folders, seeded."""
    draw = np.random.default_rng(0)
    colours = draw.uniform(60, 200, (CLASSES, 3))
    for name in range(CLASSES):
        (folder / str(name)).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        small = Image.fromarray(draw.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        mixed = 0.5 * np.asarray(small, dtype=np.float64) + 0.5 * colours[number % CLASSES]
        Image.fromarray(mixed.astype(np.uint8)).save(folder / str(number % CLASSES) / f"{number:06}.png", compress_level=1)


def anonymous() -> int:
    """Bytes of RssAnon of this process."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


@dataclass
class Watch:
    """The peak of each stage, by a thread that looks every 20 ms."""

    stage: str = "data"
    peaks: dict[str, int] = field(default_factory=dict)
    ended: bool = False

    def look(self) -> None:
        """Until it has ended."""
        while not self.ended:
            self.peaks[self.stage] = max(self.peaks.get(self.stage, 0), anonymous())
            time.sleep(0.02)

    def progress(self, what: str, done: int, total: int) -> None:
        """What `auditor.run` tells as it goes on."""
        self.stage = "writing" if what != "images" and done == total == 1 else what


def audit(data: Path, work: Path, probes: str | None) -> dict[str, int]:
    """Stage -> peak in bytes, of one audit in this process."""
    import torch
    from torch import nn

    import auditor
    from auditor.preprocess import Geometry

    torch.set_num_threads(1)
    torch.manual_seed(0)

    def block(inside: int, outside: int) -> list[nn.Module]:
        return [nn.Conv2d(inside, outside, 3, 2, 1), nn.BatchNorm2d(outside), nn.ReLU()]

    net = nn.Sequential(
        *block(3, 16), *block(16, 32), *block(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES)
    )
    watch = Watch(peaks={"start": anonymous()})
    thread = threading.Thread(target=watch.look, daemon=True)
    thread.start()
    auditor.run(
        net.eval(), str(data), preprocess=auditor.Preprocess(Geometry("RGB"), (0.5,) * 3, (0.25,) * 3), profile="quick",
        probes=probes, out=work / "audit", work=work / "work", progress=watch.progress,
    )  # fmt: skip
    watch.ended = True
    thread.join()
    return watch.peaks


def child(folder: Path, count: int, probes: str | None) -> dict[str, int]:
    """Stage -> peak in bytes, of one audit of `count` pictures in a process of its own."""
    data = folder / f"data-{count}"
    pictures(data, count)
    command = [sys.executable, "-m", "benchmarks.memory", str(data), str(folder / f"run-{count}")]
    command += [] if probes is None else ["--probes", probes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own file
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(counts: Sequence[int], peaks: Sequence[dict[str, int]]) -> str:
    """Markdown: MiB by stage, in the order of the larger run."""
    few, many = peaks
    lines = [f"| stage | {counts[0]:,} images, MiB | {counts[1]:,} images, MiB | ratio |", "| --- | ---: | ---: | ---: |"]
    for stage, high in [*many.items(), ("whole run", max(many.values()))]:
        low = max(few.values()) if stage == "whole run" else few.get(stage)
        told = "| - | " if low is None else f"| {low / MIB:.0f} | "
        lines.append(f"| {stage} {told}{high / MIB:.0f} | {'-' if low is None else f'{high / low:.2f}'} |")
    return "\n".join(lines)


def main() -> None:
    """One audit; its peaks on the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--probes", help="comma-separated probe ids; all of the profile where not given")
    given = parser.parse_args()
    print(json.dumps(audit(given.data, given.out, given.probes)))


if __name__ == "__main__":
    main()
