"""The object cut out by its saliency (Simonyan, Vedaldi & Zisserman 2014, section 3.2): a map seeds a colour segmentation.

As in the paper, seeds are the pixels above the 95 % quantile of the map and those below its 30 % quantile, mixtures of Gaussians
hold the colours of either, a graph cut labels the rest, and the largest connected part is the object. Unlike there, the map is
first smoothed by a 32nd of the image's side: the gradients of today's networks are so scattered that their seeds else
lie all over the image, with background seeds inside of the object. Smoothing 0 is the paper's own.
"""

from __future__ import annotations

import cv2
import numpy as np

from auditor.errors import UsageError
from auditor.ops.colour import three
from auditor.preprocess import Box
from auditor.types import Array

ROUNDS = 3
"""Rounds of estimating the colours from the cut and cutting anew (Rother 2004), after the first cut."""


def grabcut(image: Array, saliency: Array, *, high: float = 0.95, low: float = 0.30, smooth: float = 1 / 32) -> Array:
    """(H,W) bool: the object in an image uint8 (H,W), (H,W,1) or (H,W,3), found by its map (H,W). Nothing where that is constant.

    `smooth`: deviation of the Gaussian over the map, as a share of the longer side. Raises UsageError for another size or type.
    """
    pixels = np.ascontiguousarray(three(np.asarray(image)))
    if pixels.shape[:2] != saliency.shape or pixels.dtype != np.uint8:
        raise UsageError(f"expected a uint8 image of the size of its map {saliency.shape}, got {pixels.dtype} {pixels.shape}")
    known = np.asarray(saliency, dtype=np.float64)
    if smooth > 0:
        known = cv2.GaussianBlur(known, (0, 0), smooth * max(known.shape))
    inside, outside = seeds(known, high=high, low=low)
    if not inside.any():
        return inside
    cv2.setRNGSeed(0)  # the mixtures begin with k-means
    models = np.zeros((1, 65)), np.zeros((1, 65))
    seeded = inside | outside
    labels = np.where(inside, cv2.GC_FGD, np.where(outside, cv2.GC_BGD, cv2.GC_PR_BGD)).astype(np.uint8)
    # the mixtures are of the seeds alone: OpenCV's own start counts all that is not decided as background
    cv2.grabCut(pixels[seeded][None], labels[seeded][None], None, *models, 0, cv2.GC_INIT_WITH_MASK)
    cv2.grabCut(pixels, labels, None, *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
    cv2.grabCut(pixels, labels, None, *models, ROUNDS, cv2.GC_EVAL)
    return largest((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))


def seeds(values: Array, *, high: float = 0.95, low: float = 0.30) -> tuple[Array, Array]:
    """(H,W) bool twice: pixels above the `high` quantile (at it, where none is above), and pixels at most at the `low` one.

    Both are empty where the map is constant.
    """
    if not 0 <= low < high <= 1:
        raise UsageError(f"expected quantiles 0 <= low < high <= 1, got low {low} and high {high}")
    bottom, top = np.quantile(values, [low, high])
    inside = values > top if bool((values > top).any()) else values >= top
    outside = (values <= bottom) & ~inside
    return (inside, outside) if outside.any() else (np.zeros_like(inside), outside)


def largest(mask: Array) -> Array:
    """(H,W) bool: the largest connected part (by sides and corners) of a mask; the first by rows on a tie."""
    count, labels, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return np.asarray(labels == 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax())) if count > 1 else mask


def bounding_box(mask: Array) -> Box | None:
    """The smallest box about a mask (H,W); None where it is empty."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)) if len(rows) else None


def box_iou(first: Box | None, second: Box) -> float:
    """Intersection over union of two boxes; 0 where the first is none."""
    if first is None:
        return 0.0
    wide, high = (min(first[i + 2], second[i + 2]) - max(first[i], second[i]) for i in (0, 1))
    common = max(wide, 0.0) * max(high, 0.0)
    both = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (first, second))
    return common / (both - common)


def mask_iou(first: Array, second: Array) -> float:
    """Intersection over union of two masks (H,W) bool; NaN where both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else float("nan")
