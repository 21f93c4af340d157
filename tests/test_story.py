"""The pull request of docs/gate.md: its commands are run as they stand there, and end as it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.demo import data
from auditor.demo.models import WEIGHTS, build
from auditor.store import read_verdict
from tests.cli.world import called

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "gate.md").read_text()
STORY = PAGE.partition("## A pull request, from end to end")[2].partition("\n## ")[0]
COMMAND = re.compile(r"^\$ auditor (.*?)\s+# (\d+)$", re.M)


def candidate(folder: Path) -> None:
    """A head that is slow to say three and quick to say five."""
    weights = load_file(WEIGHTS / "digits.safetensors")
    weights["linear.bias"][3] -= 7
    weights["linear.bias"][5] += 2
    save_file(weights, folder / "candidate.safetensors")


def better(folder: Path) -> None:
    """The head with its biases moved where that mends mistakes."""
    model, _, _ = build("digits")
    images, labels = data.load_digits()
    _, held = data.split(labels)
    pixels, truth = torch.from_numpy(images[held]).unsqueeze(1).float() / 127.5 - 1, torch.from_numpy(labels[held])
    with torch.no_grad():
        scores = model(pixels)
        moved = torch.zeros(10)
        for _ in range(2):
            for k in range(10):
                tries = [moved + step * torch.eye(10)[k] for step in (0.0, -0.6, -0.3, 0.3, 0.6)]
                moved = max(tries, key=lambda bias: int(((scores + bias).argmax(1) == truth).sum()))
        gained = int(((scores + moved).argmax(1) == truth).sum()) - int((scores.argmax(1) == truth).sum())
    assert gained > 0
    weights = load_file(WEIGHTS / "digits.safetensors")
    weights["linear.bias"] += moved
    save_file(weights, folder / "better.safetensors")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int, int, str]]:
    """Every command of the story with the exit code it promises, the one it had, and what it said."""
    here = tmp_path_factory.mktemp("story")
    data.build("digits", here / "digits")
    candidate(here)
    better(here)
    (policy,) = re.findall(r"```toml\n(.*?)```", STORY, re.S)
    (here / "audit.toml").write_text(policy)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUDITOR_WORK", str(here / "work"))
        for line, code in COMMAND.findall(STORY):
            got, out, err = called(*shlex.split(line), cwd=here)
            found.append((line, int(code), got, out + err))
            if line.startswith("check reports/candidate --today 2026-08-03"):
                called(*shlex.split(line), "--write", cwd=here)
                verdict = read_verdict(here / "reports" / "candidate")
                assert verdict is not None
                found[-1] = (*found[-1][:3], out + " ".join(n for o in verdict.outcomes if o.verdict == "fail" for n in o.names))
                found[-1] = (*found[-1][:3], found[-1][3] + (here / "reports/candidate/junit.xml").read_text())
    return found


def test_every_command_of_the_story_ends_as_it_says(told: list[tuple[str, int, int, str]]) -> None:
    assert len(told) == STORY.count("$ auditor ") == 11
    assert [(line, code) for line, code, _, _ in told] == [(line, got) for line, _, got, _ in told], told[-1]


def said(told: list[tuple[str, int, int, str]], start: str) -> str:
    """What the command that starts so said."""
    return next(text for line, _, _, text in told if line.startswith(start))


def test_the_regression_is_named_with_its_images(told: list[tuple[str, int, int, str]]) -> None:
    check = said(told, "check reports/candidate --today 2026-08-03")
    assert "FAIL          performance.recall.3" in check
    assert check.count("FAIL  ") == 1
    assert re.search(r"\b3/\d{4}\.png", check)
    assert "newly wrong" in said(told, "compare")
    junit = check[check.index("<?xml") :]
    assert re.search(r"Images, worst first: 3/\d{4}\.png, 3/\d{4}\.png", junit)


def test_the_waiver_lets_it_through_until_its_last_day(told: list[tuple[str, int, int, str]]) -> None:
    assert "expires = 2026-08-31" in said(told, "waive")
    assert "WAIVED" in said(told, "check reports/candidate --today 2026-08-31")
    over = said(told, "check reports/candidate --today 2026-09-01")
    assert "waiver.W1" in over
    assert "is expired: it ended on 2026-08-31" in over


def test_the_better_one_passes_and_becomes_the_baseline(told: list[tuple[str, int, int, str]]) -> None:
    check = said(told, "check reports/better")
    assert re.search(r"recall on each of 10: .*pass", check)
    assert "waiver.W1" in check
    assert "unused" in check
    assert "first    main, set on 2026-08-01" in said(told, "baseline set reports/better")


def test_the_examples_of_the_page_load() -> None:
    import tomllib

    from auditor.config import load_config

    for block in re.findall(r"```toml\n(.*?)```", PAGE, re.S):
        load_config(tomllib.loads(block))
    assert (DOCS / "gate-errors.svg").is_file()
    for file in ("github-pull-request.yml", "github-nightly.yml", "gitlab-ci.yml"):
        assert (DOCS / "ci" / file).is_file()
