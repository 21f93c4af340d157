"""Facets where they were planted, and where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from auditor.methods.facets import NEAREST, SMALLEST, find_facets


def planted(sizes: tuple[int, ...], *, apart: float = 12.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clouds of 6 dimensions about corners of a cube, in mixed order; and which is which."""
    rng = np.random.default_rng(seed)
    mode = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return apart * np.eye(6)[mode] + rng.normal(0, 1, (len(mode), 6)), mode


@pytest.mark.parametrize("sizes", [(40, 25), (40, 30, 20)])
def test_planted_modes_come_back_the_largest_first(sizes: tuple[int, ...]) -> None:
    points, mode = planted(sizes)
    found = find_facets(points, most=4)
    assert found.count == len(sizes)
    np.testing.assert_array_equal(found.facet, mode)
    assert found.silhouette > 0.5
    assert found.apart
    assert found.alike == sum(sizes)
    assert found.expected == pytest.approx(sum(s * (s - 1) for s in sizes) / (sum(sizes) * (sum(sizes) - 1)))


def test_pieces_of_one_cloud_are_told_from_facets_and_few_images_are_not_cut() -> None:
    rng = np.random.default_rng(1)
    clouds = [rng.normal(0, 1, (60, r)) * np.linspace(2, 1, r) for r in (2, 4, 20, 2, 4, 20)]
    assert sum(find_facets(cloud, most=3, seed=i).apart for i, cloud in enumerate(clouds)) <= 1
    points, _ = planted((3, 4))
    assert len(points) < SMALLEST
    few = find_facets(points, most=4)
    assert (few.count, few.apart, few.expected) == (1, False, 1)
    assert np.isnan(few.silhouette)
    assert find_facets(np.zeros((1, 1)), most=2).count == 1


def test_with_one_facet_the_start_is_the_mean_of_the_images_at_the_middle() -> None:
    points, _ = planted((40, 25))
    found = find_facets(points, most=1)
    assert found.count == 1
    near = found.nearest(0)
    assert len(near) == NEAREST
    apart = np.linalg.norm(found.plane - found.plane.mean(0), axis=1)
    assert set(near) == set(np.argsort(apart)[:NEAREST])
    assert list(apart[near]) == sorted(apart[near])
    few = find_facets(points[:7], most=1)
    assert sorted(few.nearest(0)) == list(range(7)), "all of them where there are fewer"


def test_the_nearest_of_a_facet_are_its_own_and_alike_is_brute_force() -> None:
    points, mode = planted((30, 30), apart=2.5, seed=3)
    found = find_facets(points, most=2)
    for facet in range(found.count):
        assert set(found.facet[found.nearest(facet)]) == {facet}
    distance = cdist(points, points)
    np.fill_diagonal(distance, np.inf)
    assert found.alike == int((found.facet[distance.argmin(1)] == found.facet).sum())
    assert len(mode) == 60


def test_equal_input_gives_equal_facets_and_nonsense_is_refused() -> None:
    points, _ = planted((30, 20), apart=4.0)
    one, other = (find_facets(points, most=3, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.facet, other.facet)
    np.testing.assert_array_equal(one.plane, other.plane)
    with pytest.raises(ValueError, match="most >= 1"):
        find_facets(points, most=0)
