from __future__ import annotations

from pathlib import Path

from auditor.report import render_listing
from tests.report import audits


def test_it_lists_whole_audits_and_is_written_again(tmp_path: Path) -> None:
    for name in ("one", ".two.partial"):
        audits.write_audit(tmp_path / name, name=name)
    page = render_listing(tmp_path)
    assert page is not None
    assert 'href="one/index.html"' in page.read_text()
    assert "two" not in page.read_text()
    audits.write_audit(tmp_path / "three", name="three")
    assert render_listing(tmp_path) == page
    assert 'href="three/index.html"' in page.read_text()


def test_somebody_elses_page_is_kept(tmp_path: Path) -> None:
    audits.write_audit(tmp_path / "one", name="one")
    (tmp_path / "index.html").write_text("<html>my site</html>")
    assert render_listing(tmp_path) is None
    assert (tmp_path / "index.html").read_text() == "<html>my site</html>"


def test_a_damaged_audit_is_listed_as_such(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "audit.json").write_text("{")
    page = render_listing(tmp_path)
    assert page is not None
    assert "Unreadable" in page.read_text()
