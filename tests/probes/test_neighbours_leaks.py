"""Leaks between a training and a test set: by features and pixels, and as equal files."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auditor.evidence import Training
from auditor.evidence.graph import graph
from auditor.ops.room import in_memory
from auditor.probe import Results
from auditor.probes.neighbours import Neighbours
from auditor.types import Array, Finding


class Data:
    """Noise (N,20,24,3) with labels; sample i's bytes are called `stem`i."""

    def __init__(self, count: int, stem: str, seed: int) -> None:
        self.images = np.random.default_rng(seed).integers(0, 256, (count, 20, 24, 3), dtype=np.uint8)
        self.labels = np.arange(count) % 2
        self.classes = ("cat", "dog")
        self.ledger = {"listed": count, "quarantined": 0}
        self.samples = [SimpleNamespace(key=f"{stem}{i}:0", name=f"{stem}{i}.png") for i in range(count)]
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, positions: Any) -> Array:
        self.asked += [int(p) for p in positions]
        return self.images[np.asarray(positions)]


class Facts(SimpleNamespace):
    def chosen(self, count: int) -> Array:
        return np.array([5, 0])[:count]


def world(*, scores: bool = True) -> Facts:
    """40 audited and 60 training images, all different; the model is right on all but the first four."""
    rng = np.random.default_rng(0)
    data, learnt = Data(40, "test", 1), Data(60, "train", 2)
    labels = data.labels
    features = rng.normal(size=(40, 6)).astype(np.float32)
    training = Training(learnt, rng.normal(size=(60, 6)).astype(np.float32))  # type: ignore[arg-type]
    seen = SimpleNamespace(labelled=labels >= 0, correct=np.arange(40) >= 4, predicted=labels)
    return Facts(
        room=in_memory,
        dataset=data,
        features=features,
        names=("cat", "dog"),
        predictions=seen if scores else None,
        seed=1,
        train=training,
    )


def plant(facts: Facts, own: int, copy: int, *, moved: float = 0.01, light: int = 1, file: bool = False) -> None:
    """Put the audited image `own` at `copy` in the training set."""
    facts.train.features[copy] = facts.features[own] + moved
    facts.train.dataset.images[copy] = np.clip(facts.dataset.images[own].astype(int) + light, 0, 255)
    facts.train.dataset.labels[copy] = facts.dataset.labels[own]
    if file:
        facts.train.dataset.samples[copy].key = facts.dataset.samples[own].key


def conclude(facts: Facts, **parameters: Any) -> Finding:
    facts.graph = graph(facts.features)
    target: Any = SimpleNamespace()
    evidence: Any = facts
    return Neighbours(**parameters).conclude(target, evidence, Results())


def leak_figure(found: Finding) -> Any:
    return next(f for f in found.figures if f.name == "leaks")


def test_planted_leaks_are_found_and_nothing_else() -> None:
    facts = world()
    plant(facts, 7, 30)
    plant(facts, 9, 31, moved=0, light=0, file=True)
    plant(facts, 12, 32, moved=9.0, light=0)  # by pixels alone
    plant(facts, 13, 33, light=90)  # by features alone
    plant(facts, 2, 34, moved=9.0, light=90, file=True)  # equal bytes, whatever the model makes of them
    found = conclude(facts)
    value = found.values["leaked_images"]
    assert (value.k, value.n, value.kind, value.unit) == (3, 40, "proportion", "share")
    assert value.columns == ("neighbours.leaked_images",)
    assert np.flatnonzero(found.columns["neighbours.leaked_images"]).tolist() == [2, 7, 9]
    of = found.columns["neighbours.leak_of"]
    assert {i: of[i] for i in (2, 7, 9)} == {2: 34, 7: 30, 9: 31}
    assert np.isfinite(of).sum() == 3
    assert "Leaks: 3 of the 40 images are among the 60 of the training set (2 as the very same file)." in found.notes


def test_the_likest_copy_is_shown_and_labels_that_differ_come_first() -> None:
    facts = world()
    plant(facts, 7, 30, light=2)
    plant(facts, 7, 40, light=1)
    plant(facts, 9, 31, light=0, file=True)
    plant(facts, 20, 50)
    facts.train.dataset.labels[50] = 1 - facts.dataset.labels[20]
    found = conclude(facts)
    figure = leak_figure(found)
    assert [row["sample"] for row in figure.data["rows"]] == [20, 9, 7]
    assert [row["label"] for row in figure.data["rows"]] == ["near duplicates, labels differ", "the same file", "near duplicates"]
    assert figure.data["columns"] == ["audited", "training"]
    first, _, last = figure.data["rows"]
    assert [cell["label"] for cell in first["cells"]] == ["cat", "dog"]
    assert [cell["note"] for cell in last["cells"]] == ["test7.png", "train40.png"]
    np.testing.assert_array_equal(found.artifacts[last["cells"][0]["file"]], facts.dataset.images[7])
    np.testing.assert_array_equal(found.artifacts[last["cells"][1]["file"]], facts.train.dataset.images[40])
    assert "(1 as the very same file, 1 with another label there)" in " ".join(found.notes)
    assert "3 of 3 images" in figure.caption


def test_accuracy_with_and_without_the_leaks() -> None:
    facts = world()
    for own in (1, 5, 6, 7, 8):  # one of the four that are wrong
        plant(facts, own, 30 + own)
    facts.dataset.labels[39] = -1
    facts.predictions.labelled = facts.dataset.labels >= 0
    found = conclude(facts)
    clean, of = found.values["top1_without_leaks"], found.values["top1_of_leaks"]
    assert (clean.k, clean.n, of.k, of.n) == (31, 34, 4, 5)
    column = found.columns[clean.columns[0]]
    assert np.isnan(column[[1, 5, 6, 7, 8, 39]]).all()
    assert np.nansum(column) == 31
    assert np.isfinite(column).sum() == 34
    assert np.flatnonzero(np.isfinite(found.columns[of.columns[0]])).tolist() == [1, 5, 6, 7, 8]
    assert (
        "Top-1 accuracy: 89.7% on all 39 labelled images, 91.2% on the 34 that are not in the training set, 80.0% on the 5"
        in found.notes[-1]
    )


def test_without_leaks_the_accuracy_is_that_of_all_and_with_nothing_else_there_is_none() -> None:
    found = conclude(world())
    assert found.values["leaked_images"].k == 0
    assert found.values["leaked_images"].high > 0
    assert (found.values["top1_without_leaks"].k, found.values["top1_without_leaks"].n) == (36, 40)
    assert "top1_of_leaks" not in found.values
    assert "Leaks: none of the 40 images was found among the 60 of the training set." in found.notes
    assert [f.name for f in found.figures] == ["nearest"]
    facts = world()
    for own in range(40):
        plant(facts, own, own)
    found = conclude(facts)
    assert found.values["leaked_images"].value == 1
    assert "top1_without_leaks" not in found.values
    assert len(leak_figure(found).data["rows"]) == 12
    assert "12 of 40 images" in leak_figure(found).caption


def test_without_scores_leaks_are_found_and_labels_meet_by_their_names() -> None:
    facts = world(scores=False)
    facts.train.dataset.classes = ("bird", "cat", "dog")
    for own, copy in ((6, 30), (7, 31)):  # a cat and a dog
        plant(facts, own, copy)
        facts.train.dataset.labels[copy] += 1  # the same class by name
    facts.train.dataset.labels[31] = 1
    found = conclude(facts)
    assert found.values["leaked_images"].k == 2
    assert "top1_without_leaks" not in found.values
    assert [row["label"] for row in leak_figure(found).data["rows"]] == ["near duplicates, labels differ", "near duplicates"]
    facts.train.dataset.labels[:] = -1
    assert "with another label" not in " ".join(conclude(facts).notes)


def test_only_the_pixels_of_candidates_are_read_from_the_training_set() -> None:
    facts = world()
    facts.train = dataclasses.replace(facts.train, features=facts.train.features + 50)
    plant(facts, 7, 30)
    conclude(facts)
    assert set(facts.train.dataset.asked) == {30}


def test_training_images_that_could_not_be_read_are_said() -> None:
    facts = world()
    facts.train.dataset.ledger = {"listed": 63, "quarantined": 3}
    flags = conclude(facts).values["leaked_images"].flags
    assert flags == ("3 of 63 listed training images could not be read and were not compared",)


def test_without_a_training_set_that_is_said_and_there_is_no_figure() -> None:
    facts = world()
    facts.train = None
    found = conclude(facts)
    assert "Leaks were not looked for: no training set was given (--train)." in found.notes
    assert not {"leaked_images", "top1_without_leaks", "top1_of_leaks"} & set(found.values)
    assert "neighbours.leaked_images" not in found.columns


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_training_features_that_are_not_finite_are_refused(bad: float) -> None:
    facts = world()
    facts.train.features[3, 2] = bad
    with pytest.raises(ValueError, match="1 of 60 rows"):
        conclude(facts)
