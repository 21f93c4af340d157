from __future__ import annotations

import numpy as np
import pytest

from auditor.methods.marks import find_spot, named
from auditor.types import Array


def noise(n: int, seed: int, side: int = 40) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def logo() -> Array:
    mark = np.zeros((4, 4, 3), np.uint8)
    mark[1:3, 1:3] = 255
    return mark


WHOLE = (0, 40, 0, 40)


def test_a_mark_in_the_corner_is_found_where_it_is() -> None:
    images = noise(9, 0)
    images[:, 34:38, 1:5] = logo()
    spot = find_spot(images, noise(30, 1), WHOLE)
    assert spot is not None
    assert spot.marked
    assert 34 <= spot.row < 38
    assert 1 <= spot.column < 5
    assert spot.within == pytest.approx(0, abs=1e-9)
    assert spot.other > 60
    assert spot.zone == "bottom left corner"
    inside = find_spot(images, noise(30, 1), (20, 40, 0, 12))
    assert inside is not None
    assert (inside.row, inside.column, inside.marked) == (spot.row, spot.column, True)


def test_a_mark_that_half_of_the_others_carry_and_that_was_compressed() -> None:
    images, others = noise(9, 0), noise(40, 1)
    images[:, 1:5, 1:5] = logo() * 0.9 + np.random.default_rng(2).integers(0, 12, (9, 4, 4, 3))
    others[::2, 1:5, 1:5] = logo()
    spot = find_spot(images, others, WHOLE)
    assert spot is not None
    assert spot.marked
    assert spot.zone == "top left corner"


def test_no_mark() -> None:
    plain = find_spot(noise(9, 0), noise(30, 1), WHOLE)
    assert plain is not None
    assert not plain.marked  # nothing is alike
    flat = noise(9, 0)
    flat[:, :9, :9] = 250
    white = find_spot(flat, noise(30, 1), (0, 7, 0, 7))
    assert white is not None
    assert (round(white.within, 6), white.marked) == (0, False)  # alike, but a flat background
    middle = noise(9, 0)
    middle[:, 18:22, 18:22] = logo()
    inside = find_spot(middle, noise(30, 1), WHOLE)
    assert inside is not None
    assert (round(inside.within, 6), inside.marked, inside.zone) == (0, False, "")  # alike, but an object would be
    every = noise(30, 1)
    every[:, 1:5, 1:5] = logo()
    both = find_spot(every[:9], every[9:], (0, 6, 0, 6))
    assert both is not None
    assert not both.marked  # all images carry it: it tells nothing


def test_nothing_to_compare() -> None:
    assert find_spot(noise(1, 0), noise(5, 1), WHOLE) is None
    assert find_spot(noise(3, 0), noise(0, 1), WHOLE) is None
    assert find_spot(noise(3, 0), noise(5, 1), (0, 0, 0, 0)) is None


@pytest.mark.parametrize(
    ("down", "across", "words"),
    [
        (0, 0, "top left corner"),
        (1, 0.5, "bottom border"),
        (0.5, 0.95, "right border"),
        (0.95, 0.95, "bottom right corner"),
        (0.5, 0.5, ""),
    ],
)
def test_words(down: float, across: float, words: str) -> None:
    assert named(down, across) == words
