"""What the stages of the benchmark share: which way a ratio goes, whose turn it is, what a table says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.__main__ import collected, page
from benchmarks.common import Baton, Row, Turns, in_turn, line, missing, read, row, table, woven, written
from benchmarks.reasons import REASONS, missed

TURNS = Turns({"ours": [1.0, 2.0, 10.0], "peer": [4.0, 6.0, 50.0]})


def test_sides_take_turns_and_a_warm_round_is_not_counted() -> None:
    calls: list[str] = []
    turns = in_turn(2, {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")})
    assert calls == ["a", "b"] * 3
    assert {name: len(spent) for name, spent in turns.seconds.items()} == {"a": 2, "b": 2}
    in_turn(1, {"a": lambda: calls.append("a")}, warm=False)
    assert len(calls) == 7


@pytest.mark.parametrize(
    ("limits", "ratio", "target", "met"),
    [
        ({"at_least": 4.0}, 4.0, ">= 4", True),
        ({"at_least": 4.5}, 4.0, ">= 4.5", False),
        ({"at_most": 0.25}, 0.25, "<= 0.25", True),
        ({"at_most": 0.2}, 0.25, "<= 0.2", False),
        ({}, 4.0, "", None),
    ],
)
def test_a_ratio_is_the_median_of_the_rounds_own(limits: dict[str, float], ratio: float, target: str, met: bool | None) -> None:
    found = row("stage", "case", TURNS, "peer 1.0", **limits)  # type: ignore[arg-type]
    assert (found.ratio, found.target, found.met) == (pytest.approx(ratio), target, met)
    assert (found.ours_s, found.peer_s) == (2.0, 6.0)


def test_rows_come_back_as_they_were_written_and_a_bar_does_not_break_the_table(tmp_path: Path) -> None:
    rows = [row("stage", "a|b", TURNS, "peer", at_least=3), missing("stage", "c", "other", "<= 1")]
    assert read(written(tmp_path, "stage", rows)) == rows
    assert line(rows[0]).count("|") - line(rows[0]).count("\\|") == table(rows).splitlines()[0].count("|")
    assert "other: not installed" in line(rows[1])


def test_the_page_counts_targets_and_names_stages_that_failed(tmp_path: Path) -> None:
    written(tmp_path, "one", [row("one", "x", TURNS, "peer", at_least=3), row("one", "y", TURNS, "peer", at_least=9)])
    (tmp_path / "two.json").write_text('{"not": "rows"}')
    rows = collected(tmp_path, ["one", "two", "three"])
    assert [found.case for found in rows] == ["x", "y"]
    said = page([*rows, Row("two", "z", None, "-", None, None, "", None)], {"date": "today"}, {"two": {"status": 3}}, small=True)
    assert "Of 2 targets 1 are met and 1 missed" in said
    assert "two (exit status 3)" in said
    assert "no measurement" in said


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_woven_sides_run_piece_by_piece_in_processes_of_their_own(tmp_path: Path) -> None:
    told, held = tmp_path / "told", []

    def say(text: str) -> None:
        with told.open("a") as file:
            file.write(text)

    def side(name: str, pieces: int, seconds: float = 0.0) -> Callable[[], None]:
        def run() -> None:
            for _ in range(pieces):
                held[0].passed()
                say(name)
                begin = time.process_time()
                while time.process_time() - begin < seconds:
                    pass

        return run

    @contextmanager
    def baton(given: Baton) -> Iterator[None]:
        held.append(given)
        yield

    turns = woven(1, {"a": side("a", 3, 0.02), "b": side("b", 5), "c": side("c", 1)}, baton, lambda: say("."))
    assert told.read_text().replace(".", "") == "abcababbb"
    assert told.read_text().count(".") == 3, "each is warmed in its own process"
    assert turns.seconds["a"][0] >= 3 * 0.02 > turns.seconds["c"][0]
    assert not held, "nothing happened in this process"
    with pytest.raises(RuntimeError, match="b failed"):
        woven(1, {"a": side("a", 1), "b": lambda: int("x")}, baton, lambda: None)
    with pytest.raises(RuntimeError, match="b failed"):
        woven(1, {"a": side("a", 1), "b": lambda: os._exit(9), "c": side("c", 1)}, baton, lambda: None)


def test_every_miss_is_told_with_its_distance_and_a_reason() -> None:
    rows = [
        Row("report", "5,000 images: page over image bytes", None, "-", None, 1.75, "<= 1.4", met=False),
        Row("synthesis", "style, VGG-16", 1.0, "plain loop", 2.0, 2.0, ">= 3", met=False),
        Row("synthesis", "texture", 1.0, "plain loop", 4.0, 4.0, ">= 3", met=True),
        Row("new", "case", 1.0, "peer", 4.0, 4.0, ">= 8", met=False),
    ]
    said = missed(rows)
    assert "1.75 of at most 1.4 (25% more). Base64" in said
    assert "2 of at least 3 (67%). L-BFGS" in said
    assert "texture" not in said
    assert "4 of at least 8 (50%). Why is not known." in said
    assert missed(rows[2:3]) == ""
    assert len({(stage, words) for stage, words, _ in REASONS}) == len(REASONS)
