"""Names, maps and decisions, where all are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from auditor.errors import DataError
from auditor.methods.shape_bias import category_scores, decide, digest, named_map, read_cues, read_map


def planted(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_the_cues_are_in_the_names(tmp_path: Path) -> None:
    folder = planted(tmp_path, "cat/cat7-dog12.png", "cat/cat1-cat2.jpg", "dog/dog-oven3.JPG", "categories.json", "cat/notes.txt")
    cues = read_cues(folder)
    assert cues.categories == ("cat", "dog", "oven")
    assert [(c.path.name, c.shape, c.texture, c.conflict) for c in cues.items] == [
        ("cat1-cat2.jpg", 0, 0, False), ("cat7-dog12.png", 0, 1, True), ("dog-oven3.JPG", 1, 2, True),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["cat/dog1-cat2.png", "cat/cat1.png", "cat/cat1-7.png", "cat/cat1-.png"])
def test_a_name_that_does_not_say_both_cues_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="expected a name such as catN"):
        read_cues(planted(tmp_path, name))


def test_classes_may_be_numbers_or_have_hyphens(tmp_path: Path) -> None:
    cues = read_cues(planted(tmp_path, "1/12-10.png", "10/10-1.png", "t-shirt/t-shirt2-t-shirt3.png"))
    assert [(cues.categories[c.shape], cues.categories[c.texture]) for c in cues.items] == [
        ("1", "10"), ("10", "1"), ("t-shirt", "t-shirt"),
    ]  # fmt: skip


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none"):
        read_cues(tmp_path)
    with pytest.raises(DataError, match="expected a folder"):
        read_cues(tmp_path / "missing")


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    folder = planted(tmp_path, "a/a1-b1.png", "b/b1-a1.png")
    files = [c.path for c in read_cues(folder).items]
    before = digest(files)
    assert before == digest(files)
    files[1].write_bytes(b"other")
    assert before != digest(files)


def test_a_map_takes_indices_and_names(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"cat": [3, "tabby", 3], "dog": [0]}))
    cat, dog = read_map(path, ("cat", "dog"), ("poodle", "tabby", "x", "y"), 4)
    assert (cat.tolist(), dog.tolist()) == ([1, 3], [0])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"cat": [4]}', "0 to 3"), ('{"cat": ["lion"]}', "lion"), ('{"cat": [true]}', "True"), ('{"cat": []}', "a list of"),
        ('{"dog": [0]}', "cat"), ("[1]", "cat"), ("{", "JSON map"),
    ],
)  # fmt: skip
def test_a_wrong_map_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "map.json"
    path.write_text(content)
    with pytest.raises(DataError, match=said):
        read_map(path, ("cat",), ("a", "b", "c", "d"), 4)


def test_without_a_map_categories_are_class_names() -> None:
    assert [g.tolist() for g in named_map(("b", "a"), ("a", "b"))] == [[1], [0]]
    with pytest.raises(DataError, match="categories"):
        named_map(("c",), ("a", "b"))


def test_a_category_scores_the_mean_over_its_classes() -> None:
    rows = np.array([[0.5, 0.1, 0.4], [0.2, 0.5, 0.3]])
    found = category_scores(rows, [np.array([0, 1]), np.array([2])])
    np.testing.assert_allclose(found, [[0.3, 0.4], [0.35, 0.3]])


def test_decisions_leave_out_what_agrees() -> None:
    category, shape, texture = np.array([0, 1, 2, 0]), np.array([0, 0, 0, 0]), np.array([1, 1, 1, 0])
    found = decide(category, shape, texture)
    assert found.shape.tolist() == [True, False, False, False]
    assert found.texture.tolist() == [False, True, False, False]
    assert found.other.tolist() == [False, False, True, False]
