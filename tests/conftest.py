"""What every test stands on: one thread, no network, a work folder of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")


@pytest.fixture(autouse=True)
def own_work_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of one test is cached for another."""
    folder = tmp_path_factory.mktemp("work")
    monkeypatch.setenv("AUDITOR_WORK", str(folder))
    return folder
