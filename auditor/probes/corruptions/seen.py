"""The corrupted images, as the section looks at them."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.methods.inputs import seed_of
from auditor.types import Array


@dataclass(frozen=True)
class Seen:
    """n images under K kinds at S severities."""

    kinds: tuple[str, ...]
    severities: tuple[int, ...]
    positions: Array
    """(n,)"""
    clean: Array
    """(n,) bool: right unchanged."""
    clean_sure: Array
    """(n,) float32: with which confidence."""
    told: Array
    """(n,K,S) int64: the class that it is taken for."""
    sure: Array
    """(n,K,S) float32: with which confidence."""
    right: Array
    """(n,K,S) bool."""

    @property
    def n(self) -> int:
        """How many images."""
        return len(self.positions)


def image_seed(seed: int, key: str) -> int:
    """The seed of an image's noise: it follows from the image alone."""
    return seed_of(seed, f"corruptions:{key}")


def words(kind: str) -> str:
    """A kind as a reader sees it."""
    return kind.replace("_", " ")
