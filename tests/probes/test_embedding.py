from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.manifold import trustworthiness as reference

from auditor.evidence.chosen import order
from auditor.evidence.graph import graph
from auditor.evidence.pca import pca
from auditor.probe import Results, about
from auditor.probes import embedding as module
from auditor.probes.embedding import Embedding
from auditor.types import Array, Finding


class Data:
    def __init__(self, labels: Array) -> None:
        self.labels = labels
        self.samples = [SimpleNamespace(key=f"{i}:0", name=f"{i}.png") for i in range(len(labels))]

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, positions: Any) -> Array:
        return np.array([np.full((12, 12, 1), i, dtype=np.uint8) for i in positions])


class Facts(SimpleNamespace):
    def chosen(self, count: int) -> Array:
        return order([s.key for s in self.dataset.samples], self.dataset.labels, self.seed)[:count]


def world(count: int = 90, classes: int = 3) -> Facts:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    features = (rng.normal(size=(count, 7)) + rng.normal(size=(classes, 7))[labels] * 2.5).astype(np.float32)
    return Facts(dataset=Data(labels), features=features, seed=2, names=("a", "b", "c"))


def conclude(facts: Facts, **parameters: Any) -> Finding:
    facts.graph, facts.pca = graph(facts.features), pca(facts.features)
    target: Any = SimpleNamespace()
    evidence: Any = facts
    return Embedding(**parameters).conclude(target, evidence, Results())


def figure(found: Finding, name: str) -> Any:
    return next(f for f in found.figures if f.name == name)


def brute_votes(points: Array, labels: Array, k: int = 10) -> list[bool]:
    """Leave one out; in a draw the nearest of the drawn classes decides."""
    right = []
    for i in range(len(points)):
        near = [j for j in np.argsort(np.linalg.norm(points - points[i], axis=1), kind="stable") if j != i][:k]
        counts = Counter(labels[j] for j in near)
        most = max(counts.values())
        right.append(next(labels[j] for j in near if counts[labels[j]] == most) == labels[i])
    return right


@pytest.fixture(scope="module")
def whole() -> tuple[Facts, Finding]:
    facts = world()
    return facts, conclude(facts)


def test_trustworthiness_equals_scikit_learn(whole: tuple[Facts, Finding]) -> None:
    facts, found = whole
    for name in ("tsne", "umap", "pca"):
        value = found.values[f"trustworthiness.{name}"]
        assert value.value == pytest.approx(reference(facts.features, found.artifacts[f"{name}.npy"], n_neighbors=12), abs=1e-6)
        key = f"embedding.trustworthiness.{name}"
        assert (value.kind, value.statistic, value.columns, value.n, value.flags) == ("statistic", "mean", (key,), 90, ())
        assert np.isfinite(found.columns[key]).all()
    assert found.values["trustworthiness.tsne"].value > 0.85


def test_knn_accuracy_by_brute_force(whole: tuple[Facts, Finding]) -> None:
    facts, found = whole
    labels = facts.dataset.labels
    spaces = {"knn_accuracy_full": facts.features.astype(float)}
    spaces |= {f"knn_accuracy_2d.{name}": found.artifacts[f"{name}.npy"].astype(float) for name in ("tsne", "umap", "pca")}
    for name, points in spaces.items():
        right = brute_votes(points, labels)
        value = found.values[name]
        assert (value.k, value.n, value.kind, value.columns) == (sum(right), 90, "proportion", (f"embedding.{name}",))
        np.testing.assert_array_equal(found.columns[f"embedding.{name}"], right)
    assert found.values["knn_accuracy_full"].value > 0.8


def test_the_scatter_has_three_views_of_all_images(whole: tuple[Facts, Finding]) -> None:
    facts, found = whole
    data = figure(found, "scatter").data
    assert [v["name"] for v in data["views"]] == ["t-SNE", "UMAP", "PCA"]
    assert data["positions"] is None
    assert all(
        found.artifacts[v["file"]].shape == (90, 2) and found.artifacts[v["file"]].dtype == np.float32 for v in data["views"]
    )
    np.testing.assert_allclose(found.artifacts["pca.npy"], facts.pca.coordinates[:, :2], rtol=1e-5, atol=1e-6)
    assert "Trustworthiness: t-SNE" in found.notes[0]


def test_the_image_map_holds_the_images(whole: tuple[Facts, Finding]) -> None:
    _, found = whole
    data, picture = figure(found, "map"), found.artifacts["map.jpg"]
    assert picture.shape == (2000, 2000, 3)
    assert picture.dtype == np.uint8
    shown = int(data.caption.split()[0])
    assert len(set(np.unique(picture)) - {238}) == shown
    assert shown >= 36


def test_the_curve_of_the_variance_is_cumulative(whole: tuple[Facts, Finding]) -> None:
    facts, found = whole
    (series,) = figure(found, "variance").data["series"]
    values = np.sort(np.linalg.eigvalsh(np.cov(facts.features.T.astype(float), bias=True)))[::-1]
    np.testing.assert_allclose(series["y"], np.cumsum(values) / values.sum(), rtol=1e-6)
    assert series["x"] == [1, 2, 3, 4, 5, 6, 7]


def test_the_same_seed_gives_the_same_section(whole: tuple[Facts, Finding]) -> None:
    facts, found = whole
    again = conclude(facts)
    assert again.values == found.values
    assert again.notes == found.notes
    for name, array in found.artifacts.items():
        np.testing.assert_array_equal(array, again.artifacts[name])


def test_only_labelled_images_with_company_vote() -> None:
    facts = world()
    labels = facts.dataset.labels
    labels[::4] = -1
    labels[5] = 7
    facts.names = tuple("abcdefgh")
    found = conclude(facts)
    known = np.flatnonzero((labels >= 0) & (labels != 7))
    right = brute_votes(facts.features[known].astype(float), labels[known])
    value = found.values["knn_accuracy_full"]
    assert (value.k, value.n) == (sum(right), len(known))
    column = found.columns["embedding.knn_accuracy_full"]
    np.testing.assert_array_equal(column[known], right)
    assert np.isfinite(column).sum() == len(known)
    flat = brute_votes(found.artifacts["umap.npy"][known].astype(float), labels[known])
    assert found.values["knn_accuracy_2d.umap"].k == sum(flat)
    assert any("only one of their class do not count in knn_accuracy: 1." in note for note in found.notes)


@pytest.mark.parametrize("label", [-1, 0])
def test_without_two_classes_there_is_no_accuracy(label: int) -> None:
    facts = world(30)
    facts.dataset.labels[:] = label
    found = conclude(facts)
    assert set(found.values) == {"trustworthiness.tsne", "trustworthiness.umap", "trustworthiness.pca"}
    assert any("knn_accuracy is left out" in note for note in found.notes)


def test_many_images_are_sampled_in_proportion_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = world()
    monkeypatch.setattr(module, "EXACT", 20)
    found = conclude(facts, most=45)
    positions = found.artifacts["positions.npy"]
    assert figure(found, "scatter").data["positions"] == "positions.npy"
    assert sorted(positions.tolist()) == positions.tolist()
    assert np.bincount(facts.dataset.labels[positions]).tolist() == [15, 15, 15]
    assert all(len(found.artifacts[f"{name}.npy"]) == 45 for name in ("tsne", "umap", "pca"))
    value = found.values["trustworthiness.tsne"]
    assert value.n == 20
    assert value.flags == ("approximate: of 20 of 45 images, drawn by seed",)
    column = found.columns["embedding.trustworthiness.tsne"]
    assert set(np.flatnonzero(np.isfinite(column))) <= set(positions.tolist())
    whole = reference(facts.features[positions], found.artifacts["tsne.npy"], n_neighbors=12)
    assert value.value == pytest.approx(whole, abs=0.05)
    right = brute_votes(facts.features[positions].astype(float), facts.dataset.labels[positions])
    assert found.values["knn_accuracy_full"].k == sum(right)
    assert any("45 of 90 images are laid out" in note for note in found.notes)


def test_few_images_lower_perplexity_and_neighbours_and_say_so() -> None:
    found = conclude(world(14))
    assert "perplexity is 4.3 in place of 30: 14 images" in found.notes[-1]
    assert found.values["trustworthiness.umap"].flags == ("of 6 neighbours: 14 images are too few for 12",)
    expected = reference(world(14).features, found.artifacts["umap.npy"], n_neighbors=6)
    assert found.values["trustworthiness.umap"].value == pytest.approx(expected, abs=1e-6)


def test_what_cannot_be_arranged_is_not_applicable() -> None:
    assert "needs 10 images" in conclude(world(9)).reason
    facts = world(12)
    facts.features[:] = 0.1
    assert "features of all images are equal" in conclude(facts).reason
    facts.features[3, 2] = np.nan
    facts.pca, facts.graph = None, None
    target: Any = SimpleNamespace()
    evidence: Any = facts
    with pytest.raises(ValueError, match="1 of 12 images"):
        Embedding().conclude(target, evidence, Results())


def test_the_probe_explains_itself() -> None:
    told = about(Embedding)
    assert all((told.asks, told.formula, told.read, told.misleads))
    assert Embedding.id() == "embedding"
    with pytest.raises(ValueError, match="perplexity"):
        Embedding(perplexity=50)
