from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auditor.bounds import clopper_pearson
from auditor.evidence.predictions import Predictions
from auditor.probe import Results, about
from auditor.probes.performance import Performance
from auditor.types import Array, Finding


class Data:
    """N grey images of 8 x 8; image i has brightness i."""

    def __init__(self, labels: Array, slices: dict[str, Array] | None = None) -> None:
        self.labels = labels
        self.samples = [SimpleNamespace(key=f"{i}:0", name=f"{i}.png") for i in range(len(labels))]
        self.slices = slices or {}

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, positions: Any) -> Array:
        return np.array([np.full((8, 8, 1), i % 256, dtype=np.uint8) for i in positions])


def conclude(
    scores: Array, labels: Array, names: tuple[str, ...] | None = None, slices: dict[str, Array] | None = None, **parameters: Any
) -> Finding:
    data: Any = Data(np.asarray(labels), slices)
    seen = Predictions(scores.astype(np.float32), data.labels)
    evidence: Any = SimpleNamespace(
        dataset=data, predictions=seen, names=names or tuple(f"c{k}" for k in range(scores.shape[1])), seed=0
    )
    target: Any = SimpleNamespace()
    return Performance(**parameters).conclude(target, evidence, Results())


def one_hot(predicted: Any, classes: int, gain: float = 2.0) -> Array:
    return np.eye(classes)[np.asarray(predicted)] * gain


def figure(found: Finding, name: str) -> Any:
    return next(f for f in found.figures if f.name == name)


def test_figures_by_hand() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2, -1])
    predicted = np.array([0, 0, 0, 1, 1, 0, 1, 2])
    found = conclude(one_hot(predicted, 4), labels)
    values = found.values
    assert (values["top1"].k, values["top1"].n, values["top1"].kind) == (4, 7, "proportion")
    assert values["macro_recall"].value == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)  # class 3 has no image: it is not 0
    assert values["worst_class_recall"].value == 0
    assert (values["recall.c0"].k, values["recall.c0"].n) == (3, 4)
    assert "recall.c3" not in values
    assert values["macro_recall"].columns == ("label", "predicted")
    assert set(values) <= {m.name for m in Performance.measures} | {f"recall.c{k}" for k in range(4)}


def test_top5_counts_the_label_among_the_five_highest() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(200, 9)).astype(np.float32), rng.integers(-1, 9, 200)
    found = conclude(scores, labels)
    known = labels >= 0
    inside = np.array([label in row for label, row in zip(labels, np.argsort(-scores, 1)[:, :5], strict=True)])
    assert (found.values["top5"].k, found.values["top5"].n) == (int(inside[known].sum()), int(known.sum()))
    column = found.columns["performance.top5"]
    np.testing.assert_array_equal(column[known], inside[known])
    assert np.isnan(column[~known]).all()
    assert found.values["top5"].columns == ("performance.top5",)


def test_equal_scores_count_as_predicted_does() -> None:
    """With all scores equal, classes 0 to 4 are the five highest, and class 0 is predicted."""
    found = conclude(np.zeros((6, 6)), np.arange(6))
    assert found.values["top5"].k == 5
    assert found.values["top1"].k == 1


@pytest.mark.parametrize(("classes", "given"), [(5, False), (6, True)])
def test_top5_is_left_out_where_it_says_nothing(classes: int, given: bool) -> None:
    found = conclude(one_hot([0, 1], classes), np.array([0, 1]))
    assert ("top5" in found.values) is given
    assert any("Top-5 accuracy is left out" in note for note in found.notes) is not given


def test_the_weakest_classes_are_named_with_their_figures() -> None:
    labels = np.repeat([0, 1, 2], 20)
    predicted = labels.copy()
    predicted[20:28] = 2  # c1: 12 of 20
    predicted[40:44] = 0  # c2: 16 of 20
    found = conclude(one_hot(predicted, 3), labels, names=("cat", "bird", "dog"))
    low, high = clopper_pearson(12, 20, 0.95)
    assert found.notes[0].startswith(
        f"The weakest of 3 classes are bird (60.0% of 20, 90 % interval {low:.1%} to {high:.1%}) and dog (80.0%"
    )
    assert found.notes[1] == "The most common confusion: bird is taken for dog 8 times of 20."
    recall = figure(found, "recall").data
    assert recall["labels"] == ["bird", "dog", "cat"]
    assert recall["values"] == [0.6, 0.8, 1.0]
    assert recall["n"] == [20, 20, 20]
    assert (recall["low"][0], recall["high"][0]) == pytest.approx((low, high))
    assert recall["high"][2] == 1
    assert [(r["label"], r["predicted"], r["count"], r["share"]) for r in figure(found, "confusions").data["rows"]] == [
        ("bird", "dog", 8, 0.4), ("dog", "cat", 4, 0.2),
    ]  # fmt: skip


def test_equal_names_are_told_apart() -> None:
    found = conclude(one_hot([0, 0, 2], 3), np.array([0, 1, 2]), names=("crane", "crane", "x"))
    assert found.values["recall.crane (0)"].value == 1
    assert found.values["recall.crane (1)"].value == 0
    assert found.values["recall.x"].value == 1


def test_the_matrix_counts_labels_by_predictions() -> None:
    rng = np.random.default_rng(1)
    labels, predicted = rng.integers(0, 5, 300), rng.integers(0, 5, 300)
    found = conclude(one_hot(predicted, 5), labels)
    expected = [[np.sum((labels == a) & (predicted == b)) for b in range(5)] for a in range(5)]
    np.testing.assert_array_equal(found.artifacts["confusion.npy"], expected)
    rows = figure(found, "confusions").data["rows"]
    assert sum(r["count"] for r in rows) == int((labels != predicted).sum())
    assert [r["count"] for r in rows] == sorted((r["count"] for r in rows), reverse=True)


def test_many_classes_show_the_most_confused_and_do_not_flood() -> None:
    labels = np.repeat(np.arange(120), 2)
    predicted = labels.copy()
    predicted[labels == 70] = 100
    predicted[0] = 119
    found = conclude(one_hot(predicted, 120), labels)
    assert not any(name.startswith("recall.") for name in found.values)
    assert any("120 have images" in note for note in found.notes)
    data = figure(found, "confusion")
    assert data.data["row_labels"] == ["c0", "c70", "c100", "c119"]
    assert "4 most confused of 120 classes: 3 of 3 mistakes" in data.caption
    np.testing.assert_array_equal(found.artifacts["confusion.npy"], [[1, 0, 0, 1], [0, 0, 2, 0], [0, 0, 2, 0], [0, 0, 0, 2]])
    bars = figure(found, "recall")
    assert bars.data["labels"][:3] == ["c70", "c0", "c1"]
    assert len(bars.data["labels"]) == 40
    assert "80 strongest of 120 classes are left out" in bars.caption
    assert all(len(v) <= 1000 for f in found.figures for v in f.data.values() if isinstance(v, list))


def test_without_a_mistake_there_is_no_matrix() -> None:
    found = conclude(one_hot([0, 1, 2], 3), np.array([0, 1, 2]))
    assert figure(found, "confusion").kind == "note"


def test_the_gallery_shows_the_highest_losses() -> None:
    rng = np.random.default_rng(2)
    scores, labels = rng.normal(size=(60, 4)) * 3, rng.integers(-1, 4, 60)
    found = conclude(scores, labels, gallery=5)
    seen = Predictions(scores.astype(np.float32), labels)
    hard = sorted(np.flatnonzero(labels >= 0), key=lambda i: -seen.loss[i])[:5]
    rows = figure(found, "hardest").data["rows"]
    assert [r["sample"] for r in rows] == hard
    for row in rows:
        picture = found.artifacts[row["cells"][0]["file"]]
        assert (picture == row["sample"]).all()
        assert picture.shape == (8, 8, 3)
    assert not seen.correct[hard[0]]
    cell = rows[0]["cells"][0]
    assert cell["label"] == f"c{seen.predicted[hard[0]]} {seen.confidence[hard[0]]:.0%}, not c{labels[hard[0]]}"


def test_slices_are_counted_apart_and_long_columns_are_left_out() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, -1])
    slices = {"site": np.array(["a", "a", "b", "b", "b", "", "a"]), "id": np.arange(7).astype(str), "one": np.array(["x"] * 7)}
    found = conclude(one_hot([0, 1, 1, 1, 0, 1, 1], 2), labels, slices=slices | {"id": np.arange(7).astype(str)})
    data = figure(found, "slice-1").data
    assert figure(found, "slice-1").title == "Accuracy by site"
    assert data["labels"] == ["b", "a", "(empty)"]
    assert data["values"] == [0, 0.5, 1]
    assert data["n"] == [3, 2, 1]
    assert {f.title for f in found.figures if f.name.startswith("slice")} == {"Accuracy by site", "Accuracy by id"}
    many = conclude(one_hot([0] * 51, 2), np.zeros(51, dtype=int), slices={"id": np.arange(51).astype(str)})
    assert not [f for f in many.figures if f.name.startswith("slice")]


def test_scores_that_are_not_finite_are_refused() -> None:
    scores = one_hot([0, 1, 2], 3)
    scores[1] = np.nan
    with pytest.raises(ValueError, match="1 of 2 labelled"):
        conclude(scores, np.array([0, 1, -1]))
    assert conclude(scores, np.array([0, -1, 1])).values["top1"].n == 2
    masked = one_hot([0, 1, 2], 3)
    masked[:, 2] = -np.inf  # a class that the model rules out
    assert conclude(masked, np.array([0, 1, 0])).values["top1"].k == 3


def test_the_probe_explains_itself() -> None:
    told = about(Performance)
    assert all((told.asks, told.formula, told.read, told.misleads))
    assert Performance.id() == "performance"
    with pytest.raises(ValueError, match="gallery"):
        Performance(gallery=-1)


def test_classes_and_slices_that_stand_out_are_highlighted_and_others_are_not() -> None:
    labels = np.repeat(np.arange(6), 60)
    rng = np.random.default_rng(0)
    predicted = np.where(rng.random(360) < np.where(labels == 4, 0.55, 0.92), labels, (labels + 1) % 6)
    site = np.array(["north", "south"])[np.arange(360) % 2]
    found = conclude(one_hot(predicted, 6), labels, slices={"site": site})
    recall = figure(found, "recall")
    assert [recall.data["labels"][i] for i in recall.data["highlight"]] == ["c4"]
    assert "Highlighted: 1 of 6" in recall.caption
    assert figure(found, "slice-0").data["highlight"] == []
    assert "None stands out" in figure(found, "slice-0").caption
