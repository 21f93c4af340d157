"""`auditor init`: a commented audit.toml."""

from __future__ import annotations

from pathlib import Path

from auditor.config import default_toml
from auditor.errors import ConfigError
from auditor.store import write_bytes


def write_config(path: Path, *, force: bool) -> Path:
    """Write the commented default to `path`; an existing file is kept unless `force`."""
    if path.exists() and not force:
        raise ConfigError(f"{path} exists and was kept; give another name, or --force to replace it")
    write_bytes(path, default_toml().encode())
    return path
