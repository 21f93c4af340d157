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
from auditor.methods import grids
from auditor.methods.image_map import GROUND, places
from auditor.ops.room import in_memory
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
    return Facts(room=in_memory, dataset=Data(labels), features=features, seed=2, names=("a", "b", "c"))


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
    told = figure(found, "map-tsne")
    shown = int(told.caption.split()[0])
    assert shown >= 36
    assert f"The other {90 - shown} are left out" in told.caption
    for file, side in ((told.data["file"], 1000), (told.data["full"], 2000)):
        picture = found.artifacts[file]
        assert picture.shape == (side, side, 3)
        assert picture.dtype == np.uint8
        assert len(set(np.unique(picture)) - {GROUND}) == shown


@pytest.mark.parametrize("kind", ["map", "nearest", "one-to-one"])
def test_what_stands_under_the_pointer_is_the_image_that_is_there(whole: tuple[Facts, Finding], kind: str) -> None:
    """Every image of this world is of one grey, its position."""
    _, found = whole
    data = figure(found, f"{kind.replace('-', '_')}-tsne").data
    picture, where, tile = found.artifacts[data["file"]], found.artifacts[data["places"]["file"]], data["places"]["tile"]
    top = {(left + tile // 2, above + tile // 2): position for position, left, above in where.tolist()}
    on_top = 0
    for (x, y), position in top.items():
        last = [p for p, left, above in where.tolist() if left <= x < left + tile and above <= y < above + tile][-1]
        assert picture[y, x].tolist() == [last] * 3
        on_top += last == position
    assert on_top > 0.6 * len(top)


def test_the_grids_show_what_they_say(whole: tuple[Facts, Finding]) -> None:
    facts, found = whole
    place = places(found.artifacts["tsne.npy"])
    nearest, once = (found.artifacts[f"{kind}-tsne.npy"][:, 0].reshape(9, 9) for kind in ("nearest", "one-to-one"))
    np.testing.assert_array_equal(nearest, grids.nearest_images(place, 9))
    assert len(set(once.ravel().tolist())) == 81
    sample = np.sort(facts.chosen(81))
    assert sorted(once.ravel().tolist()) == sample.tolist()
    assert np.bincount(facts.dataset.labels[once.ravel()]).tolist() == [27, 27, 27]
    for kind, cells in (("nearest", nearest), ("one_to_one", once)):
        kept = grids.kept_neighbours(cells, facts.features)
        value = found.values[f"kept_neighbours.{kind}.tsne"]
        assert value.value == pytest.approx(np.nanmean(kept.share))
        assert value.n == np.isfinite(kept.share).sum()
        np.testing.assert_allclose(found.columns[f"embedding.kept_neighbours.{kind}.tsne"][kept.images], kept.share)
        caption = figure(found, f"{kind}-tsne").caption
        assert (
            f"{np.nanmean(kept.share):.1%} of an image's neighbours in the grid are as near in the features ({kept.chance:.1%} by chance)"
            in caption
        )
        high = max(float(a.max()) for c in (nearest, once) for a in grids.seams(c, facts.features))
        assert figure(found, f"{kind}-tsne").data["legend"]["high"] == f"{high:.3g}"
    moved = found.values["grid_moves.one_to_one.tsne"]
    assert moved.value == pytest.approx(grids.moves(once, place).mean())
    assert (moved.unit, moved.n) == ("cells", 81)
    own = {tuple(cell) for cell in np.minimum(np.floor(place * 9), 8).astype(int).tolist()}
    told = figure(found, "nearest-tsne").caption
    assert f"{len(set(nearest.ravel().tolist()))} of 90 images. {81 - len(own)} cells have no image of their own" in told
    assert "A sample of 81 of the 90 images" in figure(found, "one_to_one-tsne").caption


def test_kept_neighbours_of_a_map_by_brute_force(whole: tuple[Facts, Finding]) -> None:
    facts, found = whole

    def near(points: Array, i: int) -> set[int]:
        return set([j for j in np.argsort(np.linalg.norm(points - points[i], axis=1), kind="stable").tolist() if j != i][:8])

    for name in ("tsne", "umap", "pca"):
        flat = found.artifacts[f"{name}.npy"].astype(float)
        expected = [len(near(flat, i) & near(facts.features.astype(float), i)) / 8 for i in range(90)]
        np.testing.assert_allclose(found.columns[f"embedding.kept_neighbours.{name}"], expected)
        assert found.values[f"kept_neighbours.{name}"].value == pytest.approx(np.mean(expected))


def test_the_table_repeats_the_figures(whole: tuple[Facts, Finding]) -> None:
    _, found = whole
    rows = {row["picture"]: row for row in figure(found, "compared").data["rows"]}
    assert list(rows) == [
        "features, all dimensions", "t-SNE", "UMAP", "PCA", "nearest-image grid of t-SNE", "one-to-one grid of t-SNE",
    ]  # fmt: skip
    assert rows["UMAP"]["trustworthiness"] == found.values["trustworthiness.umap"].value
    assert rows["PCA"]["knn_accuracy"] == found.values["knn_accuracy_2d.pca"].value
    assert rows["one-to-one grid of t-SNE"]["grid_moves"] == found.values["grid_moves.one_to_one.tsne"].value
    assert rows["nearest-image grid of t-SNE"]["kept_neighbours"] == found.values["kept_neighbours.nearest.tsne"].value


def test_other_maps_and_sizes_are_drawn_when_asked_for() -> None:
    found = conclude(world(40), pictured="both", pixels=4000, cells=4)
    assert found.artifacts["map-umap.png"].shape == (4000, 4000, 3)
    assert len(np.unique(found.artifacts["nearest-tsne.png"].reshape(-1, 3), axis=0)) <= 256
    assert found.artifacts["one-to-one-umap.npy"].shape == (16, 3)
    assert {"kept_neighbours.nearest.umap", "kept_neighbours.one_to_one.tsne"} <= set(found.values)
    alone = conclude(world(40), pictured="umap", pixels=1000)
    assert "map-umap.png" in alone.artifacts
    assert "map-tsne.png" not in alone.artifacts


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
    assert {key.partition(".")[0] for key in found.values} == {"trustworthiness", "kept_neighbours", "grid_moves"}
    assert [c["key"] for c in figure(found, "compared").data["columns"]] == [
        "picture",
        "trustworthiness",
        "kept_neighbours",
        "grid_moves",
    ]
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
    for wrong in ({"perplexity": 50}, {"pictured": "pca"}, {"pixels": 3000}, {"cells": 2}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Embedding(**wrong)
