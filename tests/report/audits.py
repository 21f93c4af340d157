"""A synthetic audit folder that holds every kind of figure, every status, and names that try to break out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from auditor import store
from auditor.types import About, Array, AuditRecord, Figure, Measure, Outcome, Section, Stamp, Value, Verdict

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    '" onload="alert(3)',
    "javascript:alert(4)",
    "{{ 7*7 }}",
    "a\u2028b\u202ec\x00d",
)
CLASSES = (*HOSTILE, "tabby cat", "goldfish", "1", "1")
N = 120


def photograph(seed: int, size: int = 96) -> Array:
    """(size,size,3) uint8: soft blobs of colour."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    image = np.tile(rng.uniform(60, 180, 3), (size, size, 1))
    for _ in range(5):
        cx, cy, r = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.1, 0.35)
        image += np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / r**2)[..., None] * rng.uniform(-110, 110, 3)
    return np.clip(image, 0, 255).astype(np.uint8)


def heat(seed: int, size: int = 14) -> Array:
    """(size,size,3) uint8 map from dark to light."""
    grey = photograph(seed, size).mean(-1, keepdims=True) / 255
    return (grey * np.array([255, 170, 60]) + (1 - grey) * np.array([20, 24, 60])).astype(np.uint8)


def gallery(name: str, title: str, columns: list[str], rows: int, *, pixelated: bool = False) -> tuple[Figure, dict[str, Array]]:
    """A gallery figure and its files."""
    files = {
        f"{name}-{r}-{c}.{'png' if c else 'jpg'}": heat(9 * r + c) if c else photograph(r)
        for r in range(rows)
        for c in range(len(columns))
    }
    data = {
        "columns": columns,
        "scale": "each map from its smallest to its largest value",
        "rows": [
            {
                "label": CLASSES[r % len(CLASSES)],
                "note": f"row {r}",
                "sample": r,
                "cells": [
                    {
                        "file": f"{name}-{r}-{c}.{'png' if c else 'jpg'}",
                        "label": f"p = 0.{r}{c}",
                        "note": HOSTILE[0] if r == c else None,
                    }
                    for c in range(len(columns))
                ],
            }
            for r in range(rows)
        ],
    }
    return Figure(
        name, "gallery", title, "Pictures of what was asked.", {**data, "pixelated": pixelated} if pixelated else data
    ), files


def performance() -> tuple[Section, dict[str, Array]]:
    """Bars, lines, histogram, heatmap, table, note and a flowing gallery."""
    rng = np.random.default_rng(1)
    recall = np.linspace(0.52, 0.98, len(CLASSES))
    hardest, files = gallery("hardest", "Hardest images", ["image"], 12)
    files["confusion.npy"] = rng.integers(0, 30, (len(CLASSES), len(CLASSES))).astype(np.float32) + 90 * np.eye(
        len(CLASSES), dtype=np.float32
    )
    bins = np.linspace(0.1, 0.9, 9)
    figures = (
        hardest,
        Figure(
            "recall",
            "bars",
            "Recall by class",
            "Weakest first, with 90 % intervals.",
            {
                "labels": list(CLASSES),
                "values": recall.tolist(),
                "low": (recall - 0.06).tolist(),
                "high": np.minimum(1, recall + 0.05).tolist(),
                "n": [200] * len(CLASSES),
                "x_label": "recall",
                "y_label": "class",
                "horizontal": True,
                "highlight": [0, 1],
                "format": "percent",
            },
        ),
        Figure(
            "confusion",
            "heatmap",
            "Confusion matrix",
            "Rows are labels, columns predictions.",
            {
                "file": "confusion.npy",
                "row_labels": list(CLASSES),
                "column_labels": list(CLASSES),
                "x_label": "predicted",
                "y_label": "label",
            },
        ),
        Figure(
            "reliability",
            "lines",
            "Reliability",
            "On the diagonal confidence is honest.",
            {
                "x_label": "confidence",
                "y_label": "accuracy",
                "series": [
                    {
                        "name": "model",
                        "x": bins.tolist(),
                        "y": (bins**1.4).tolist(),
                        "low": (bins**1.4 - 0.04).tolist(),
                        "high": (bins**1.4 + 0.04).tolist(),
                    },
                    {"name": HOSTILE[1], "x": [0, 1], "y": [0, 1], "dashed": True},
                ],
            },
        ),
        Figure(
            "confidences",
            "histogram",
            "Confidence, right and wrong",
            "",
            {
                "x_label": "confidence",
                "y_label": "images",
                "series": [
                    {"name": "right", "edges": np.linspace(0, 1, 21).tolist(), "counts": (np.arange(20) ** 2).tolist()},
                    {"name": "wrong", "edges": np.linspace(0, 1, 21).tolist(), "counts": (150 - 7 * np.arange(20)).tolist()},
                ],
            },
        ),
        Figure(
            "pairs",
            "table",
            "Commonest confusions",
            "",
            {
                "columns": [
                    {"key": "a", "label": "label", "format": "text"},
                    {"key": "b", "label": HOSTILE[0], "format": "text"},
                    {"key": "n", "label": "images", "format": "integer"},
                    {"key": "share", "label": "share", "format": "percent"},
                ],
                "rows": [{"a": CLASSES[i], "b": CLASSES[-i], "n": 12 - i, "share": 0.1 / (i + 1)} for i in range(8)],
            },
        ),
        Figure("told", "note", "In words", "", {"text": "Two classes share one name; they are told apart by their place."}),
    )
    values = {
        "top1": Value(0.8045, "proportion", "share", 2000, 1609, 0.789, 0.819),
        "worst_class_recall": Value(0.52, "statistic", "share", 2000, None, 0.47, 0.58),
        "macro_recall": Value(0.80, "statistic", "share", 2000, None, 0.785, 0.82),
        "ece": Value(0.041, "statistic", "share", 2000, None, 0.03, 0.05),
        "top5": Value(0.99, "proportion", "share", 2000, 1980, 0.985, 0.994),
    }
    return Section(
        "performance",
        "Performance",
        "done",
        values=values,
        figures=figures,
        notes=(f"Weakest: {CLASSES[0]} at 52.0 % of 200.",),
        parameters={"bins": 15},
        about=ABOUT,
        cites=("Guo et al. 2017, On Calibration of Modern Neural Networks.",),
        cost={"forwards": 2000.0},
    ), files


ABOUT = About(
    "How often is the model right, and does it know when it is not?",
    "ECE = sum_b n_b/n |acc_b - conf_b|, 15 bins",
    "Bars to the right of the others are better. A dot is a class.",
    "With few images a class's bar moves by chance; look at its interval.",
)


def embedding() -> tuple[Section, dict[str, Array]]:
    """A scatter of all samples in two views, and a picture of nine of them that is linked in full size."""
    rng = np.random.default_rng(2)
    labels = np.arange(N) % len(CLASSES)
    angle = 2 * np.pi * labels / len(CLASSES)
    base = np.stack([np.cos(angle), np.sin(angle)], 1) * 5
    files = {
        "tsne.npy": (base + rng.normal(size=(N, 2))).astype(np.float32),
        "pca.npy": (base * [1, 0.3] + rng.normal(size=(N, 2))).astype(np.float32),
    }
    scatter = Figure(
        "map",
        "scatter",
        "The data in two dimensions",
        "Each dot is an image; hover to see it.",
        {
            "views": [{"name": "t-SNE", "file": "tsne.npy"}, {"name": "PCA", "file": "pca.npy"}],
            "positions": None,
            "color": "label",
        },
    )
    rows = [np.concatenate([photograph(3 * r + c, 90) for c in range(3)], 1) for r in range(3)]
    files["grid.jpg"] = np.concatenate(rows, 0)
    files["grid full.png"] = files["grid.jpg"].repeat(4, 0).repeat(4, 1)  # a name that must be quoted in a link
    files["grid.npy"] = np.array([[i, 90 * (i % 3), 90 * (i // 3)] for i in range(9)], dtype=np.int32)
    files["seams.png"] = np.arange(192, dtype=np.uint8)[None].repeat(12, 0)
    grid = Figure(
        "grid",
        "sheet",
        "Grid",
        "Nine images.",
        {
            "file": "grid.jpg", "full": "grid full.png", "tile": [90, 90], "columns": 3, "count": 9, "scale": "", "alt": f"nine {HOSTILE[2]}",
            "places": {"file": "grid.npy", "tile": 90}, "legend": {"file": "seams.png", "low": "0", "high": "7.5", "label": HOSTILE[0]},
        },
    )  # fmt: skip
    return Section(
        "embedding",
        "Embedding",
        "done",
        figures=(scatter, grid),
        about=ABOUT,
        values={"trustworthiness": Value(0.941, "statistic", "", N, None, 0.93, 0.95, flags=("approximate: 90 neighbours",))},
    ), files


def others() -> list[tuple[Section, dict[str, Array]]]:
    """Wide and narrow galleries, a sheet, and sections that failed or do not apply."""
    maps, map_files = gallery(
        "maps", "Where the score comes from", ["input", "probability", "score drop", "gradient", "SmoothGrad"], 5
    )
    fooled, fooled_files = gallery("fooled", "Fooling images", ["original", "fooled", "difference"], 4, pixelated=True)
    sheet = np.concatenate([np.concatenate([photograph(8 * r + c, 7) for c in range(8)], 1) for r in range(4)], 0)
    return [
        (
            Section(
                "occlusion",
                "Occlusion",
                "done",
                figures=(maps,),
                about=ABOUT,
                values={
                    f"deletion_auc.layer{i}": Value(0.2 + i / 40, "statistic", "share", 64, None, 0.1 + i / 40, 0.3 + i / 40)
                    for i in range(9)
                },
            ),
            map_files,
        ),
        (
            Section(
                "adversarial",
                "Adversarial",
                "done",
                figures=(fooled,),
                about=ABOUT,
                stamps=(Stamp("occlusion", "Doubtful", "the maps barely change."),),
                values={
                    "robust_accuracy": Value(
                        0.11, "proportion", "share", 200, 22, 0.08, 0.155, flags=("void: gradients are masked",)
                    )
                },
            ),
            fooled_files,
        ),
        (
            Section(
                "filters",
                "First-layer filters",
                "done",
                about=ABOUT,
                figures=(
                    Figure(
                        "filters",
                        "sheet",
                        "All filters",
                        "32 filters of 7 by 7.",
                        {
                            "file": "filters.png",
                            "tile": [7, 7],
                            "columns": 8,
                            "count": 32,
                            "labels": [f"filter {i}" for i in range(32)],
                            "scale": "one scale for all",
                        },
                    ),
                    Figure(
                        "gone",
                        "sheet",
                        "A lost picture",
                        "",
                        {"file": "gone.png", "tile": [7, 7], "columns": 8, "count": 32, "scale": ""},
                    ),
                    Figure("signed", "heatmap", "Correlations", "", {"values": [[1, -0.5, None], [-0.5, 1, 0.2]]}),
                ),
            ),
            {"filters.png": sheet},
        ),
        (
            Section(
                "saliency",
                "Saliency",
                "failed",
                reason="RuntimeError: no gradient reaches the input",
                traceback=f"Traceback:\n  {HOSTILE[1]}",
                about=ABOUT,
            ),
            {},
        ),
        (
            Section("inversion", "Feature inversion", "not_applicable", reason="the preprocessing cannot be undone", about=ABOUT),
            {},
        ),
    ]


def write_audit(folder: Path, *, name: str = f"demo {HOSTILE[0]}", verdict: bool = True) -> Path:
    """A complete audit folder without its page; returns it."""
    rng = np.random.default_rng(3)
    built = [performance(), embedding(), *others()]
    for section, files in built:
        store.write_artifacts(folder, section.id, files)
    write_samples(folder)
    labels = np.arange(N) % len(CLASSES)
    predicted = np.where(rng.uniform(size=N) < 0.8, labels, (labels + 1) % len(CLASSES))
    store.write_columns(
        folder,
        {
            "index": np.arange(N),
            "key": np.array([f"{i:064x}:0" for i in range(N)]),
            "name": np.array([f"{HOSTILE[i % 5]}/{i:04d}.jpg" for i in range(N)]),
            "label": labels,
            "predicted": predicted,
            "confidence": rng.uniform(0.3, 1, N),
            "correct": (labels == predicted).astype(float),
            "loss": rng.uniform(0, 3, N),
        },
    )
    measure = {
        "top1": "Top-1 accuracy",
        "worst_class_recall": "Worst class's recall",
        "macro_recall": "Mean recall",
        "ece": "Calibration error",
        "top5": "Top-5 accuracy",
    }
    catalogue = {
        "performance": tuple(
            Measure(k, v, "share", "lower" if k == "ece" else "higher", f"{v} in one plain sentence.") for k, v in measure.items()
        ),
        "deepdream": (Measure("drift", "Drift", "share", "none", "How far the classes drift."),),
    }
    store.write_audit(
        folder,
        AuditRecord(
            1,
            name,
            {
                "model": {
                    "source": "file.py:net",
                    "digest": "ab12",
                    "classes": list(CLASSES),
                    "notes": ["Weights: prefix `module.` was removed."],
                }
            },
            {
                "listed": N + 2,
                "ok": N - 5,
                "normalised": 5,
                "quarantined": 2,
                "coverage": N / (N + 2),
                "label_rule": "by sorted position",
                "entries": [{"name": HOSTILE[1], "reason": "truncated JPEG"}, {"name": "b.png", "reason": "empty file"}],
                "conversions": {"CMYK to RGB": 5},
                "warnings": ["One class has a single image."],
            },
            {"profile": "quick"},
            catalogue,
            {section.id: section for section, _ in built},
        ),
    )
    store.write_json(folder / "run.json", {"began": "2026-01-02T03:04:05Z", "seconds": 12.5, "host": HOSTILE[3]})
    if verdict:
        store.write_verdict(folder, VERDICT)
    return folder


VERDICT = Verdict(
    "fail",
    1,
    "Worst class's recall is 52.0 % (47.0 – 58.0 %), below the 60 % that the policy asks for.",
    (
        Outcome(
            "performance.worst_class_recall",
            "fail",
            f"Recall of {CLASSES[0]} is 52.0 % (47.0 – 58.0 %, n = 200); at least 60 % was asked for.",
            {"measure": "worst_class_recall", "at_least": 0.6},
            0.52,
            0.47,
            0.58,
            200,
            samples=(0, 11, 22, 33, 44, 55, 66),
        ),
        Outcome(
            "performance.top1",
            "pass",
            "Top-1 accuracy is 80.5 % (78.9 – 81.9 %, n = 2,000); at least 75 % was asked for.",
            {"at_least": 0.75},
            0.8045,
        ),
        Outcome(
            "adversarial.robust_accuracy",
            "inconclusive",
            "11.0 % (8.0 – 15.5 %, n = 200) against at least 12 %.",
            {"at_least": 0.12},
            0.11,
            needed=5200,
        ),
    ),
)


def write_samples(folder: Path) -> None:
    """artifacts/samples: the sprite of all samples and eight inputs."""
    tile, columns = 48, 32
    rows = -(-N // columns)
    sprite = np.full((rows * tile, columns * tile, 3), 240, dtype=np.uint8)
    for i in range(N):
        sprite[i // columns * tile : (i // columns + 1) * tile, i % columns * tile : (i % columns + 1) * tile] = photograph(
            i, tile
        )
    store.write_artifacts(folder, "samples", {"sprite.jpg": sprite, **{f"inputs-{i}.jpg": photograph(i) for i in range(8)}})
    about = {"tile": tile, "columns": columns, "positions": list(range(N)), "inputs": list(range(8))}
    store.write_bytes(folder / "artifacts" / "samples" / "sprite.json", json.dumps(about).encode())
