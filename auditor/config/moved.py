"""Figures that have moved to another probe: their old names go on working, in policies, waivers, baselines and old audits."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

MOVED: Mapping[str, str] = {"performance.ece": "calibration.ece"}
"""`probe.measure` as it was called -> as it is called."""
BACK: Mapping[str, str] = {new: old for old, new in MOVED.items()}


def today_of(id: str) -> str:
    """A figure's id, with a scope behind it or not, by the name that it has today."""
    return renamed(id, MOVED)


def name_in(id: str, held: Container[str]) -> str:
    """The name that a figure has among `held` ids `probe.measure`: its own, the one before it moved, or the one after."""
    stem = ".".join(id.split(".", 2)[:2])
    if stem in held:
        return id
    other = next((table[stem] for table in (MOVED, BACK) if table.get(stem) in held), None)
    return id if other is None else other + id[len(stem) :]


def renamed(id: str, table: Mapping[str, str]) -> str:
    """`probe.measure` or `probe.measure.scope` by a table of the former."""
    stem = ".".join(id.split(".", 2)[:2])
    return table.get(stem, stem) + id[len(stem) :]


def probes_for(measures: Sequence[str], among: Container[str]) -> tuple[str, ...]:
    """Probes that hold a figure today which `measures` call by a name from when a probe `among` held it."""
    moved = [(m.split(".", 1)[0], today_of(m).split(".", 1)[0]) for m in measures if today_of(m) != m]
    return tuple(dict.fromkeys(new for old, new in moved if old in among))
