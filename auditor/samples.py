"""What an audit keeps of each sample: a row of predictions.parquet, a thumbnail, features, and eight inputs."""

from __future__ import annotations

import numpy as np
from PIL import Image

from auditor.dataset import Dataset
from auditor.evidence import Evidence
from auditor.evidence.pca import pca
from auditor.types import Array

MOST_FEATURES = 4096
"""Images whose features are kept, for the comparison with another audit: at most 50 components in 16 bits, 0.4 MB."""
TILE, COLUMNS, MOST_TILES, INPUTS, SMALL = 48, 32, 2048, 8, 64


def sample_table(dataset: Dataset, evidence: Evidence) -> dict[str, Array]:
    """Column -> (N,); NaN where a sample has no label, no scores."""
    samples = dataset.samples
    count = len(samples)
    columns: dict[str, Array] = {
        "index": np.arange(count, dtype=np.int64),
        "key": np.array([s.key for s in samples], dtype=object),
        "name": np.array([s.name.encode("utf-8", "backslashreplace").decode() for s in samples], dtype=object),
        "label": np.asarray(dataset.labels, dtype=np.int64),
    }
    predictions = evidence.predictions
    if predictions is not None:
        columns |= {
            "predicted": predictions.predicted,
            "confidence": predictions.confidence,
            "correct": np.where(predictions.labelled, predictions.correct.astype(np.float32), np.float32(np.nan)),
            "loss": predictions.loss,
        }
    for name in sorted({key for sample in samples for key in sample.slices}):
        columns[f"slice.{name}"] = np.array([s.slices.get(name, "") for s in samples], dtype=object)
    return columns


def sample_features(evidence: Evidence) -> dict[str, Array]:
    """features.npy (M,r) float16: the first components of the features of some images, as a whole scaled into [-1,1]; where they
    stand, features-positions.npy (M,) int32; and features-variance.npy (r+1,) float32: the variance along each, and the rest.

    A rotation and a scale of the features themselves, but for what the last number says. Nothing where one is not finite.
    """
    positions = np.sort(evidence.chosen(MOST_FEATURES))
    if not len(positions) or not np.isfinite(evidence.features[positions]).all():
        return {}
    found = evidence.pca if len(positions) == len(evidence.features) else pca(evidence.features[positions])
    coordinates = found.coordinates
    scale = float(np.abs(coordinates).max()) or 1.0
    return {
        "features.npy": (coordinates / scale).astype(np.float16),
        "features-positions.npy": positions.astype(np.int32),
        "features-variance.npy": np.append(found.explained, found.residual).astype(np.float32),
    }


def tile(picture: Array, side: int = TILE) -> Array:
    """(side,side,3) uint8: the picture, centred on grey, its longer side `side` px."""
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).convert("RGB")
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = Image.new("RGB", (side, side), (127, 127, 127))
    canvas.paste(
        image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST),
        ((side - size[0]) // 2, (side - size[1]) // 2),
    )
    return np.asarray(canvas)


def sample_index(evidence: Evidence) -> dict[str, object]:
    """Which samples the sprite and the inputs show: sprite.json."""
    return {
        "tile": TILE,
        "columns": COLUMNS,
        "positions": np.sort(evidence.chosen(MOST_TILES)).tolist(),
        "inputs": evidence.chosen(INPUTS).tolist(),
    }


def sample_pictures(dataset: Dataset, evidence: Evidence) -> dict[str, Array]:
    """Artifact -> array: sprite.jpg (tiles of 48 px, 32 a row) and inputs-*.jpg (.png where small)."""
    shown = np.sort(evidence.chosen(MOST_TILES))
    rows = -(-len(shown) // COLUMNS)
    sprite = np.full((rows * TILE, COLUMNS * TILE, 3), 127, dtype=np.uint8)
    for place, position in enumerate(shown):
        y, x = divmod(place, COLUMNS)
        sprite[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE] = tile(dataset.pixels([int(position)])[0])
    pictures: dict[str, Array] = {"sprite.jpg": sprite}
    first = evidence.chosen(INPUTS)
    for place, picture in enumerate(dataset.pixels(first)):
        pictures[f"inputs-{place}.{'jpg' if max(picture.shape) > SMALL else 'png'}"] = np.asarray(picture)
    return pictures
