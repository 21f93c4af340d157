"""A parameter that a probe names as `only_shown` alters no figure of it: every one of them, in a real audit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from auditor import api, testing
from auditor.probes import registry

OTHER: dict[str, dict[str, Any]] = {
    "performance": {"gallery": 3},
    "calibration": {"gallery": 2},
    "activations": {"images": 1},
    "patches": {"units": 3},
    "neighbours": {"queries": 2, "neighbours": 2},
    "embedding": {"pixels": 2000},
    "style": {"own_colours": True},
}
NAMES_ALONE = {"shape_bias": {"cues", "categories"}, "style": {"styles"}}
"""Parameters that are names of files: `content` stands for what they hold."""


def test_every_such_parameter_is_tried() -> None:
    every = {name: probe.only_shown - NAMES_ALONE.get(name, set()) for name, probe in registry().items()}
    named = {name: parameters for name, parameters in every.items() if parameters}
    assert named == {name: frozenset(values) for name, values in OTHER.items()}
    for name, probe in registry().items():
        assert probe.only_shown <= set(probe().parameters()), name


@pytest.mark.parametrize("name", list(OTHER))
def test_what_only_shows_alters_no_figure(name: str, tmp_path: Path) -> None:
    model, data = testing.world()
    quick = dict(registry()[name].profiles.get("quick") or {})
    found = []
    for place, values in enumerate(({}, OTHER[name])):
        made = registry()[name](**{**quick, **values})
        audit = api.run(
            model, data, preprocess=testing.PREPROCESS, probes=[made], out=tmp_path / str(place), work=tmp_path / f"work{place}",
            profile="quick", device="cpu",
        )  # fmt: skip
        found.append(audit[name])
    one, other = found
    assert one.status == other.status == "done"
    assert dict(one.values) == dict(other.values)
    assert one.parameters != other.parameters
    assert set(one.only_shown) == set(OTHER[name]) | NAMES_ALONE.get(name, set())
