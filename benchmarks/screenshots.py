"""Screenshots of the demo's reports for the README, into docs/screenshots: python benchmarks/screenshots.py after `make demo`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SHOTS = (
    ("verdict", "digits-flawed", "verdict"),
    ("occlusion", "photographs", "occlusion"),
    ("embedding", "digits", "embedding"),
    ("listing", "", "main"),
)
"""File -> (report, section)."""
WIDTH, TALLEST, MARGIN = 1280, 900, 24


def main() -> int:
    """Take every screenshot; returns 1 where a report is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=Path, default=Path("reports"))
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"))
    given = parser.parse_args()
    names = (os.environ.get("AUDITOR_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    browser_path = next((path for name in names if name and (path := shutil.which(name))), None)
    if browser_path is None:
        print("no Chromium: apt-get install chromium, or set AUDITOR_CHROMIUM", file=sys.stderr)
        return 1
    given.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path, args=list(FLAGS))
        page = browser.new_context(offline=True, viewport={"width": WIDTH, "height": TALLEST}).new_page()
        for file, report, section in SHOTS:
            index = given.reports / report / "index.html"
            if not index.is_file():
                print(f"{index} is missing: run `make demo` first", file=sys.stderr)
                return 1
            page.goto(index.resolve().as_uri())
            place = page.locator("main" if section == "main" else f"#{section}")
            place.scroll_into_view_if_needed()
            for chart in place.locator(".chart").element_handles():
                chart.scroll_into_view_if_needed()
                page.wait_for_function("e => 'mounted' in e.dataset", arg=chart)
            place.scroll_into_view_if_needed()
            raw = given.out / f"{file}.png"
            box = place.evaluate(
                "e => { const b = e.getBoundingClientRect(); return [b.x + scrollX, b.y + scrollY, b.width, b.height] }"
            )
            left, top = max(0, box[0] - MARGIN), max(0, box[1] - MARGIN)
            clip = {"x": left, "y": top, "width": box[2] + 2 * MARGIN, "height": min(box[3] + 2 * MARGIN, TALLEST)}
            page.screenshot(path=str(raw), clip=clip, full_page=True)
            with Image.open(raw) as image:
                shown = image.convert("RGB")
            shown.quantize(256, dither=Image.Dither.NONE).save(raw, optimize=True)
            print(raw)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
