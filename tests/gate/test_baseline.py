"""Rules against a baseline: pairs by content, today's labels on both sides, and what cannot be compared is inconclusive."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from auditor.baseline import after, baseline_of, decoded, encoded, read_baseline, write_baseline
from auditor.bounds import clopper_pearson, exact, mcnemar
from auditor.bounds.paired import paired_share
from auditor.errors import PolicyError, StoreError
from auditor.types import Measure
from tests.gate.world import answers, audit, baseline, gate, of, real_statistics, rng, rule

ASKED = rule("top1", no_worse_than_baseline_by=0.01)
LABEL = np.arange(2000) % 5


def model(seed: int, rate: float = 0.9, n: int = 2000) -> dict[str, np.ndarray]:
    return answers(LABEL[:n], rng(seed).uniform(size=n) < rate)


def turned(columns: dict[str, np.ndarray], lose: int, win: int) -> dict[str, np.ndarray]:
    """The same model with `lose` right answers lost and `win` wrong ones mended."""
    right = columns["correct"].astype(bool)
    right = right.copy()
    losing, winning = np.flatnonzero(right)[:lose], np.flatnonzero(~right)[:win]
    right[losing], right[winning] = False, True
    return answers(columns["label"], right)


@pytest.mark.parametrize(
    ("lose", "win", "verdict", "code"),
    [
        (0, 0, "pass", 0),
        (10, 10, "pass", 0),
        (20, 5, "inconclusive", 4),
        (60, 0, "fail", 1),
        (0, 60, "pass", 0),
        (80, 40, "fail", 1),
    ],
)
def test_it_is_judged_by_the_paired_difference(lose: int, win: int, verdict: str, code: int) -> None:
    before = model(0)
    found = gate(turned(before, lose, win), ASKED, against=baseline(before))
    assert (found.verdict, found.exit_code) == (verdict, code)
    one = of(found, "performance.top1")
    assert one.baseline["difference"] == pytest.approx((win - lose) / 2000)
    low, high = (float(end[0]) for end in paired_share(np.array([lose]), np.array([win]), np.array([2000]), 0.95))
    assert (one.low, one.high) == pytest.approx((low, high))
    assert (one.baseline["broken"], one.baseline["fixed"], one.baseline["pairs"]) == (lose, win, 2000)
    assert one.baseline["p"] == pytest.approx(mcnemar(lose, win))


def test_every_newly_wrong_image_is_listed_by_name_however_many() -> None:
    before = model(0)
    today = turned(before, 700, 3)
    one = of(gate(today, ASKED, against=baseline(before)), "performance.top1")
    lost = np.flatnonzero((before["correct"] == 1) & (today["correct"] == 0))
    assert set(one.samples) == set(lost.tolist())
    assert len(one.names) == 700
    assert [str(today["name"][i]) for i in one.samples] == list(one.names)
    assert len(one.baseline["newly_right"]["names"]) == 3
    assert "700 newly wrong, 3 newly right (exact McNemar p = " in one.sentence


def test_not_significant_is_not_no_regression() -> None:
    """Few pairs: McNemar finds nothing, and the rule does not pass either."""
    before = model(0, n=100)
    one = of(gate(turned(before, 3, 1), ASKED, against=baseline(before)), "performance.top1")
    assert one.baseline["p"] > 0.5
    assert one.verdict == "inconclusive"
    assert one.needed is not None
    assert one.needed > 100


def test_images_are_matched_by_content_not_by_place() -> None:
    before = model(0)
    order = rng(9).permutation(2000)
    moved = {key: column[order] for key, column in turned(before, 60, 0).items()}
    found = of(gate(moved, ASKED, against=baseline(before)), "performance.top1")
    assert found.baseline["broken"] == 60
    assert {str(moved["key"][i]) for i in found.samples} == {f"{i:064x}:0" for i in np.flatnonzero(before["correct"])[:60]}


def test_both_sides_are_scored_with_todays_labels() -> None:
    before = model(0)
    today = {**model(0)}
    mended = np.flatnonzero(before["correct"] == 0)[:40]  # these labels were wrong all the time
    label = before["label"].copy()
    label[mended] = before["predicted"][mended]
    today["label"], today["correct"] = label, (today["predicted"] == label).astype(np.float32)
    verdict = gate(today, ASKED, against=baseline(before))
    one = of(verdict, "performance.top1")
    assert (one.baseline["broken"], one.baseline["fixed"]) == (0, 0)
    assert one.baseline["value"] == one.value
    assert verdict.baseline["relabelled"] == 40


def test_a_column_that_cannot_be_scored_anew_leaves_out_what_was_relabelled() -> None:
    before = model(0)
    kept = (rng(4).uniform(size=2000) < 0.8).astype(np.float32)
    before["performance.top5"] = kept
    from auditor.bounds import proportion

    value = proportion(int(kept.sum()), 2000, columns=("performance.top5",))
    measures = (*audit(before).catalogue["performance"], Measure("top5", "Top-5", "share", "higher", "."))
    record = dataclasses.replace(audit(before, top5=value), catalogue={"performance": measures})
    old = baseline_of(record, before, made="2026-01-02")
    today = {**before, "label": before["label"].copy()}
    today["label"][:50] = (today["label"][:50] + 1) % 5
    one = of(gate(today, rule("top5", no_worse_than_baseline_by=0.05), record=record, against=old), "performance.top5")
    assert (one.verdict, one.baseline["pairs"]) == ("pass", 1950)
    today["label"] = (before["label"] + 1) % 5  # none is left
    one = of(gate(today, rule("top5", no_worse_than_baseline_by=0.05), record=record, against=old), "performance.top5")
    assert one.verdict == "inconclusive"
    assert "count on both sides" in one.sentence


def test_classes_meet_by_name() -> None:
    before = model(0)
    old = baseline(before, names=["a", "b", "c", "d", "e"])
    turn = np.array([3, 0, 4, 1, 2])  # today's model has them in another order
    today = {**before, "label": turn[before["label"]], "predicted": turn[before["predicted"]]}
    names = [""] * 5
    for number, place in enumerate(turn):
        names[place] = "abcde"[number]
    one = of(gate(today, ASKED, record=audit(today, names=names), against=old), "performance.top1")
    assert (one.baseline["broken"], one.baseline["fixed"]) == (0, 0)
    wrong = of(gate(today, ASKED, record=audit(today, names=list("abcde")), against=old), "performance.top1")
    assert wrong.baseline["fixed"] > 100


@pytest.mark.parametrize("shared", [1900, 1899])
def test_too_few_images_in_common_is_inconclusive(shared: int) -> None:
    before, today = model(0), model(0)
    today["key"] = np.array([key if i < shared else f"{i + 9999:064x}:0" for i, key in enumerate(today["key"])], dtype=object)
    verdict = gate(today, ASKED, against=baseline(before))
    one = of(verdict, "performance.top1")
    assert (one.verdict == "pass") == (shared == 1900)
    assert verdict.baseline["overlap"] == shared / 2000
    assert shared == 1900 or "images are the same as the baseline's" in one.sentence
    more = {**today, "correct": np.ones(2000, dtype=np.float32)}
    assert (gate(more, ASKED, against=baseline(before)).exit_code == 0) == (shared == 1900), "however good it looks"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: {"revisions": {**b.revisions, "performance.top1": 7}}, "changed its meaning"),
        (lambda b: {"parameters": {"performance": {"gallery": 9}}}, "other settings of performance: gallery 9, now None"),
        (lambda b: {"parameters": {}}, "no figures of performance"),
        (lambda b: {"model": {**b.model, "seed": 4}}, "with seed 4"),
        (lambda b: {"model": {**b.model, "task": "features"}}, "for the task features"),
        (lambda b: {"model": {**b.model, "outputs": 9}}, "has 9 outputs, this one 5"),
        (lambda b: {"values": {}}, "does not hold this figure"),
        (lambda b: {"columns": {"key": b.columns["key"]}}, "cannot be paired"),
    ],
)
def test_what_cannot_be_compared_never_passes(change: object, words: str) -> None:
    before = baseline(model(0))
    other = dataclasses.replace(before, **change(before))  # type: ignore[operator]
    for more in ({}, {"on_inconclusive": "pass"}):
        verdict = gate(model(0, 1.0), {**ASKED, **more}, against=other)
        assert (verdict.verdict, verdict.exit_code) == ("inconclusive", 4)
        assert words in of(verdict, "performance.top1").sentence
    assert gate(model(0, 1.0), {**ASKED, "on_inconclusive": "fail"}, against=other).exit_code == 1


@pytest.mark.parametrize(("named", "verdict", "code"), [(None, "inconclusive", 4), ("warn", "warn", 0), ("fail", "fail", 1)])
def test_the_first_pull_request_has_no_baseline(named: str | None, verdict: str, code: int) -> None:
    keys = {} if named is None else {"on_missing_baseline": named}
    found = gate(model(0), ASKED, rule("recall", no_worse_than_baseline_by=0.1), **keys)
    assert (found.verdict, found.exit_code) == (verdict, code)
    assert [o.id for o in found.outcomes] == ["performance.top1", "performance.recall", "ledger.coverage"]
    assert "no baseline yet" in found.outcomes[0].sentence


def test_a_measure_that_points_nowhere_has_no_baseline_rule() -> None:
    columns = model(0)
    with pytest.raises(PolicyError, match="neither more nor less"):
        gate(columns, rule("kept", no_worse_than_baseline_by=0.1), record=audit(columns, kept=exact(1.0, "share")))


def test_one_class_that_is_worse_is_named_with_its_images() -> None:
    before = model(0)
    lost = np.flatnonzero((before["label"] == 3) & (before["correct"] == 1))[:90]
    right = before["correct"].astype(bool)
    right = right.copy()
    right[lost] = False
    verdict = gate(answers(LABEL, right), rule("recall", no_worse_than_baseline_by=0.05), against=baseline(before))
    assert verdict.exit_code == 1
    assert [o.rule["scope"] for o in verdict.outcomes if o.verdict == "fail"] == ["3"]
    assert set(of(verdict, "performance.recall.3").samples) == set(lost.tolist())
    assert all(o.baseline["pairs"] == 400 for o in verdict.outcomes if o.many > 1)


def test_lower_is_better_turns_the_sign() -> None:
    confidence = rng(7).beta(8, 1.5, 2000)
    right = rng(8).uniform(size=2000) < confidence
    before = answers(LABEL, right, confidence=confidence)
    bold = answers(LABEL, right, confidence=np.clip(confidence + 0.15, 0, 1))
    values = real_statistics(before)
    asked = rule("ece", no_worse_than_baseline_by=0.03)
    worse = of(
        gate(bold, asked, record=audit(bold, **real_statistics(bold)), against=baseline(before, **values)), "performance.ece"
    )
    assert (worse.verdict, worse.least) == ("fail", False)
    assert worse.baseline["difference"] > 0.03
    better = of(
        gate(before, asked, record=audit(before, **values), against=baseline(bold, **real_statistics(bold))), "performance.ece"
    )
    assert better.verdict == "pass"


def test_an_exact_figure_is_compared_itself() -> None:
    columns = model(0)
    measures = (*audit(columns).catalogue["performance"], Measure("gap", "Gap", "share", "lower", "."))

    def made(gap: float) -> object:
        return dataclasses.replace(audit(columns, gap=exact(gap, "share")), catalogue={"performance": measures})

    old = baseline_of(made(0.10), columns, made="2026-01-02")  # type: ignore[arg-type]
    for gap, verdict in ((0.1, "pass"), (0.12, "pass"), (0.1201, "fail"), (0.05, "pass")):
        found = gate(columns, rule("gap", no_worse_than_baseline_by=0.02), record=made(gap), against=old)  # type: ignore[arg-type]
        assert of(found, "performance.gap").verdict == verdict, gap


def test_a_void_figure_on_either_side_never_passes() -> None:
    columns, old = model(0), baseline(model(0))
    void = dataclasses.replace(old.values["performance.top1"], flags=("void: x",))
    other = dataclasses.replace(old, values={**old.values, "performance.top1": void})
    assert gate(columns, ASKED, against=other).exit_code == 4
    value = dataclasses.replace(audit(columns).sections["performance"].values["top1"], flags=("void: y",))
    assert gate(columns, ASKED, record=audit(columns, top1=value), against=old).exit_code == 4


def test_at_the_line_both_errors_are_at_most_5_percent() -> None:
    draw, n, trials = rng(5), 600, 400
    counts = {"pass": 0, "fail": 0, "inconclusive": 0}
    for _ in range(trials):
        label, before = np.zeros(n, dtype=int), draw.uniform(size=n) < 0.9
        lose, win = draw.uniform(size=n) < 0.07, draw.uniform(size=n) < 0.33  # of the right, of the wrong: a loss of 0.03
        today = np.where(before, ~lose, win)
        asked = rule("top1", no_worse_than_baseline_by=0.03)
        counts[of(gate(answers(label, today), asked, against=baseline(answers(label, before))), "performance.top1").verdict] += 1
    most = 0.05 * trials + 4 * math.sqrt(0.05 * 0.95 * trials)
    assert counts["pass"] <= most
    assert counts["fail"] <= most


def test_the_file_gives_back_what_went_in(tmp_path: Path) -> None:
    old = baseline(model(0), names=["a", "b", "c", "d", "ünïcödé"])
    path = tmp_path / "baseline.parquet"
    size = write_baseline(path, old)
    found = read_baseline(path)
    assert found is not None
    assert size == path.stat().st_size
    assert (found.name, found.made, found.model, found.values) == (old.name, old.made, old.model, old.values)
    assert found.revisions == old.revisions
    assert set(found.columns) == {"key", "name", "label", "predicted", "confidence"}
    for name, column in found.columns.items():
        expected = old.columns[name]
        assert column.tolist() == (expected.tolist() if column.dtype == object else expected.astype(column.dtype).tolist()), name
    assert gate(model(0), ASKED, against=found).exit_code == 0
    assert encoded(old) == encoded(old)


def test_forty_thousand_images_stay_below_5_mb(tmp_path: Path) -> None:
    import hashlib

    n, draw = 40_000, rng(0)
    columns = answers(draw.integers(0, 1000, n), draw.uniform(size=n) < 0.8, confidence=draw.uniform(size=n).astype(np.float32))
    columns["key"] = np.array([hashlib.sha256(str(i).encode()).hexdigest() + ":0" for i in range(n)], dtype=object)
    columns["name"] = np.array(
        [f"n{i % 1000:08d}/ILSVRC2012_val_{draw.integers(10**8):08d}.JPEG" for i in range(n)], dtype=object
    )
    columns["performance.top5"] = (draw.uniform(size=n) < 0.95).astype(np.float32)
    columns["neighbours.agreement"] = (draw.integers(0, 11, n) / 10).astype(np.float32)
    values = {
        "top5": dataclasses.replace(exact(0.5, "share"), columns=("performance.top5",)),
        "agreement": dataclasses.replace(exact(0.5, "share"), columns=("neighbours.agreement",)),
    }
    assert write_baseline(tmp_path / "b", baseline(columns, names=[f"class {i}" for i in range(1000)], **values)) < 5e6


def test_drift_since_the_first_baseline_is_kept_and_told() -> None:
    one, two, three = model(0, 0.9), model(0, 0.89), model(0, 0.88)
    first = baseline(one)
    second = after(baseline(two), first)
    third = after(baseline(three), second)
    assert after(first, None).first == {}
    assert second.first["values"]["performance.top1"] == first.values["performance.top1"].value
    assert third.first == second.first
    (row,) = [r for r in gate(model(0, 0.87), ASKED, against=third).baseline["drift"] if r["id"] == "performance.top1"]
    assert row["first"] > row["baseline"] > row["today"]


@pytest.mark.parametrize("content", [b"", b"PAR1 nothing", b"{}"])
def test_what_is_no_baseline_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(StoreError, match="is no baseline"):
        read_baseline(tmp_path / "b")


def test_a_newer_file_and_another_content_than_pinned_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    data = encoded(baseline(model(0, n=50)))
    (tmp_path / "b").write_bytes(data)
    pin = hashlib.sha256(data).hexdigest()
    assert read_baseline(f"{tmp_path / 'b'}#sha256={pin}") is not None
    with pytest.raises(StoreError, match="get the right file"):
        read_baseline(f"{tmp_path / 'b'}#sha256={'0' * 64}")
    monkeypatch.setattr("auditor.baseline.VERSION", 0)
    with pytest.raises(StoreError, match="newer auditor"):
        decoded(data, "b", pin)
    assert read_baseline(tmp_path / "gone") is None


def test_a_baseline_is_read_from_a_url(tmp_path: Path) -> None:
    import functools
    import threading
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    write_baseline(tmp_path / "b.parquet", baseline(model(0, n=50)))
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        found = read_baseline(f"{url}/b.parquet")
        with pytest.raises(StoreError, match="404"):
            read_baseline(f"{url}/gone.parquet")
        server.shutdown()
        thread.join()
    assert found is not None
    assert found.source == f"{url}/b.parquet"


def test_the_bounds_of_today_are_not_those_of_the_pairs() -> None:
    """An absolute rule beside a rule against the baseline keeps its own interval."""
    columns = model(0)
    verdict = gate(columns, rule("top1", at_least=0.5), ASKED, against=baseline(columns))
    absolute, paired = [o for o in verdict.outcomes if o.id == "performance.top1"]
    assert absolute.low == clopper_pearson(int(columns["correct"].sum()), 2000)[0]
    assert paired.low is not None
    assert paired.low < 0


def test_a_parameter_that_only_alters_what_is_shown_leaves_the_baseline_comparable() -> None:
    before = dataclasses.replace(baseline(model(0)), parameters={"performance": {"gallery": 16, "top": 5}})
    record = audit(model(0, 1.0))
    section = dataclasses.replace(record.sections["performance"], parameters={"gallery": 8, "top": 5}, only_shown=("gallery",))
    record = dataclasses.replace(record, sections={"performance": section})
    assert gate(model(0, 1.0), ASKED, record=record, against=before).verdict == "pass"
    altered = dataclasses.replace(section, parameters={"gallery": 8, "top": 3})
    record = dataclasses.replace(record, sections={"performance": altered})
    found = gate(model(0, 1.0), ASKED, record=record, against=before)
    assert found.verdict == "inconclusive"
    assert "other settings of performance: top 5, now 3" in found.outcomes[0].sentence
    assert "gallery" not in found.outcomes[0].sentence
