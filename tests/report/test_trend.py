"""The trend of figures over several audits of one data set, in the list of audits."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.config import load_config
from auditor.folder import judge_folder
from auditor.report import render_listing, svg
from auditor.report.trend import Past, trends
from auditor.store import write_audit, write_columns, write_json, write_verdict
from auditor.types import Measure, Section, Value
from tests.gate.world import answers, audit, gate

NASTY = '<img src=x onerror=alert(1)>"'
LABEL = np.repeat(np.arange(4), 100)
RULE = {"measure": "performance.top1", "at_least": 0.9}


def past(place: int, rate: float, *, data: str = "d" * 64, name: str | None = None, **changes: Any) -> Past:
    columns = answers(LABEL, np.random.default_rng(place).uniform(size=400) < rate)
    record = audit(columns)
    section = dataclasses.replace(record.sections["performance"], **changes)
    record = dataclasses.replace(
        record, name=name or f"release-{place}", provenance={**record.provenance, "dataset_digest": data},
        sections={"performance": section},
    )  # fmt: skip
    return Past(record.name, f"2026-0{place + 1}-03 10:00 UTC", float(place), record, gate(columns, RULE, record=record))


def test_audits_of_one_data_set_make_a_chart_a_figure_in_the_order_of_time() -> None:
    members = [past(2, 0.8), past(0, 0.97), past(1, 0.95), past(3, 0.9, data="e" * 64)]
    (found,) = trends(members)
    assert (found.audits, found.data, found.first, found.last) == (3, "d" * 64, members[1].day, members[0].day)
    top1 = found.charts[0]
    assert top1.id == "performance.top1"  # the gate's own figure comes first
    xs = [float(x) for x in re.findall(r'<circle class="dot \w+" cx="([\d.]+)"', top1.picture)]
    assert xs == sorted(xs)
    assert re.findall(r'<circle class="dot (\w+)"', top1.picture) == [
        m.verdict.verdict for m in (members[1], members[2], members[0])
    ]
    assert top1.picture.count('class="reach') == 3
    assert 'class="bad"' in top1.picture
    values = [m.record.sections["performance"]["top1"].value for m in (members[1], members[2], members[0])]
    assert re.findall(r"<title>release-\d, [^:]*:\d\d UTC: ([\d.]+) %", top1.picture) == [f"{100 * v:.1f}" for v in values]


def test_other_settings_and_meanings_are_left_out_and_counted_but_not_what_only_shows() -> None:
    shown = {"only_shown": ("gallery",)}
    members = [
        past(0, 0.9, parameters={"gallery": 4, "top": 5}, **shown), past(1, 0.9, parameters={"gallery": 9, "top": 3}, **shown),
        past(2, 0.9, parameters={"gallery": 8, "top": 5}, **shown),
    ]  # fmt: skip
    (found,) = trends(members)
    assert found.charts[0].left_out == 1
    assert found.charts[0].picture.count("<circle") == 2
    other = dataclasses.replace(
        members[0].record, catalogue={"performance": (Measure("top1", "Accuracy", "share", "higher", ".", revision=2),)}
    )
    assert trends([dataclasses.replace(members[0], record=other), *members[1:]]) == ()  # one alone is no trend


def test_a_figure_that_moved_to_another_probe_is_one_line() -> None:
    old, new = past(0, 0.9), past(1, 0.9)
    section = Section(
        "calibration", "Calibration", "done", values={"ece": Value(0.05, "statistic", "share", low=0.03, high=0.07)}
    )
    performance = dataclasses.replace(
        new.record.sections["performance"], values={"top1": new.record.sections["performance"]["top1"]}
    )
    record = dataclasses.replace(
        new.record, sections={"performance": performance, "calibration": section},
        catalogue={**new.record.catalogue, "calibration": (Measure("ece", "Calibration error", "share", "lower", "."),)},
    )  # fmt: skip
    (found,) = trends([old, dataclasses.replace(new, record=record)])
    (ece,) = [c for c in found.charts if c.id == "calibration.ece"]
    assert ece.picture.count("<circle") == 2


def test_one_audit_a_void_figure_or_no_data_digest_is_no_trend() -> None:
    assert trends([past(0, 0.9)]) == ()
    assert trends([past(0, 0.9, data=""), past(1, 0.9, data="")]) == ()
    void = {"top1": Value(0.9, "proportion", "share", n=400, k=360, flags=("void: broken",))}
    assert trends([past(0, 0.9, values=void), past(1, 0.9, values=void)]) == ()


def test_a_line_of_one_value_is_drawn(tmp_path: Path) -> None:
    moments = [svg.Moment("a", "2026-01-01", "pass", 0.5, None, None)] * 2
    drawn = svg.trend(moments, "share", None, least=True)
    assert "nan" not in drawn.lower()
    assert drawn.count("<circle") == 2


def folders(root: Path) -> Path:
    for place, name in enumerate(("one", "two", "three")):
        folder = root / name
        columns = answers(LABEL, np.random.default_rng(place).uniform(size=400) < 0.93)
        record = past(place, 0.93, name=NASTY).record
        folder.mkdir(parents=True)
        write_columns(folder, columns)
        write_audit(folder, record)
        write_json(folder / "run.json", {"began": f"2026-0{place + 1}-03T10:00:00Z"})
        write_verdict(folder, judge_folder(folder, load_config({"gate": {"rules": [RULE]}})))
    return root


def test_the_list_shows_it_and_hostile_names_are_text(tmp_path: Path) -> None:
    page = render_listing(folders(tmp_path))
    assert page is not None
    text = page.read_text()
    assert "3 audits of the same 400 images" in text
    assert "2026-01-03" in text
    assert NASTY not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


@pytest.mark.browser
@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark", "viewport": {"width": 390, "height": 800}}])
def test_the_list_opens_whole_and_inert(tmp_path: Path, visit: Any, options: dict[str, Any]) -> None:
    page = render_listing(folders(tmp_path))
    assert page is not None
    seen = visit(page, **options)
    assert (seen.complaints, seen.dialogs, seen.outside()) == ([], [], [])
    assert seen.page.locator(".mini.trend").count() >= 2
    assert seen.page.locator("img[onerror]").count() == 0
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")


def test_a_verdict_that_is_no_word_of_ours_breaks_out_of_nothing() -> None:
    moment = svg.Moment("a", "2026-01-01", '"><script>', 0.5, 0.4, 0.6)
    assert "<script" not in svg.trend([moment, moment], "share", 0.4, least=True)
