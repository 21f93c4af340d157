"""What an audit keeps for the comparison with another: features of its images, and the largest values of its units.

Files of an audit folder are read as they come, from whoever made them: what does not fit is left out, never raised.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from auditor.errors import StoreError
from auditor.gate.likeness import MOST_CHANNELS, Kept, Peaks
from auditor.store import artifact
from auditor.types import Array, AuditRecord

MOST_IMAGES, MOST_WIDE = 20_000, 4096
"""Rows and columns that are read at most."""


def read_array(folder: Path, probe: str, file: str) -> Array | None:
    """A table of finite numbers; None where there is none."""
    try:
        path = artifact(folder, probe, file)
        root = (folder / "artifacts").resolve()
        if not path.is_file() or not path.resolve().is_relative_to(root):
            return None
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if found.dtype.kind not in "fiu" or found.ndim > 2 or len(found.shape) == 0 or found.shape[0] > MOST_IMAGES:
            return None
        if found.ndim == 2 and found.shape[1] > MOST_WIDE:
            return None
        whole = np.array(found)
    except (OSError, ValueError, StoreError):
        return None
    return whole if np.isfinite(whole).all() else None


def read_features(folder: Path) -> Kept | None:
    """The features of some images; None where the audit holds none."""
    features, positions, variance = (
        read_array(folder, "samples", f"features{part}.npy") for part in ("", "-positions", "-variance")
    )
    if features is None or positions is None or variance is None or features.ndim != 2 or not fits(positions, len(features)):
        return None
    if variance.ndim != 1 or not len(variance):
        return None
    total = float(variance.sum(dtype=np.float64))
    return Kept(
        positions.astype(np.int64), features.astype(np.float64), 1.0 if total <= 0 else 1 - float(variance[-1]) / total
    )  # fmt: skip


def read_peaks(folder: Path, record: AuditRecord) -> dict[str, Peaks]:
    """Layer -> the largest values of its units, as `patches` kept them."""
    section, found = record.sections.get("patches"), {}
    for figure in section.figures if section is not None else ():
        layer = figure.data.get("layer")
        if not isinstance(layer, str) or not figure.name.startswith("layer-"):
            continue
        positions, values = (read_array(folder, "patches", f"{figure.name}-{part}.npy") for part in ("some", "peaks"))
        if positions is None or values is None or values.ndim != 2 or not fits(positions, len(values)):
            continue
        if values.shape[1] <= MOST_CHANNELS:
            found[layer] = Peaks(positions.astype(np.int64), values)
    return found


def fits(positions: Array, rows: int) -> bool:
    """(rows,) whole numbers, each once."""
    return positions.ndim == 1 and positions.dtype.kind in "iu" and len(positions) == rows == len(np.unique(positions))
