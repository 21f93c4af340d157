"""The report of an audit of 50,000 images: how large it is, how soon it is seen, what it takes to render, and the audit's memory:

    python -m benchmarks.report --out DIR

A small network with seeded random weights on smooth random pictures of 32 px, at 5,000 and 50,000 images, each audited in a
process of its own. The page is opened from file:// in headless Chromium, a new browser each time: its first view is when the
verdict's heading is there, by our clock from before the page is asked for, with the browser's own first contentful paint beside.
Image bytes are those of the pictures in the page before base64, which makes them 1.33 times as long. Memory is the most that
RssAnon of /proc/self/status showed: without files that are mapped, such as the decoded images.

These are seconds of the clock: a page is waited for.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from auditor import api
from auditor.preprocess import Geometry, Preprocess
from auditor.report import render
from benchmarks.common import Row, arguments, named, prepared, written
from benchmarks.screenshots import FLAGS

STAGE = "report"
COUNTS, SMALL = (5_000, 50_000), (300,)
SIDE, CLASSES, OPENED, RENDERED = 32, 10, 7, 3
PROBES = "performance,calibration,filters,activations,patches,occlusion,saliency,neighbours,embedding,facets"
FIRST, SHARE, LARGEST = 1.5, 1.4, 15.0
LIBRARY = re.compile(r'id="library">([^<]*)')
PICTURE = re.compile(r"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)")


def model() -> nn.Module:
    """Two convolutions, 64 features, ten classes."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(64, CLASSES))


def data(count: int, folder: Path) -> tuple[Any, Any]:
    """Images (N,32,32,3) uint8, mapped from a file, and labels: 8 x 8 random colours about one of the class, made smooth."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % CLASSES
    path = folder / "given.npy"
    images = np.lib.format.open_memmap(path, "w+", np.uint8, (count, SIDE, SIDE, 3))
    middle = rng.uniform(60, 190, (CLASSES, 1, 1, 3))
    for start in range(0, count, 1000):
        of = labels[start : start + 1000]
        coarse = torch.from_numpy(middle[of] + rng.normal(0, 45, (len(of), 8, 8, 3))).permute(0, 3, 1, 2)
        fine = nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear").permute(0, 2, 3, 1)
        images[start : start + 1000] = fine.clamp(0, 255).to(torch.uint8).numpy()
    images.flush()
    del images
    return np.load(path, mmap_mode="r"), labels


class Memory(threading.Thread):
    """Looks at RssAnon every 20 ms until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.ended = 0, threading.Event()

    @staticmethod
    def now() -> int:
        """Bytes; 0 where the system does not say."""
        status = Path("/proc/self/status")
        found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text(encoding="utf-8")) if status.is_file() else None
        return int(found[1]) * 1024 if found else 0

    def run(self) -> None:
        while not self.ended.wait(0.02):
            self.most = max(self.most, self.now())


def audit(count: int, folder: Path) -> None:
    """One audit into folder/audit; what it took into folder/took.json."""
    given = data(count, folder)
    before, memory = Memory.now(), Memory()
    memory.start()
    begin, clock = time.process_time(), time.monotonic()
    preprocess = Preprocess(Geometry("RGB", (SIDE, SIDE), None, "nearest"), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    api.run(model(), given, preprocess=preprocess, probes=PROBES, device="cpu", out=folder / "audit", work=folder / "work")
    cpu, seconds = time.process_time() - begin, time.monotonic() - clock
    memory.ended.set()
    memory.join()
    (folder / "took.json").write_text(json.dumps({"cpu": cpu, "seconds": seconds, "before": before, "most": memory.most}))


def chromium() -> str | None:
    """The browser, None where there is none."""
    names = (os.environ.get("AUDITOR_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def opened(browser: str, page: Path) -> tuple[float, float]:
    """(seconds until the verdict's heading is there, seconds of the first contentful paint), in a new browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=browser, args=list(FLAGS))
        tab = running.new_context(offline=True, viewport={"width": 1280, "height": 900}).new_page()
        begin = time.monotonic()
        tab.goto(page.resolve().as_uri(), wait_until="commit")
        tab.locator("h1").first.wait_for(state="visible")
        seen = time.monotonic() - begin
        paint = "performance.getEntriesByName('first-contentful-paint')"
        tab.wait_for_function(f"{paint}.length > 0")
        painted = float(tab.evaluate(f"{paint}[0].startTime")) / 1000
        running.close()
    return seen, painted


def pages(folder: Path, case: str) -> list[Row]:
    """Size, first view and rendering of one audit's report."""
    took = []
    for _ in range(RENDERED):
        begin = time.process_time()
        path = render(folder / "audit")
        took.append(time.process_time() - begin)
    text = path.read_text(encoding="utf-8")
    carried = sum(len(base64.b64decode(found)) for found in PICTURE.findall(text))
    size, library = path.stat().st_size, LIBRARY.search(text)
    drawn = len(library[1]) if library else 0
    told = f"{size / 1e6:.2f} MB with {carried / 1e6:.2f} MB of pictures and {drawn / 1e6:.2f} MB of the drawing library"
    rows = [
        ratio(f"{case}: page in MB", size / 1e6, f"<= {LARGEST:g}", size / 1e6 <= LARGEST, told),
        ratio(f"{case}: page over image bytes", size / carried, f"<= {SHARE:g}", size / carried <= SHARE, told),
        ratio(f"{case}: the same without the library", (size - drawn) / carried, "", None, told),
        Row(STAGE, f"{case}: rendering", statistics.median(took), "-", None, None, "", None, f"CPU seconds, {RENDERED} rounds"),
    ]
    browser = chromium()
    if browser is None:
        return [*rows, Row(STAGE, f"{case}: first view", None, "Chromium: not installed", None, None, f"<= {FIRST:g}", None)]
    found = [opened(browser, path) for _ in range(OPENED)]
    seen, painted = (statistics.median(each) for each in zip(*found, strict=True))
    note = f"first contentful paint {painted:.2f} s; {OPENED} new browsers: {min(found)[0]:.2f} to {max(found)[0]:.2f} s"
    view = Row(
        STAGE, f"{case}: first view", seen, f"Chromium, {named('playwright')}", None, seen, f"<= {FIRST:g}", seen <= FIRST, note
    )
    return [*rows, view]


def ratio(case: str, value: float, target: str, met: bool | None, note: str) -> Row:
    """A row without seconds."""
    return Row(STAGE, case, None, "-", None, value, target, met, note)


def parser() -> argparse.ArgumentParser:
    """The stage's parser, with what its own processes are given."""
    parser = arguments(__doc__)
    parser.add_argument("--audit", type=int, help=argparse.SUPPRESS)
    return parser


def main() -> int:
    """Measure, print, write."""
    asked = parser().parse_args()
    prepared()
    if asked.audit:
        audit(asked.audit, asked.out)
        return 0
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        for count in SMALL if asked.small else COUNTS:
            folder, case = Path(place) / str(count), f"{count:,} images"
            folder.mkdir()
            command = [sys.executable, "-m", "benchmarks.report", "--audit", str(count), "--out", str(folder)]
            subprocess.run(command, check=True)  # noqa: S603 - our own module
            took = json.loads((folder / "took.json").read_text(encoding="utf-8"))
            note = f"RssAnon at most, in MB; {took['before'] / 1e6:.0f} before; {took['seconds']:.0f} s by the clock"
            rows.append(Row(STAGE, f"{case}: audit's memory", took["cpu"], "-", None, took["most"] / 1e6, "", None, note))
            written(asked.out, STAGE, rows)
            for one in pages(folder, case):
                rows.append(one)
                written(asked.out, STAGE, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
