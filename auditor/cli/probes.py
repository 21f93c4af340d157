"""`auditor probes list` and `auditor probes explain NAME`: from each probe's one docstring."""

from __future__ import annotations

import json

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
    for row in rows:
        print(f"{row['id']:<12} {row['asks']}\n{'':<12} {', '.join(row['measures'])}")


def explain(name: str) -> None:
    """What a probe asks, its formula, how to read it, when it misleads, its parameters, measures and papers."""
    probe = named(name)
    words = about(probe)
    print(f"{name}: {probe.title}\n")
    for head, text in (("Asks", words.asks), ("Formula", words.formula), ("Read", words.read), ("Misleads", words.misleads)):
        if text:
            print(f"{head}: {text}\n")
    print("Parameters: " + (", ".join(f"{k} = {v!r}" for k, v in probe().parameters().items()) or "none") + "\n")
    for measure in probe.measures:
        print(f"  {name}.{measure.name} [{measure.unit}]: {measure.meaning}")
    print("\n" + "\n".join(probe.cites))
