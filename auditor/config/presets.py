"""Rules to start from, by name and version. A published version never changes: other thresholds get another version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRESETS: Mapping[str, tuple[Mapping[str, Any], ...]] = {}
