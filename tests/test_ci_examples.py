"""The workflows in docs/ci: valid YAML, and every auditor command in them is one that there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from auditor.cli import app

EXAMPLES = sorted((Path(__file__).parents[1] / "docs" / "ci").glob("*.yml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_yaml_with_commands_that_exist(path: Path) -> None:
    text = path.read_text()
    assert yaml.safe_load(text)
    commands = re.findall(r"(?:run: |- )(auditor [^|#\n]*)", text)
    assert commands
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    for command in commands:
        _, verb, *arguments = shlex.split(command.strip())
        options = {option for parameter in verbs[verb].params for option in parameter.opts}
        given = {a for a in arguments if a.startswith("--")}
        assert given <= options, command


def test_artifacts_are_kept_always_and_inconclusive_may_pass() -> None:
    gitlab = yaml.safe_load((EXAMPLES[0].parent / "gitlab-ci.yml").read_text())
    assert gitlab[".audit"]["allow_failure"] == {"exit_codes": [4]}
    assert gitlab[".audit"]["artifacts"]["when"] == "always"
    github = (EXAMPLES[0].parent / "github-pull-request.yml").read_text()
    assert github.count("if: always()") >= 4
