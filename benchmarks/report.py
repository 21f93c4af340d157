"""The report of an audit of 50,000 images, and the audit's memory: how large the page is, how soon it is seen, what it takes to
render, and whether memory grows with the images:

    python -m benchmarks.report --out DIR

The audits are those of `benchmarks.memory`, of the profile quick, at 5,000 and 50,000 images. The page is opened from file:// in
headless Chromium, a new browser each time: its first view is when the verdict's heading is there, by our clock from before the
page is asked for, with the browser's own first contentful paint beside. Image bytes are those of the pictures in the page before
base64, which makes them 1.33 times as long. DIR/memory.md has the peak of each stage of the audits.

These are seconds of the clock: a page is waited for.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from auditor.report import render
from benchmarks.common import Row, arguments, named, prepared, written
from benchmarks.memory import MIB, child, table
from benchmarks.screenshots import FLAGS

STAGE = "report"
COUNTS, SMALL = (5_000, 50_000), (400, 1_600)
OPENED, RENDERED = 7, 3
FIRST, SHARE, LARGEST, MEMORY = 1.5, 1.4, 15.0, 1.3
LIBRARY = re.compile(r'id="library">([^<]*)')
PICTURE = re.compile(r"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)")


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


def memory_row(counts: Sequence[int], peaks: Sequence[Mapping[str, int]]) -> Row:
    """The larger audit's memory beside the smaller one's."""
    low, high = (max(found.values()) for found in peaks)
    told = f"{high / MIB:.0f} MiB over {low / MIB:.0f} MiB, of which {peaks[1]['start'] / MIB:.0f} before the first image"
    case, grown = f"RssAnon, {counts[1]:,} images over {counts[0]:,}", high / low
    return Row("memory", case, None, "itself", None, grown, f"<= {MEMORY:g}", grown <= MEMORY, told)


def main() -> None:
    """Measure, print, write."""
    asked = arguments(__doc__).parse_args()
    prepared()
    rows: list[Row] = []
    counts = SMALL if asked.small else COUNTS
    peaks: list[dict[str, int]] = []
    with tempfile.TemporaryDirectory() as place:
        for count in counts:
            peaks.append(child(Path(place), count, None))
            for one in pages(Path(place) / f"run-{count}", f"{count:,} images"):
                rows.append(one)
                written(asked.out, STAGE, rows)
    rows.append(memory_row(counts, peaks))
    written(asked.out, STAGE, rows)
    (asked.out / "memory.md").write_text(table(counts, peaks) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
