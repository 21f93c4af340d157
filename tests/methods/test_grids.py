from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from auditor.methods import grids
from auditor.methods.grids import Frame, centres, drawn, kept_neighbours, moves, nearest_images, one_to_one, seams, touching
from auditor.methods.image_map import GROUND, places
from auditor.ops.colour import sequential
from auditor.types import Array


def coloured(i: int, tile: int) -> Array:
    return np.full((tile, tile, 3), 10 + i, dtype=np.uint8)


def scattered(count: int, seed: int = 0) -> Array:
    return places(np.random.default_rng(seed).normal(size=(count, 2)))


@pytest.mark.parametrize(("count", "side"), [(40, 5), (3, 6), (200, 9)])
def test_every_cell_has_its_nearest_image_by_brute_force(count: int, side: int) -> None:
    place = scattered(count)
    cells = nearest_images(place, side)
    for row, column in itertools.product(range(side), repeat=2):
        apart = np.linalg.norm(place - [(row + 0.5) / side, (column + 0.5) / side], axis=1)
        assert cells[row, column] == apart.argmin()


def test_of_two_images_as_near_the_lower_index_is_taken() -> None:
    place = np.array([[0.9, 0.9], [0.5, 0.4], [0.5, 0.6], [0.5, 0.4]])
    assert nearest_images(place, 1).tolist() == [[1]]


def test_a_grid_is_the_right_way_up() -> None:
    """x grows to the right, y upwards: the image at the top of the plane stands in the first row."""
    layout = np.array([[0.0, 10], [10, 10], [0, 0], [10, 0]])  # upper left, upper right, lower left, lower right
    assert nearest_images(places(layout), 2).tolist() == [[0, 1], [2, 3]]
    assert one_to_one(places(layout)).tolist() == [[0, 1], [2, 3]]
    picture = drawn(np.array([[0, 1], [2, 3]]), coloured, (np.zeros((2, 1)), np.zeros((1, 2))), 1.0, side=100)
    frame = Frame(2, 100)
    middle = [frame.corner(k) + frame.tile // 2 for k in (0, 1)]
    assert [[int(picture[y, x, 0]) for x in middle] for y in middle] == [[10, 11], [12, 13]]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("side", [2, 3])
def test_one_to_one_is_the_cheapest_permutation(side: int, seed: int) -> None:
    count = side * side
    place = scattered(count, seed)
    cells = one_to_one(place)
    assert sorted(cells.ravel().tolist()) == list(range(count))
    cost = ((centres(side)[:, None] - place[None]) ** 2).sum(axis=2)
    rows = np.arange(count)
    orders = (
        itertools.permutations(range(count))
        if side == 2
        else (np.random.default_rng(seed).permutation(count) for _ in range(4000))
    )
    least = min(cost[rows, list(order)].sum() for order in orders)
    own = cost[rows, cells.ravel()].sum()
    assert own == pytest.approx(least) if side == 2 else own <= least + 1e-12
    for i, j in itertools.combinations(range(count), 2):  # no swap of two is cheaper
        other = cells.ravel().copy()
        other[[i, j]] = other[[j, i]]
        assert cost[rows, other].sum() >= own - 1e-12
    assert (moves(cells, place) ** 2).sum() / side**2 == pytest.approx(own)


def test_images_at_their_cells_are_not_moved_and_a_number_that_is_no_square_is_refused() -> None:
    shuffled = np.random.default_rng(1).permutation(16)
    place = centres(4)[shuffled]
    cells = one_to_one(place)
    assert (shuffled[cells.ravel()] == np.arange(16)).all()
    assert not moves(cells, place).any()
    with pytest.raises(ValueError, match="got 15"):
        one_to_one(place[:15])


def test_seams_are_distances_in_the_full_space() -> None:
    rng = np.random.default_rng(2)
    features = (rng.normal(size=(9, 50)) + 1000).astype(np.float32)  # far from 0: x^2 + y^2 - 2xy in float32 would be off
    cells = np.array([[0, 1, 2], [3, 3, 4], [5, 3, 0]])
    right, down = seams(cells, features)
    wide = features.astype(np.float64)
    for row, column in itertools.product(range(3), range(2)):
        assert right[row, column] == pytest.approx(
            np.sqrt(((wide[cells[row, column]] - wide[cells[row, column + 1]]) ** 2).sum()), rel=1e-12
        )
        assert down[column, row] == pytest.approx(
            np.sqrt(((wide[cells[column, row]] - wide[cells[column + 1, row]]) ** 2).sum()), rel=1e-12
        )
    assert right[1, 0] == down[1, 1] == 0  # one image in both
    assert np.count_nonzero(right) == 5
    assert np.count_nonzero(down) == 5


def test_touching_images_by_brute_force() -> None:
    cells = np.random.default_rng(3).integers(0, 6, (4, 5))
    expected = set()
    for (r, c), (down, across) in itertools.product(
        itertools.product(range(4), range(5)), itertools.product((-1, 0, 1), repeat=2)
    ):
        if 0 <= r + down < 4 and 0 <= c + across < 5 and cells[r, c] != cells[r + down, c + across]:
            expected.add((int(cells[r, c]), int(cells[r + down, c + across])))
    assert [tuple(pair) for pair in touching(cells).tolist()] == sorted(expected)


def test_kept_neighbours_by_brute_force() -> None:
    rng = np.random.default_rng(4)
    features = rng.normal(size=(30, 5))
    cells = rng.choice(30, size=(5, 5))
    found = kept_neighbours(cells, features)
    assert found.images.tolist() == sorted(set(cells.ravel().tolist()))
    sizes = []
    for i, share in zip(found.images.tolist(), found.share.tolist(), strict=True):
        around = {int(j) for a, j in touching(cells).tolist() if a == i}
        order = sorted((j for j in found.images.tolist() if j != i), key=lambda j: np.linalg.norm(features[j] - features[i]))
        sizes.append(len(around))
        assert share == pytest.approx(len(around & set(order[: len(around)])) / len(around))
    assert found.chance == pytest.approx(np.mean(sizes) / (len(found.images) - 1))


def test_a_grid_that_is_the_space_keeps_all_and_a_shuffled_one_keeps_chance() -> None:
    side = 20
    features = centres(side)
    cells = np.arange(side * side).reshape(side, side)
    inner = kept_neighbours(cells, features).share.reshape(side, side)[1:-1, 1:-1]
    assert (inner == 1).all()
    shuffled = kept_neighbours(np.random.default_rng(5).permutation(side * side).reshape(side, side), features)
    assert np.nanmean(shuffled.share) == pytest.approx(shuffled.chance, abs=0.006)
    alone = kept_neighbours(np.zeros((2, 2), dtype=int), features)
    assert np.isnan(alone.share).all()


@pytest.mark.parametrize(("cells", "side"), [(5, 200), (7, 1000), (32, 1000)])
def test_a_picture_holds_its_images_and_its_seams(cells: int, side: int) -> None:
    rng = np.random.default_rng(6)
    which = rng.integers(0, 9, (cells, cells))
    apart = seams(which, rng.normal(size=(9, 4)))
    high = float(max(a.max() for a in apart))
    picture, frame = drawn(which, coloured, apart, high, side=side), Frame(cells, side)
    assert picture.shape == (side, side, 3)
    assert frame.corner(0) >= 1
    assert frame.corner(cells - 1) + frame.tile <= side - 1
    rest = picture.copy()
    for row, column in itertools.product(range(cells), repeat=2):
        top, left = frame.corner(row), frame.corner(column)
        bottom, edge = top + frame.tile, left + frame.tile
        assert (picture[top:bottom, left:edge] == 10 + which[row, column]).all()
        if column < cells - 1:
            assert (picture[top:bottom, edge : edge + frame.seam] == sequential(apart[0][row, column], high)).all()
        if row < cells - 1:
            assert (picture[bottom : bottom + frame.seam, left:edge] == sequential(apart[1][row, column], high)).all()
        if row < cells - 1 and column < cells - 1:
            meeting = max(apart[0][row, column], apart[0][row + 1, column], apart[1][row, column], apart[1][row, column + 1])
            assert (picture[bottom : bottom + frame.seam, edge : edge + frame.seam] == sequential(meeting, high)).all()
    inner = slice(frame.corner(0), frame.corner(cells - 1) + frame.tile)
    rest[inner, inner] = GROUND
    assert (rest == GROUND).all()


def test_the_seam_between_two_copies_is_black() -> None:
    picture = drawn(np.array([[4, 4], [4, 4]]), coloured, (np.zeros((2, 1)), np.zeros((1, 2))), 5.0, side=60)
    frame = Frame(2, 60)
    assert (picture[frame.corner(0) + 3, frame.corner(0) + frame.tile] == sequential(np.array(0.0), 5.0)).all()
    assert picture[frame.corner(0) + 3, frame.corner(0) + frame.tile].max() <= 4


def test_it_is_the_same_twice() -> None:
    place = scattered(49, 8)
    for make in (lambda: nearest_images(place, 6), lambda: one_to_one(place)):
        np.testing.assert_array_equal(make(), make())


def test_a_picture_that_is_not_square_stands_in_the_middle_of_its_cell() -> None:
    wide = np.asarray(Image.new("RGB", (10, 5), (200, 0, 0)))
    picture = drawn(np.array([[0]]), lambda i, tile: wide, (np.zeros((1, 0)), np.zeros((0, 1))), 1.0, side=60)
    tile = grids.Frame(1, 60).tile
    found = np.argwhere((picture == (200, 0, 0)).all(axis=2))
    assert np.ptp(found, axis=0).tolist() == [round(tile / 2) - 1, tile - 1]
