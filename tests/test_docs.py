"""The README is true: every verb, every probe, every measure and every exit code stands in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from auditor.cli import app
from auditor.probes import registry

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_every_verb_is_in_the_readme() -> None:
    names = [c.name or c.callback.__name__.rstrip("_") for c in app.registered_commands if c.callback]
    assert len(names) >= 9
    assert [n for n in names if f"`auditor {n}`" not in README] == []


@pytest.mark.parametrize("name", list(registry()))
def test_every_probe_is_in_the_readme_with_its_measures(name: str) -> None:
    row = re.search(rf"^\| `{name}` \|.*$", README, re.M)
    assert row, f"no row for {name}"
    named = re.findall(r"`(\w+)`", row.group())[1:]
    assert set(named) <= {m.name for m in registry()[name].measures}


@pytest.mark.parametrize("name", list(registry()))
def test_a_probe_has_its_three_places_and_its_four_paragraphs(name: str) -> None:
    from auditor.probe import about

    root = Path(__file__).parent.parent
    assert (root / f"templates/probes/{name}.html").exists()
    assert (root / f"tests/probes/test_{name}.py").exists()
    words = about(registry()[name])
    assert all((words.asks, words.formula, words.read, words.misleads)), f"{name}: the docstring lacks a paragraph"
    assert registry()[name].cites
    assert all("." not in m.name for m in registry()[name].measures)
