"""One headless Chromium for all tests of a page; without Chromium they fail, they never skip."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def chromium() -> str:
    """The browser's path."""
    names = (os.environ.get("AUDITOR_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    assert found, "no Chromium: apt-get install chromium, or set AUDITOR_CHROMIUM"
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A browser without a network."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        yield running
        running.close()


class Visit:
    """One page opened from file:// with the network off, and what it complained of or asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(offline=True, **options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.page.on(
            "console", lambda m: self.complaints.append(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda e: self.complaints.append(f"exception: {e}"))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("dialog", lambda d: (self.dialogs.append(d.message), d.dismiss()))
        self.page.goto(path.resolve().as_uri())
        self.home = path.resolve().as_uri()

    def show_all(self) -> None:
        """Scroll through the page, so that everything that is drawn on sight is drawn."""
        for element in self.page.query_selector_all(".chart"):
            element.scroll_into_view_if_needed()
            self.page.wait_for_function("e => 'mounted' in e.dataset", arg=element)

    def outside(self) -> list[str]:
        """Requests for anything but the page itself and what it carries."""
        return [url for url in self.requests if not url.startswith(("data:", "blob:")) and url.split("#")[0] != self.home]


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """visit(path, **context options) -> Visit."""
    opened: list[Visit] = []

    def open_page(path: Path, **options: Any) -> Visit:
        opened.append(Visit(browser, path, **options))
        return opened[-1]

    yield open_page
    for one in opened:
        one.context.close()
