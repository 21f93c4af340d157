from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auditor.evidence.graph import graph
from auditor.ops.room import in_memory
from auditor.probe import Results, about
from auditor.probes.neighbours import Neighbours
from auditor.probes.neighbours.pictures import by_pixels, thumbnails
from auditor.types import Array, Finding


class Data:
    """Images (N,H,W,C) uint8 with labels."""

    def __init__(self, images: Array, labels: Array) -> None:
        self.images, self.labels = images, labels
        self.samples = [SimpleNamespace(key=f"{i}:0", name=f"{i}.png") for i in range(len(labels))]

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, positions: Any) -> Array:
        return self.images[np.asarray(positions)]


class Facts(SimpleNamespace):
    def chosen(self, count: int) -> Array:
        return np.array([5, 0, 17, 33])[:count]


def world(count: int = 40) -> Facts:
    """Two clusters of features, noise for pixels."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    features = rng.normal(size=(count, 6)).astype(np.float32) + 20 * labels[:, None]
    images = rng.integers(0, 256, (count, 20, 24, 3), dtype=np.uint8)
    return Facts(
        room=in_memory,
        dataset=Data(images, labels),
        features=features,
        names=("cat", "dog"),
        predictions=None,
        seed=1,
        train=None,
    )


def conclude(facts: Facts, **parameters: Any) -> Finding:
    facts.graph = graph(facts.features)
    target: Any = SimpleNamespace()
    evidence: Any = facts
    return Neighbours(**parameters).conclude(target, evidence, Results())


def figure(found: Finding, name: str) -> Any:
    return next(f for f in found.figures if f.name == name)


def test_label_agreement_by_brute_force() -> None:
    facts = world()
    labels = facts.dataset.labels
    labels[3] = 1 - labels[3]
    labels[8] = -1
    labels[10] = 5  # the only one of its class
    found = conclude(facts)
    expected = []
    for i in range(40):
        order = [
            j
            for j in np.argsort(np.linalg.norm(facts.features - facts.features[i], axis=1), kind="stable")
            if j != i and labels[j] >= 0
        ]
        expected.append(np.mean(labels[order[:5]] == labels[i]) if labels[i] in (0, 1) else np.nan)
    column = found.columns["neighbours.label_agreement"]
    np.testing.assert_allclose(column, expected)
    value = found.values["label_agreement"]
    assert value.value == pytest.approx(np.nanmean(expected))
    assert (value.kind, value.statistic, value.columns, value.n) == ("statistic", "mean", ("neighbours.label_agreement",), 38)
    assert column[3] == 0
    assert any("only one of their class do not count there: 1." in note for note in found.notes)
    assert any("chance: 47.4%." in note for note in found.notes)


def test_small_classes_bound_the_agreement_and_it_is_said() -> None:
    facts = world(8)
    facts.dataset.labels[:] = [0, 1] * 4
    facts.chosen = lambda count: np.array([1, 0])
    value = conclude(facts).values["label_agreement"]
    assert value.value == pytest.approx(3 / 5)
    assert any("at most 60.0% is possible" in flag for flag in value.flags)


@pytest.mark.parametrize(("labels", "said"), [(-1, "no image has a label"), (None, "no class has two labelled images")])
def test_without_labels_there_is_no_agreement(labels: int | None, said: str) -> None:
    facts = world()
    facts.dataset.labels[:] = np.arange(40) if labels is None else labels
    facts.names = tuple(str(i) for i in range(40))
    found = conclude(facts)
    assert found.status == "done"
    assert "label_agreement" not in found.values
    assert any(said in note for note in found.notes)
    assert found.values["near_duplicates"].value == 0


def test_near_duplicates_are_counted_shown_and_their_labels_compared() -> None:
    facts = world()
    data = facts.dataset
    for copy, of in ((30, 4), (31, 7), (12, 4)):
        data.images[copy] = np.clip(data.images[of].astype(int) + 1, 0, 255)
        facts.features[copy] = facts.features[of] + 0.01
    found = conclude(facts)
    value = found.values["near_duplicates"]
    assert (value.value, value.kind, value.unit, value.n) == (5, "exact", "images", 40)
    column = found.columns["neighbours.duplicate_of"]
    assert column[[7, 31]].tolist() == [31, 7]
    assert column[30] in (4, 12)
    assert int(np.isfinite(column).sum()) == 5
    assert any("5 of 40 images are near duplicates of another; groups: 2." in note for note in found.notes)
    assert not any("suspect" in note for note in found.notes)
    data.labels[30] = 1
    data.labels[31] = data.labels[7]
    found = conclude(facts)
    rows = figure(found, "duplicates").data["rows"]
    assert len(rows) == 4
    assert [r["label"] for r in rows][:2] == ["near duplicates, two labels: one is suspect"] * 2
    assert {r["label"] for r in rows[2:]} == {"near duplicates"}
    assert "with two labels, one of them suspect: 2, first" in found.notes[-2]
    assert "30.png (dog)" in found.notes[-2]


def test_pixels_alone_and_features_alone_make_no_duplicate() -> None:
    facts = world()
    facts.dataset.images[9] = facts.dataset.images[8]
    facts.features[21] = facts.features[20]
    assert conclude(facts).values["near_duplicates"].value == 0


def test_the_gallery_shows_the_nearest_and_marks_other_classes() -> None:
    facts = world()
    facts.dataset.labels[7] = 0  # among the dogs
    found = conclude(facts, queries=3, neighbours=4)
    data = figure(found, "nearest").data
    assert data["columns"] == ["image", *(f"nearest {i}" for i in range(1, 5)), *(f"by pixels {i}" for i in range(1, 3))]
    assert [row["sample"] for row in data["rows"]] == [5, 0, 17]
    flat = thumbnails(facts.dataset, range(40)).astype(float).reshape(40, -1)
    for row in data["rows"]:
        query = row["sample"]
        near = [j for j in np.argsort(np.linalg.norm(facts.features - facts.features[query], axis=1)) if j != query][:4]
        plain = [j for j in np.argsort(np.linalg.norm(flat - flat[query], axis=1)) if j != query][:2]
        assert [cell["file"] for cell in row["cells"]] == [f"image-{j}.png" for j in (query, *near, *plain)]
        for j, cell in zip(near, row["cells"][1:5], strict=True):
            distance = np.linalg.norm(facts.features[j] - facts.features[query])
            assert cell["note"].startswith(f"distance {distance:.3g}")
            assert ("another class" in cell["note"]) == (facts.dataset.labels[j] != facts.dataset.labels[query])
            assert cell["label"] == facts.names[facts.dataset.labels[j]]
    for row in data["rows"]:
        for cell in row["cells"]:
            np.testing.assert_array_equal(found.artifacts[cell["file"]], facts.dataset.images[int(cell["file"][6:-4])])


def test_pixel_neighbours_by_brute_force() -> None:
    thumbs = np.random.default_rng(3).uniform(0, 255, (30, 4, 4, 3)).astype(np.float16)
    found, apart = by_pixels(thumbs, np.array([4, 9]), 5)
    flat = thumbs.reshape(30, -1).astype(np.float32)
    for row, query in enumerate((4, 9)):
        distance = np.sqrt(((flat - flat[query]) ** 2).mean(1))
        distance[query] = np.inf
        assert found[row].tolist() == np.argsort(distance, kind="stable")[:5].tolist()
        np.testing.assert_allclose(apart[row], np.sort(distance)[:5], rtol=1e-5)


def test_unlabelled_images_are_named_by_what_they_are_taken_for() -> None:
    facts = world()
    facts.dataset.labels[:] = -1
    facts.predictions = SimpleNamespace(predicted=np.arange(40) % 2)
    cells = figure(conclude(facts), "nearest").data["rows"][0]["cells"]
    assert cells[0]["label"] == "taken for dog"
    assert not any("another class" in cell["note"] for cell in cells)


def test_one_image_is_not_applicable_and_two_are_enough() -> None:
    facts = world(2)
    facts.chosen = lambda count: np.array([1, 0])
    assert conclude(facts).values["near_duplicates"].n == 2
    single = world(1)
    assert conclude(single).status == "not_applicable"


def test_the_probe_explains_itself() -> None:
    told = about(Neighbours)
    assert all((told.asks, told.formula, told.read, told.misleads))
    with pytest.raises(ValueError, match="queries"):
        Neighbours(queries=99)


def test_a_hub_is_named_and_an_even_space_has_none() -> None:
    facts = world()
    assert not any("a hub" in note for note in conclude(facts).notes)
    rng = np.random.default_rng(1)
    facts.features = rng.normal(size=(40, 500)).astype(np.float32)
    facts.features[23] = 0  # the centre of a shell
    note = conclude(facts).notes[-1]
    near = np.argsort(np.linalg.norm(facts.features[:, None] - facts.features[None], axis=-1), axis=1)[:, 1:7]
    often = int((near == 23).sum() - (near[23] == 23).sum())
    assert often > 30
    assert note.startswith(f"23.png is among the 6 nearest of {often} of the 40 images: a hub")
