"""`auditor probes list` and `auditor probes explain NAME`: from each probe's one docstring."""

from __future__ import annotations

import json
import shutil
import textwrap

from auditor.probe import about
from auditor.probes import named, registry


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
