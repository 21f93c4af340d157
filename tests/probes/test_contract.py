"""What holds for every probe: it is documented, keeps its promises, and leaves the model as it found it, also when it raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from auditor import testing
from auditor.probes import registry


@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", list(registry()))
def test_every_probe_keeps_the_contract(name: str, check: Any, tmp_path: Path) -> None:
    check(registry()[name], tmp_path)
