from __future__ import annotations

import numpy as np
import pytest
import torch

from auditor.evidence.pca import pca
from auditor.methods.layout import affinities, centred, lowered, start, tsne, umap
from auditor.methods.votes import vote
from auditor.ops.neighbours import knn
from auditor.types import Array


@pytest.fixture(scope="module")
def clusters() -> tuple[Array, Array, Array, Array, Array]:
    """Four clusters of 40 points in 12 dimensions: features, labels, graph, start."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 40)
    features = rng.normal(size=(160, 12)) + rng.normal(size=(4, 12))[labels] * 6
    indices, distances = knn(features, 91)
    return features, labels, indices, distances, start(pca(features).coordinates, seed=1)


def perplexities(conditional: Array) -> Array:
    """2^entropy of each row."""
    logs = np.log(conditional, out=np.zeros_like(conditional), where=conditional > 0)
    return np.asarray(np.exp(-(conditional * logs).sum(axis=1)))


@pytest.mark.parametrize("perplexity", [5.0, 30.0])
def test_row_perplexity_hits_its_target(clusters: tuple[Array, ...], perplexity: float) -> None:
    _, _, indices, distances, _ = clusters
    rows = affinities(indices, distances, perplexity=perplexity, symmetric=False).P.toarray() * len(indices)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(perplexities(rows), perplexity, rtol=1e-3)
    assert ((rows > 0).sum(axis=1) <= 3 * perplexity).all()


def test_affinities_are_symmetric_and_sum_to_one(clusters: tuple[Array, ...]) -> None:
    _, _, indices, distances, _ = clusters
    joint = affinities(indices, distances, perplexity=30).P
    assert joint.sum() == pytest.approx(1)
    assert abs(joint - joint.T).max() < 1e-12


@pytest.mark.parametrize("threads", [1, 2])
def test_fitting_leaves_torch_its_threads(clusters: tuple[Array, ...], threads: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        umap(*clusters[2:], seed=0)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_fitting_leaves_the_graph_as_it_was(clusters: tuple[Array, ...]) -> None:
    _, _, indices, distances, plane = clusters
    before = indices.copy(), distances.copy(), plane.copy()
    tsne(indices, distances, plane, perplexity=10)
    umap(indices, distances, plane, seed=0)
    for was, now in zip(before, (indices, distances, plane), strict=True):
        np.testing.assert_array_equal(was, now)


@pytest.mark.parametrize("method", ["tsne", "umap"])
def test_same_seed_same_picture_and_clusters_come_out_separated(clusters: tuple[Array, ...], method: str) -> None:
    _, labels, indices, distances, plane = clusters
    draw = tsne if method == "tsne" else umap
    first, again = draw(indices, distances, plane), draw(indices, distances, plane)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (160, 2)
    assert first.dtype == np.float32
    assert np.abs(first.mean(axis=0)).max() < 1e-3
    assert (vote(knn(first, 10)[0], labels) == labels).all()
    middles = np.array([first[labels == k].mean(axis=0) for k in range(4)])
    inside = max(np.linalg.norm(first[labels == k] - middles[k], axis=1).mean() for k in range(4))
    between = np.linalg.norm(middles[:, None] - middles[None], axis=-1)[np.triu_indices(4, 1)].min()
    assert between > 2 * inside


def test_umap_turns_with_its_seed_and_reads_the_graph_not_the_start(clusters: tuple[Array, ...]) -> None:
    features, labels, indices, distances, plane = clusters
    assert not np.array_equal(umap(indices, distances, plane, seed=1), umap(indices, distances, plane, seed=2))
    shuffled = np.random.default_rng(3).permutation(160)
    other = start(pca(features[shuffled]).coordinates, seed=1)  # the start of other points: only the graph tells who is near
    assert (vote(knn(umap(indices, distances, other), 10)[0], labels) == labels).mean() > 0.95


def test_points_that_coincide_and_tiny_sets_are_laid_out() -> None:
    rng = np.random.default_rng(4)
    same = np.concatenate([np.ones((120, 3)), rng.normal(size=(40, 3))])  # more equal points than the graph has neighbours
    few = rng.normal(size=(10, 3))
    for features in (same, few):
        indices, distances = knn(features, 91)
        plane = start(pca(features).coordinates, seed=0)
        perplexity = lowered(30, len(features))
        assert np.isfinite(tsne(indices, distances, plane, perplexity=perplexity)).all()
        assert np.isfinite(umap(indices, distances, plane)).all()


def test_the_start_is_the_pca() -> None:
    coordinates = np.random.default_rng(5).normal(size=(50, 4)) * [9, 3, 1, 1]
    plane = start(coordinates, seed=0)
    expected = (coordinates[:, :2] - coordinates[:, :2].mean(0)) / coordinates[:, 0].std()
    assert np.abs(plane - expected).max() < 0.06
    np.testing.assert_array_equal(plane, start(coordinates, seed=0))
    assert not np.array_equal(plane, start(coordinates, seed=1))
    assert start(coordinates[:, :1], seed=0).shape == (50, 2)


def test_the_perplexity_is_lowered_for_few() -> None:
    assert [lowered(30, n) for n in (10, 91, 92, 5000)] == [3, 30, 30, 30]


def test_a_layout_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite layout"):
        centred(np.array([[0, np.nan]]))
