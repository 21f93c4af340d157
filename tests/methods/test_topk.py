from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from auditor.methods.topk import NOWHERE, Tops, turn
from auditor.types import Array

torch.set_num_threads(1)


def nearest(places: list[tuple[int, int]]) -> tuple[int, int]:
    """Of some places the one nearest to their mean."""
    n, middle = len(places), (sum(r for r, _ in places), sum(c for _, c in places))
    return min(places, key=lambda at: ((n * at[0] - middle[0]) ** 2 + (n * at[1] - middle[1]) ** 2, at))


def brute(maps: Array, positions: Array, k: int) -> tuple[Array, Array, Array, Array]:
    """Sort everything, an image at a time."""
    n, channels, _, wide = maps.shape
    values = np.full((channels, k), -np.inf, np.float32)
    images, places, areas = np.full((channels, k), NOWHERE), np.full((channels, k), -1), np.zeros((channels, k), np.int64)
    for c in range(channels):
        entries = []
        for i in range(n):
            own = np.where(np.isnan(maps[i, c]), -np.inf, maps[i, c])
            if own.max() > -np.inf:
                equal = [(int(r), int(col)) for r, col in np.argwhere(own == own.max())]
                at = nearest(equal)
                row = (
                    -float(own.max()),
                    -len(equal) * (own.max() > 0),
                    int(turn(positions[i : i + 1])[0]),
                    int(positions[i]),
                    at[0] * wide + at[1],
                )
                entries.append(row)
        for slot, (value, area, _, image, place) in enumerate(sorted(entries)[:k]):
            values[c, slot], images[c, slot], places[c, slot], areas[c, slot] = -value, image, place, -area
    return values, images, places, areas


def folded(maps: Array, positions: Array, k: int, shards: Sequence[Array], batch: int = 7) -> Tops:
    """One fresh state a shard, merged in order."""
    total = Tops.empty(maps.shape[1], k)
    for shard in shards:
        part = Tops.empty(maps.shape[1], k)
        for begin in range(0, len(shard), batch):
            index = shard[begin : begin + batch]
            part.see(torch.from_numpy(maps[index]), positions[index])
        total.merge(part)
    return total


def kinds(name: str, rng: np.random.Generator, n: int) -> Array:
    maps = rng.normal(size=(n, 5, 3, 4)).astype(np.float32)
    if name == "tied":
        maps = np.round(maps)
    elif name == "saturated":
        maps = np.clip(maps * 4, 0, 6)
        maps[:, 3] = 0
    elif name == "nan":
        maps[rng.random(maps.shape) < 0.3] = np.nan
        maps[rng.random(n) < 0.5, 1] = np.nan
        maps[:, 2] = np.nan
        maps[3, 4, 1, 1] = np.inf
    return maps


@pytest.mark.parametrize("name", ["random", "tied", "saturated", "nan"])
@pytest.mark.parametrize("k", [1, 9])
def test_any_split_equals_brute_force(name: str, k: int) -> None:
    rng = np.random.default_rng(5)
    n = 120
    maps, positions = kinds(name, rng, n), np.arange(1000, 1000 + n)
    expected = brute(maps, positions, k)
    whole = np.arange(n)
    cuts = [np.sort(rng.choice(n, size, replace=False)) for size in (1, 3, 10)]
    splits = [[whole], np.array_split(whole, 2), np.array_split(whole, 7), *(np.split(whole, cut) for cut in cuts)]
    splits.append([rng.permutation(whole)[:50], whole[:0]])
    for shards in splits[:-1]:
        got = folded(maps, positions, k, shards, batch=int(rng.integers(1, 40)))
        for a, b in zip(got.parts, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    some = splits[-1][0]
    got = folded(maps, positions, k, splits[-1])
    for a, b in zip(got.parts, brute(maps[some], positions[some], k), strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_thousand_pictures_with_ties_equal_brute_force_in_1_2_and_7_shards() -> None:
    rng = np.random.default_rng(11)
    maps = rng.normal(size=(2000, 6, 4, 5)).astype(np.float32)
    maps[:, 1] = np.round(maps[:, 1] * 2) / 2  # many images share each value
    maps[:, 2] = np.minimum(np.maximum(maps[:, 2] * 4, 0), 6)  # hundreds saturate, at several places of a map
    maps[rng.choice(2000, 40, replace=False), 3] += 9  # more than k images far above the rest, five of them equal
    maps[[3, 700, 1100, 1500, 1999], 3] = 20
    maps[:, 4] = 0
    maps[rng.choice(2000, 12, replace=False), 5] = maps[17, 5]  # the same picture again
    positions = np.arange(2000)
    expected = brute(maps, positions, 9)
    assert len(np.unique(expected[0][2])) == 1
    for count in (1, 2, 7):
        got = folded(maps, positions, 9, np.array_split(positions, count), batch=64)
        for a, b in zip(got.parts, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["random", "tied", "saturated", "nan"])
def test_what_has_no_room_beside_earlier_images_is_left_out_and_the_merged_entries_are_the_same(name: str) -> None:
    rng = np.random.default_rng(8)
    n, k = 120, 5
    maps, positions = kinds(name, rng, n), np.arange(n)
    total, entered = Tops.empty(maps.shape[1], k), []
    for shard in np.array_split(positions, 6):
        part = Tops.empty(maps.shape[1], k)
        part.beside(total)
        part.see(torch.from_numpy(maps[shard]), shard)
        entered.append(int((part.positions != NOWHERE).sum()))
        total.merge(part)
    for a, b in zip(total.parts, brute(maps, positions, k), strict=True):
        np.testing.assert_array_equal(a, b)
    if name == "random":
        assert entered[-1] < entered[0] == k * maps.shape[1]


def test_fewer_images_than_entries() -> None:
    maps = np.arange(12, dtype=np.float32).reshape(2, 1, 2, 3)
    got = folded(maps, np.array([4, 9]), 3, [np.arange(2)])
    assert got.values.tolist() == [[11, 5, -np.inf]]
    assert got.positions.tolist() == [[9, 4, NOWHERE]]
    assert got.places.tolist() == [[5, 5, -1]]


def test_merge_has_a_unit_and_does_not_care_for_the_order() -> None:
    rng = np.random.default_rng(0)
    maps, positions = kinds("tied", rng, 60), np.arange(60)
    halves = [np.arange(30), np.arange(30, 60)]
    a, b = folded(maps, positions, 4, halves), folded(maps, positions, 4, halves[::-1])
    c = folded(maps, positions, 4, [np.arange(0), np.arange(60), np.arange(0)])
    for other in (b, c):
        assert np.array_equal(a.values, other.values)
        assert np.array_equal(a.positions, other.positions)
        assert np.array_equal(a.places, other.places)


def test_ties_are_a_fair_draw_and_not_the_first_images() -> None:
    got = folded(np.full((900, 1, 2, 2), 6, np.float32), np.arange(900), 9, [np.arange(900)])
    thirds = np.bincount(got.positions[0] // 300, minlength=3)
    assert (thirds > 0).all()
    assert (got.places == 0).all()
    many = turn(np.arange(100_000))
    assert len(np.unique(many)) == len(many)
    assert turn(np.array([NOWHERE]))[0] > many.max()


def test_an_image_has_one_entry_a_channel() -> None:
    maps = np.zeros((3, 1, 2, 2), np.float32)
    maps[1] = [[5, 7], [7, 6]]
    got = folded(maps, np.arange(3), 3, [np.arange(3)])
    assert got.positions[0, 0] == 1
    assert sorted(got.positions[0].tolist()) == [0, 1, 2]
    assert got.places[0, 0] == 1  # the first of two equal ones


def test_of_images_that_tie_those_that_fire_at_most_places_come_first() -> None:
    maps = np.zeros((40, 1, 5, 5), np.float32)
    maps[:, 0, 2, 2] = 6
    maps[31, 0, 1:4, 1:4] = 6
    maps[7, 0, 3, :] = 6
    for shards in ([np.arange(40)], np.array_split(np.arange(40), 7)):
        got = folded(maps, np.arange(40), 3, shards, batch=4)
        assert got.positions[0, :2].tolist() == [31, 7]
        assert got.areas.tolist() == [[9, 6, 1]]
        assert got.places.tolist() == [[12, 17, 12]]  # the middle of the block, and of what is at the maximum


def test_half_precision_and_channels_last() -> None:
    maps = torch.randn(20, 6, 5, 5, generator=torch.Generator().manual_seed(0)).bfloat16()
    plain, other = Tops.empty(6, 3), Tops.empty(6, 3)
    peaks = plain.see(maps, np.arange(20))
    other.see(maps.contiguous(memory_format=torch.channels_last), np.arange(20))
    assert np.array_equal(peaks, maps.float().amax((2, 3)).numpy())
    assert np.array_equal(plain.values, other.values)
    assert np.array_equal(plain.places, other.places)


def test_hits_are_looked_up_a_piece_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = torch.randn(20, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    whole, pieces = Tops.empty(6, 9), Tops.empty(6, 9)
    whole.see(maps, np.arange(20))
    monkeypatch.setattr("auditor.methods.topk.AT_ONCE", 60)
    pieces.see(maps, np.arange(20))
    assert np.array_equal(whole.places, pieces.places)
