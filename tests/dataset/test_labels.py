"""Every rule by which labels meet logits, and every refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor.dataset.labels import POSITION, meet, read_classes
from auditor.errors import LabelError


def test_names_exact_then_loose_then_synonym() -> None:
    names = ["tench, Tinca tinca", "great white_shark", "hen", "Hen"]
    assert meet(["hen", "Hen", "GreatWhite shark", "Tench"], 4, names=names).labels.tolist() == [2, 3, 1, 0]


def test_names_that_do_not_meet_show_both_lists() -> None:
    with pytest.raises(LabelError, match=r"\[lynx\] meet none .*\[cat, dog\]"):
        meet(["lynx", "cat"], 2, names=["cat", "dog"])
    with pytest.raises(LabelError, match="more than one"):
        meet(["crane"], 2, names=["crane", "crane"])


def test_position_only_when_counts_agree() -> None:
    met = meet(["b", "a"], 3, folders=["a", "b", "empty"])
    assert met.labels.tolist() == [1, 0]
    assert (met.rule, met.warnings, met.classes) == ("by sorted position", (POSITION,), ("a", "b", "empty"))
    with pytest.raises(LabelError, match=r"2 labels \[a, b\] cannot meet 3 logits"):
        meet(["b", "a"], 3)


def test_numbered_folders_are_indices_not_sorted_text() -> None:
    names = [str(i) for i in range(11)]
    assert meet(["10", "2"], 11, folders=names).labels.tolist() == [10, 2]
    assert meet(["10", "2"], 11, names=names[::-1]).labels.tolist() == [0, 8]


def test_integers_and_what_lies_beyond() -> None:
    assert meet([0, 2, -1, None], 3, names=["x", "y", "z"]).labels.tolist() == [0, 2, -1, -1]
    with pytest.raises(LabelError, match=r"\[3, 9\] are beyond the 3 logits \(0 to 2\)"):
        meet([1, 3, 9], 3)
    with pytest.raises(LabelError, match=r"\[-2\]"):
        meet([-2], 3)


def test_class_name_column_names_logits_and_flags_disagreement() -> None:
    assert meet([1], 2, shown={1: "dog"}).classes == ("0", "dog")
    assert meet([0, 1], 2, names=["cat", "dog"], shown={0: "Cat", 1: "dog"}).warnings == ()
    assert "disagree for 2 of 2" in meet([0, 1], 2, names=["cat", "dog"], shown={0: "dog", 1: "cat"}).warnings[0]


def test_unlabelled_and_no_logits() -> None:
    assert meet([None, None], 5).rule == "unlabelled"
    assert meet(["b", "a"], 0).labels.tolist() == [1, 0]


def test_classes_file(tmp_path: Path) -> None:
    for name, text in (("c.txt", "dog\ncat\n"), ("l.json", '["dog", "cat"]'), ("d.json", '{"0": "dog", "1": "cat"}')):
        (tmp_path / name).write_text(text)
        assert read_classes(tmp_path / name) == ("dog", "cat")
        assert meet(["cat"], 2, names=["x", "y"], classes_file=tmp_path / name).labels.tolist() == [1]
        with pytest.raises(LabelError, match=r"names 2 classes .* for 3 logits"):
            meet(["cat"], 3, classes_file=tmp_path / name)
    for name, text in (("bad.json", "{"), ("odd.json", '{"5": "x"}')):
        (tmp_path / name).write_text(text)
        with pytest.raises(LabelError, match=name):
            read_classes(tmp_path / name)
    with pytest.raises(LabelError, match="check the path"):
        read_classes(tmp_path / "gone.txt")


def test_label_map(tmp_path: Path) -> None:
    table = tmp_path / "map.json"
    table.write_text(json.dumps({"katze": "cat", "hund": 1}))
    assert meet(["hund", "katze"], 2, names=["cat", "dog"], label_map=table).labels.tolist() == [1, 0]
    with pytest.raises(LabelError, match=r"\[maus\] are not in --label-map"):
        meet(["maus"], 2, names=["cat", "dog"], label_map=table)
    with pytest.raises(LabelError, match="the model has none"):
        meet(["katze"], 2, label_map=table)
    csv = tmp_path / "map.csv"
    csv.write_text("label,class\nhund,9\n")
    with pytest.raises(LabelError, match="beyond the 2 logits"):
        meet(["hund"], 2, label_map=csv)
