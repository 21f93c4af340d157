"""`auditor probes list` and `explain NAME`, from each probe's one docstring; `new NOUN`, a package with a probe that works."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path

from auditor.errors import ConfigError
from auditor.probe import about
from auditor.probes import named, registry
from auditor.report.engine import templates_folder


def list_probes(*, json_: bool) -> None:
    """One line a probe: id, question, measures; with `json_` as one array."""
    rows = [
        {"id": name, "title": probe.title, "asks": about(probe).asks, "measures": [m.name for m in probe.measures]}
        for name, probe in registry().items()
    ]
    if json_:
        print(json.dumps(rows, indent=1))
        return
    width = max(len(str(row["id"])) for row in rows)
    for row in rows:
        print(f"{row['id']:<{width}}  {row['asks']}\n{'':<{width}}  {', '.join(row['measures'])}")


def explain(name: str) -> None:
    """What a probe asks, its formula, how to read it, when it misleads, its parameters, measures and papers."""
    probe = named(name)
    words = about(probe)
    print(f"{name}: {probe.title}\n")
    for head, text in (("Asks", words.asks), ("Formula", words.formula), ("Read", words.read), ("Misleads", words.misleads)):
        if text:
            print(wrapped(f"{head}: {text}") + "\n")
    print(wrapped("Parameters: " + (", ".join(f"{k} = {v!r}" for k, v in probe().parameters().items()) or "none")) + "\n")
    for measure in probe.measures:
        unit = f" [{measure.unit}]" if measure.unit else ""
        print(wrapped(f"{name}.{measure.name}{unit}: {measure.meaning}"))
    print("\n" + "\n".join(probe.cites))


def wrapped(text: str) -> str:
    """A paragraph for a terminal: at most 100 columns, later lines set in."""
    columns = min(100, shutil.get_terminal_size().columns)
    return textwrap.fill(text, columns, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def new(noun: str) -> None:
    """Write the package auditor-NOUN into this folder: probe, template and contract test, a working example to be replaced.

    Raises ConfigError for a name that no module can have, that a probe has already, or where the folder exists.
    """
    if not (noun.isidentifier() and noun.islower()) or noun in registry():
        why = "there is a probe of that name" if noun in registry() else "expected small letters, digits and _"
        raise ConfigError(f"`probes new {noun}`: {why}; give a noun such as brightness")
    root, package = Path(f"auditor-{noun}"), f"auditor_{noun}"
    if root.exists():
        raise ConfigError(f"{root} exists already; remove it, or give another noun")
    words = {"NOUN": noun, "CLASS": noun.title().replace("_", ""), "TITLE": noun.replace("_", " ").capitalize()}
    places = {
        "pyproject.toml": "pyproject.toml",
        "probe.py": f"{package}/{noun}.py",
        "section.html": f"{package}/templates/probes/{noun}.html",
        "test.py": f"tests/test_{noun}.py",
    }
    for source, place in places.items():
        text = (templates_folder() / "plugin" / source).read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(word, value)
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text, encoding="utf-8")
    (root / package / "__init__.py").write_text(f'"""The probe `{noun}` for auditor."""\n', encoding="utf-8")
    print(f"{root}: pip install -e {root}, then `auditor probes explain {noun}`; pytest {root} checks its contract")
