from __future__ import annotations

import re
from html import unescape

import pytest
from markdown_it import MarkdownIt

from auditor.bounds import exact, proportion
from auditor.exports.summary import summary
from auditor.types import AuditRecord, Measure, Outcome, Section, Value, Verdict

NASTY = [
    "<img src=x onerror=alert(1)>",
    "</td></table><script>alert(1)</script>",
    "a | b | c",
    "`code` ``two``",
    "**bold** _it_ ~~gone~~",
    "[a link](javascript:alert(1)) ![pic](x)",
    "http://example.org/x <http://example.org>",
    "&lt;b&gt; &amp; &#60;",
    "a\\|b \\` \\",
    "# head @someone #1 $x$ - + * {{7*7}}",
]


def audit(title: str = "Top-1 accuracy", name: str = "x") -> AuditRecord:
    values = {
        "top1": proportion(1609, 2000),
        "psnr.conv1": exact(21.25, "dB"),
        "count": exact(12345, "images"),
        "odd": Value(None, "exact", ""),
        "void": Value(0.5, "exact", "share", flags=("void: x",)),
    }
    section = Section("performance", "Performance", "done", values=values)
    return AuditRecord(
        1, name, {}, {}, {}, {"performance": (Measure("top1", title, "share", "higher", "."),)}, {"performance": section}
    )


def rendered(text: str) -> str:
    return MarkdownIt("commonmark").enable("table").enable("strikethrough").render(text)


def cells(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.S)
    return [[unescape(re.sub(r"<.*?>", "", cell)) for cell in re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row, re.S)] for row in rows]


def test_it_says_verdict_rules_and_figures() -> None:
    outcomes = (
        Outcome("filters.dead_fraction", "pass", "Dead filters is 0 %; at most 20 % was asked for.", {}),
        Outcome("performance.top1", "inconclusive", "Top-1 accuracy is 80.5 %.", {}, needed=5200),
    )
    html = rendered(summary(audit(), Verdict("inconclusive", 4, "Too few samples.", outcomes)))
    assert "<h2>Inconclusive: x</h2>" in html
    assert "<p>Too few samples.</p>" in html
    found = cells(html)
    assert found[1] == ["Inconclusive", "performance.top1", "Top-1 accuracy is 80.5 %. About 5,200 samples would decide it."]
    assert found[2][:2] == ["Pass", "filters.dead_fraction"]
    assert ["Top-1 accuracy", "80.5 %", "78.9 % to 81.9 %", "2,000"] in found
    assert ["psnr of conv1", "21.2 dB", "", ""] in found
    assert ["count", "12,345 images", "", ""] in found
    assert ["odd", "–", "", ""] in found
    assert ["void", "50.0 % (void)", "", ""] in found


@pytest.mark.parametrize("text", NASTY)
def test_a_users_string_stays_text(text: str) -> None:
    outcomes = (Outcome(f"performance.recall.{text}", "fail", text, {}),)
    html = rendered(summary(audit(title=text, name=text), Verdict("fail", 1, text, outcomes)))
    assert set(re.findall(r"<(\w+)", html)) <= {"h2", "p", "table", "thead", "tbody", "tr", "th", "td"}
    found = cells(html)
    assert found[1] == ["Fail", f"performance.recall.{text}", text]
    assert found[3][0] == text
    assert f"<p>{unescape(html.split('<p>')[1].split('</p>')[0])}</p>" == f"<p>{text}</p>"
    assert "http:" not in summary(audit(), Verdict("fail", 1, text, outcomes))  # no bare address becomes a link


def test_control_and_direction_characters_are_shown_as_such() -> None:
    text = summary(audit(), Verdict("fail", 1, "a\x00\n\u202eb\ud800", ()))
    assert "a\ufffd\ufffd\ufffdb\ufffd" in text
    assert text.encode()


def test_it_stays_under_one_mebibyte() -> None:
    outcomes = tuple(Outcome(f"p.m.{'<' * 5000}{i}", "fail", "&" * 100_000, {}) for i in range(3000))
    text = summary(audit(), Verdict("fail", 1, "w" * 2_000_000, outcomes))
    assert len(text.encode()) < 2**20
    assert "and 2,900 more rules in the report" in text


def test_without_rules_or_figures_it_is_short() -> None:
    text = summary(AuditRecord(1, "x", {}, {}, {}, {}, {}), Verdict("not_gated", 0, "No rules were given."))
    assert text.startswith("## Not gated: x\n\nNo rules were given.\n\nExit code 0.")
    assert "|" not in text
