"""What holds for every probe: it is documented, keeps its promises, and leaves the model as it found it, also when it raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from auditor import testing
from auditor.probes import registry
from auditor.probes.generator import Generator
from auditor.probes.shape_bias import ShapeBias


@pytest.fixture(autouse=True)
def cues(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """shape_bias asks for a folder of its own: two classes of the model, each in the texture of the other."""
    folder = tmp_path_factory.mktemp("cues")
    for shape, texture in (("0", "1"), ("1", "0")):
        (folder / shape).mkdir()
        picture = np.random.default_rng(int(shape)).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / shape / f"{shape}-{texture}.png")
    (folder / "categories.json").write_text('{"0": [0], "1": [1]}')
    monkeypatch.setattr(ShapeBias, "profiles", {"quick": {"cues": str(folder)}})


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """generator is left out of the profile quick; its default is minutes of training."""
    monkeypatch.setattr(Generator, "profiles", {"quick": {"steps": 40, "batch": 8, "width": 4, "pictures": 1}})


@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", list(registry()))
def test_every_probe_keeps_the_contract(name: str, check: Any, tmp_path: Path) -> None:
    check(registry()[name], tmp_path)
