"""The page in a real browser: from file://, with the network off, with names that try to break out."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from auditor.report import render, render_listing
from tests.report import audits

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reports") / "demo"
    audits.write_audit(root)
    render(root)
    return root


def test_it_opens_offline_without_a_complaint_or_a_request(folder: Path, visit: Any) -> None:
    seen = visit(folder / "index.html")
    seen.show_all()
    assert seen.complaints == []
    assert seen.outside() == []
    broken = seen.page.evaluate(
        "async () => { const bad = []; for (const i of document.images) { try { await i.decode() } catch { bad.push(i.alt) } "
        "if (!i.naturalWidth) bad.push(i.alt) } return bad }"
    )
    assert broken == []
    assert seen.page.evaluate("document.images.length") > 30
    assert seen.page.locator(".chart svg.main-svg").count() >= 6, "charts are drawn"


def test_hostile_names_stay_inert_text(folder: Path, visit: Any) -> None:
    seen = visit(folder / "index.html")
    seen.show_all()
    for position in range(12):
        seen.page.evaluate(f"location.hash = 'sample={position}'")
        seen.page.wait_for_selector("dialog[open]")
    assert seen.dialogs == []
    assert seen.complaints == []
    assert seen.page.locator("img[onerror], [onload]").count() == 0
    assert (
        seen.page.evaluate(
            "[...document.scripts].filter((s) => !s.type && /alert/.test(s.textContent) && s.textContent.length < 999).length"
        )
        == 0
    )
    assert "<img src=x onerror=alert(1)>" in seen.page.inner_text("body")
    assert "</script><script>alert(2)</script>" in seen.page.inner_text("body")
    assert "{{ 7*7 }}" in seen.page.inner_text("body")


def test_a_sample_opens_its_card_from_the_fragment_and_closes(folder: Path, visit: Any) -> None:
    seen = visit(folder / "index.html")
    seen.page.locator(".gallery a[href='#sample=3']").first.click()
    seen.page.wait_for_selector("dialog[open]")
    assert "0003.jpg" in seen.page.inner_text("dialog")
    assert seen.page.evaluate("location.hash") == "#sample=3"
    seen.page.keyboard.press("Escape")
    assert seen.page.locator("dialog[open]").count() == 0
    seen.page.wait_for_function("() => !location.hash.includes('sample')")  # the event of closing comes after the dialog has gone
    again = visit(folder / "index.html")
    again.page.goto((folder / "index.html").resolve().as_uri() + "#sample=5")
    again.page.wait_for_selector("dialog[open]")
    assert "0005.jpg" in again.page.inner_text("dialog")


def test_the_embedding_changes_its_view_and_shows_the_image_under_the_pointer(folder: Path, visit: Any) -> None:
    seen = visit(folder / "index.html")
    seen.show_all()
    chart = seen.page.locator("#embedding .chart").first
    chart.scroll_into_view_if_needed()
    first = chart.locator(".point").first.get_attribute("transform")
    seen.page.get_by_role("button", name="PCA").click()
    seen.page.wait_for_function(
        "t => document.querySelector('#embedding .chart .point').getAttribute('transform') !== t", arg=first
    )
    seen.page.get_by_role("button", name="right or wrong").click()
    seen.page.wait_for_function("() => /wrong/.test(document.querySelector('#embedding .chart .legend')?.textContent)")
    chart.locator(".point").nth(40).hover(force=True)
    seen.page.wait_for_selector("#hover:not([hidden]) .tile")
    assert "Predicted" in seen.page.inner_text("#hover")


def test_a_large_picture_opens_beside_the_page_and_tells_the_image_under_the_pointer(folder: Path, visit: Any) -> None:
    seen = visit(folder / "index.html")
    picture = seen.page.locator("#embedding img.sheet")
    assert "7.5" in seen.page.inner_text("#embedding .legend")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    for i in (0, 5, 7):
        seen.page.mouse.move(box["x"] + box["width"] * (i % 3 + 0.5) / 3, box["y"] + box["height"] * (i // 3 + 0.5) / 3)
        seen.page.wait_for_function(f"() => /000{i}.jpg/.test(document.getElementById('hover').textContent)")
    seen.page.mouse.move(5, 5)
    seen.page.wait_for_selector("#hover", state="hidden")
    assert seen.outside() == [], "nothing is fetched before it is asked for"
    full = (folder / "artifacts" / "embedding" / "grid full.png").resolve().as_uri()
    for link in seen.page.locator("#embedding .drawn a[href*='full']").all():
        assert link.evaluate("e => e.href") == full
    with seen.context.expect_page() as opened:
        picture.click()
    opened.value.wait_for_load_state()
    assert opened.value.url == full
    assert opened.value.evaluate("document.images[0].naturalWidth") == 1080
    assert seen.complaints == []


@pytest.mark.parametrize("options", [{"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 800}}])
def test_it_reads_in_the_dark_and_on_a_phone(folder: Path, visit: Any, options: dict[str, Any]) -> None:
    seen = visit(folder / "index.html", **options)
    seen.show_all()
    assert seen.complaints == []
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1"), "nothing runs out of the page sideways"


def test_every_picture_has_words_and_every_chart_a_table(folder: Path, visit: Any) -> None:
    page = visit(folder / "index.html").page
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    for chart in page.query_selector_all(".chart"):
        assert chart.get_attribute("aria-label")
        assert chart.evaluate("e => !!e.parentElement.querySelector('details table')")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    headings = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((e) => Number(e.tagName[1]))")
    assert headings[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(headings))


def test_the_listing_links_every_audit(folder: Path, visit: Any) -> None:
    audits.write_audit(folder.parent / "other", name="other", verdict=False)
    render(folder.parent / "other")
    render_listing(folder.parent)
    seen = visit(folder.parent / "index.html")
    assert seen.page.locator(".audits a").count() == 2
    assert seen.complaints == []
    assert seen.dialogs == []
    seen.page.locator(".audits a").first.click()
    seen.page.wait_for_selector("#verdict")


def test_a_real_audit_with_hostile_class_and_file_names_opens_whole_and_inert(tmp_path: Path, visit: Any) -> None:
    import numpy as np
    import torch
    from PIL import Image

    from auditor import api
    from auditor.preprocess import Geometry, Preprocess

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(
            torch.nn.Conv2d(3, 6, 5, padding=2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 3)
        )  # fmt: skip
    model.classes = ["<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", '" onload="alert(3)']
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    rows = ["path,label,class_name,<b onclick=alert(5)>"]
    for i in range(24):
        name = f"<svg onload=alert(4)>{i}.png"
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(tmp_path / "data" / name)
        rows.append(f"{name},{i % 3},,<i>{i % 2}</i>")
    (tmp_path / "data" / "m.csv").write_text("\n".join(rows) + "\n")
    preprocess = Preprocess(Geometry("RGB", (12, 12)), (0.5,) * 3, (0.25,) * 3)
    audit = api.run(
        model, str(tmp_path / "data" / "m.csv"), preprocess=preprocess, profile="quick", device="cpu", out=tmp_path / "reports" / "x",
        config={"gate": {"rules": [{"measure": "performance.top1", "at_least": 0.99}]}},
    )  # fmt: skip
    left_out = ("shape_bias", "deepdream", "facets", "generator", "corruptions", "style")
    assert {s.status for name, s in audit.record.sections.items() if name not in left_out} == {"done"}
    seen = visit(audit.index)
    seen.show_all()
    for position in range(24):
        seen.page.evaluate(f"location.hash = 'sample={position}'")
        seen.page.wait_for_selector("dialog[open]")
    assert (seen.dialogs, seen.complaints, seen.outside()) == ([], [], [])
    assert seen.page.locator("main svg[onload], main b, main i, img[onerror]").count() == 0
    assert seen.page.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert "<img src=x onerror=alert(1)>" in seen.page.inner_text("body")
