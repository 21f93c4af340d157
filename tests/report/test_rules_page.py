"""Rules, waivers, the baseline and the comparison on the page, in a real browser."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.baseline import baseline_of, write_baseline
from auditor.config import load_config
from auditor.folder import judge_folder, write_judgement
from auditor.report import svg
from tests.cli.world import called, write_folder
from tests.gate.world import answers, audit, real_statistics, rng

NASTY = "<img src=x onerror=alert(1)>"
LABEL = np.repeat(np.arange(6), 60)
BEFORE = answers(LABEL, rng(0).uniform(size=360) < 0.95, site=np.array(["north", NASTY])[np.arange(360) % 2])
TODAY = answers(
    LABEL, np.where((LABEL == 2) & (np.arange(360) % 2 == 0), False, BEFORE["correct"] == 1), site=BEFORE["slice.site"]
)
NAMES = ["cat", "dog", NASTY, "</svg><script>alert(2)</script>", "e", "f"]
WAIVERS = [
    {"id": "W1", "measure": "performance.recall", "scope": NASTY, "owner": NASTY, "reason": "known", "expires": "2026-01-31"},
    {"id": "W2", "measure": "performance.top1", "owner": "ada", "reason": NASTY, "expires": "2026-05-31", "bound": 0.5},
    {"id": "W3", "measure": "performance.ece", "owner": "ada", "reason": "none", "expires": "2026-05-31"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rules")
    write_baseline(root / "b.parquet", baseline_of(audit(BEFORE, names=NAMES), BEFORE, made="2026-01-02"))
    rules = [
        {"measure": "performance.recall", "no_worse_than_baseline_by": 0.1},
        {"measure": "performance.top1", "at_least": 0.93},
        {"measure": "performance.top1", "at_least": 0.3},
        {"measure": "performance.top1", "no_worse_than_baseline_by": 0.01},
        {"measure": "performance.top1", "slice": "site", "at_least": 0.5},
        {"measure": "performance.macro_recall", "at_least": 0.5},
    ]
    for name, columns in (("main", BEFORE), ("candidate", TODAY)):
        place = root / "reports" / name
        write_folder(place, columns, names=NAMES, **real_statistics(columns))
        policy = {"gate": {"rules": rules, "waivers": WAIVERS, "baseline": str(root / "b.parquet")}, "data": {"group": "site"}}
        ungrouped = {**policy, "data": {}} if name == "candidate" else policy
        write_judgement(place, judge_folder(place, load_config(ungrouped), today=date(2026, 3, 1)))
    called("compare", "reports/main", "reports/candidate", cwd=root)
    return root / "reports"


@pytest.mark.browser
@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark", "viewport": {"width": 390, "height": 800}}])
@pytest.mark.parametrize("page", ["candidate/index.html", "candidate/compare-main.html", "main/index.html"])
def test_a_page_opens_whole_and_inert(folder: Path, visit: Any, page: str, options: dict[str, Any]) -> None:
    seen = visit(folder / page, **options)
    seen.show_all()
    assert (seen.complaints, seen.dialogs, seen.outside()) == ([], [], [])
    assert seen.page.locator("img[onerror]").count() == 0
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1"), "nothing runs out of the page sideways"
    ids = seen.page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    assert NASTY in seen.page.inner_text("body")


@pytest.mark.browser
def test_rules_waivers_and_baseline_are_told(folder: Path, visit: Any) -> None:
    page = visit(folder / "candidate/index.html").page
    first = page.inner_text("#verdict")
    assert "images newly wrong" in first
    assert "auditor check candidate --policy audit.toml" in page.text_content("#verdict")
    assert "[[gate.waivers]]" in page.text_content("#verdict")
    waivers = page.inner_text("#rules table[class], #rules .scroll:has-text('last day')")
    for word in (
        "W1",
        "expired",
        "W2",
        "waived" if "used" not in waivers else "used",
        "W3",
        "unused",
        "29 days ago",
        "91 days left",
    ):
        assert word in waivers, word
    assert page.locator("#rules .mini.many circle").count() == 6 + 2, "one dot a class and a slice"
    assert page.locator("#rules .mini.many circle.fail").count() == 1
    assert page.locator("#rules .mini.power").count() == 4
    assert page.locator("#rules .mini[aria-label]").count() == page.locator("#rules .mini").count()
    assert "images are taken as independent" in page.inner_text("#about")
    assert "newly wrong" in page.inner_text("#baseline")
    grouped = visit(folder / "main/index.html").page
    assert "by site, whose images belong together" in grouped.inner_text("#about")


@pytest.mark.browser
def test_the_comparison_lists_every_image_and_opens_its_card(folder: Path, visit: Any) -> None:
    page = visit(folder / "candidate/compare-main.html").page
    lost = int(((BEFORE["correct"] == 1) & (TODAY["correct"] == 0)).sum())
    assert f"{lost} newly wrong, 0 newly right" in page.inner_text("h1")
    page.locator("#broken summary").click()
    assert page.locator("#broken tbody tr").count() == lost
    assert page.locator("#classes .status.fail").count() == 1
    page.locator("#broken .flips a").first.click()
    page.wait_for_selector("dialog[open]")
    assert ".png" in page.inner_text("dialog")


def test_a_picture_puts_every_value_where_it_belongs() -> None:
    import re

    scale = svg.Scale(0.0, 2.0, 10.0, 110.0)
    assert [scale(v) for v in (0, 1, 2, -5, 9)] == [10, 60, 110, 10, 110]
    text = str(svg.interval(0.7, (0.6, 0.8), 0.5, least=True, unit="share", signed=False))
    dot, line = float(re.search(r'cx="([\d.]+)"', text)[1]), float(re.search(r'class="line" x1="([\d.]+)"', text)[1])  # type: ignore[index]
    low, high = (float(x) for x in re.search(r'class="reach" x1="([\d.]+)" x2="([\d.]+)"', text).groups())  # type: ignore[union-attr]
    assert line < low < dot < high
    assert dot - low == pytest.approx(high - dot, abs=0.02)
    bad = re.search(r'class="bad" x="([\d.]+)" y="4" width="([\d.]+)"', text)
    assert bad is not None
    assert float(bad[1]) + float(bad[2]) == pytest.approx(line)
    members = [svg.Member(NASTY, "fail", 0.2, 0.1, 0.3), svg.Member("b", "pass", 0.9, 0.8, 1.0)]
    drawn = str(svg.many(members, 0.5, least=True, unit="share", signed=False))
    assert NASTY not in drawn
    assert "&lt;img" in drawn
    assert svg.told({"sure_pass": 0.82, "sure_fail": None, "exact": True}, "share") == (
        "With so many images it passes 95 times in 100 where the truth is 82.0 %."
    )
