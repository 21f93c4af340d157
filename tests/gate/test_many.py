"""Rules on each class or each slice: Holm over them, undecided ones listed, the bad ones named."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from auditor.bounds import clopper_pearson
from auditor.errors import PolicyError
from tests.gate.world import answers, audit, gate, of, real_statistics, rng, rule


def holm(p: np.ndarray, error: float) -> set[int]:
    """The textbook: by rising p, until one is above error / (m - rank)."""
    found: set[int] = set()
    for rank, place in enumerate(np.argsort(p, kind="stable")):
        if p[place] > error / (len(p) - rank):
            break
        found.add(int(place))
    return found


def test_the_classes_that_are_shown_bad_are_those_of_holms_step_down() -> None:
    draw = rng(1)
    for trial in range(20):
        rates = np.where(draw.uniform(size=30) < 0.3, draw.uniform(0.5, 0.85, 30), draw.uniform(0.85, 1, 30))
        label = np.repeat(np.arange(30), 40)
        columns = answers(label, draw.uniform(size=1200) < rates[label])
        verdict = gate(columns, rule("recall", at_least=0.85))
        right = np.bincount(label, weights=columns["correct"])
        p = stats.binom.cdf(right, 40, 0.85)
        shown = {int(o.rule["scope"]) for o in verdict.outcomes if o.verdict == "fail"}
        assert shown == holm(p, 0.05), trial


def test_two_hundred_classes_of_two_hundred_images_with_one_bad_one() -> None:
    label = np.repeat(np.arange(200), 200)
    rates = np.full(200, 0.9)
    rates[137] = 0.6
    columns = answers(label, rng(0).uniform(size=40_000) < rates[label])
    record = audit(columns, names=[f"class {i}" for i in range(200)])
    verdict = gate(columns, rule("recall", at_least=0.8), record=record)
    bad = [o for o in verdict.outcomes if o.verdict == "fail"]
    assert (verdict.verdict, verdict.exit_code) == ("fail", 1)
    assert [o.rule["scope"] for o in bad] == ["class 137"]
    assert "class 137" in verdict.why
    assert bad[0].names
    assert all(name.startswith("137/") for name in bad[0].names)
    assert sum(o.many == 200 for o in verdict.outcomes) == 200
    good = gate(answers(label, rng(0).uniform(size=40_000) < 0.9), rule("recall", at_least=0.8))
    assert good.exit_code == 0, "what is only undecided changes no code"
    assert "nothing is shown" in good.why


def test_forty_slices_of_noise_fail_in_at_most_5_percent_of_releases() -> None:
    draw, trials = rng(2), 200
    failed = 0
    for _ in range(trials):
        slices = draw.integers(0, 40, 1000).astype(str)
        columns = answers(np.zeros(1000, dtype=int), draw.uniform(size=1000) < 0.9, site=slices)
        failed += gate(columns, rule("top1", at_least=0.9, slice="site")).exit_code == 1
    assert failed / trials <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / trials)


def test_one_bad_slice_is_named_with_its_own_images() -> None:
    sites = np.array([f"site {i % 8}" for i in range(1600)])
    right = np.where(sites == "site 5", rng(0).uniform(size=1600) < 0.6, rng(1).uniform(size=1600) < 0.95)
    columns = answers(np.arange(1600) % 4, right, site=sites)
    verdict = gate(columns, rule("top1", at_least=0.9, slice="site"))
    (bad,) = [o for o in verdict.outcomes if o.verdict == "fail"]
    assert bad.id == "performance.top1[site=site 5]"
    assert bad.sentence.startswith("Accuracy where site is site 5 is ")
    assert {sites[i] for i in bad.samples} == {"site 5"}
    assert bad.n == 200
    assert bad.value == pytest.approx(right[sites == "site 5"].mean())


def test_a_rule_on_one_slice_is_a_rule_like_any_other() -> None:
    mark = np.array(["marked", "clean"] * 200)
    columns = answers(np.arange(400) // 2 % 4, np.where(mark == "clean", True, rng(0).uniform(size=400) < 0.5), mark=mark)
    good = of(gate(columns, rule("top1", at_least=0.95, slice="mark=clean")), "performance.top1[mark=clean]")
    assert (good.verdict, good.many, good.n, good.low) == ("pass", 1, 200, clopper_pearson(200, 200)[0])
    assert gate(columns, rule("top1", at_least=0.95, slice="mark=marked")).exit_code == 1
    one = of(gate(columns, rule("recall", scope="2", at_least=0.2, slice="mark=clean")), "performance.recall.2[mark=clean]")
    assert (one.n, one.value) == (50, 1.0)


def test_a_class_that_is_in_no_image_of_a_slice_is_left_out_of_it() -> None:
    columns = answers(np.arange(400) % 4, np.ones(400), half=np.array(["a", "b"])[np.arange(400) % 2])
    verdict = gate(columns, rule("recall", at_least=0.9, slice="half"))
    assert [o.id.partition("recall.")[2] for o in verdict.outcomes if o.many > 1] == [
        "0[half=a]",
        "1[half=b]",
        "2[half=a]",
        "3[half=b]",
    ]
    assert verdict.exit_code == 0


@pytest.mark.parametrize("name", ["macro_recall", "worst_class_recall", "ece"])
def test_a_statistic_of_a_slice_is_that_of_its_images(name: str) -> None:
    half = np.array(["a", "b"] * 300)
    confidence = rng(3).uniform(0.5, 1, 600)
    columns = answers(np.arange(600) // 2 % 3, rng(0).uniform(size=600) < 0.9, half=half, confidence=confidence)
    part = {key: column[half == "b"] for key, column in columns.items() if not key.startswith("slice.")}
    alone = real_statistics(part)[name]
    found = of(gate(columns, rule(name, at_least=0.0, slice="half=b")), f"performance.{name}[half=b]")
    assert (found.value, found.low, found.high, found.n) == (alone.value, alone.low, alone.high, 300)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"slice": "sight=a"}, ["no column 'sight' of the manifest", "did you mean 'site'?"]),
        ({"slice": "site=c"}, ["no slice 'site=c'", "a, b"]),
    ],
)
def test_a_slice_that_is_not_there_is_refused(keys: dict[str, str], words: list[str]) -> None:
    columns = answers(np.zeros(4, dtype=int), np.ones(4), site=["a", "b", "a", "b"])
    with pytest.raises(PolicyError) as caught:
        gate(columns, rule("top1", at_least=0.5, **keys))
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_figure_that_is_not_made_image_by_image_has_no_slice() -> None:
    from auditor.bounds import exact

    columns = answers(np.zeros(4, dtype=int), np.ones(4), site=["a", "b", "a", "b"])
    with pytest.raises(PolicyError, match="not made image by image"):
        gate(columns, rule("kept", at_least=0.5, slice="site"), record=audit(columns, kept=exact(1.0, "share")))


def test_proof_can_be_required_of_every_class() -> None:
    label = np.repeat(np.arange(4), 25)
    columns = answers(label, np.arange(100) % 10 != 0)  # 90 % of 25: nothing is shown against 0.85
    listed = gate(columns, rule("recall", at_least=0.85))
    assert (listed.verdict, listed.exit_code) == ("pass", 0)
    assert {o.verdict for o in listed.outcomes} == {"undecided", "pass"}
    assert gate(columns, rule("recall", at_least=0.85, require_proof=True)).exit_code == 4
    assert gate(columns, rule("recall", at_least=0.85, on_inconclusive="fail")).exit_code == 1
    assert gate(columns, rule("recall", at_least=0.85, on_inconclusive="pass")).exit_code == 0
    assert gate(columns, rule("recall", at_least=0.85, require_proof=True, level="warn")).verdict == "warn"


def test_a_class_without_a_figure_is_never_undecided_in_silence() -> None:
    from auditor.types import Value

    columns = answers(np.repeat(np.arange(3), 200), np.ones(600))
    record = audit(columns)
    values = {
        **record.sections["performance"].values,
        "recall.1": Value(0.9, "proportion", "share", n=200, k=180, flags=("void: x",)),
    }
    section = dataclasses.replace(record.sections["performance"], values=values)
    void = dataclasses.replace(record, sections={"performance": section})
    del columns["predicted"]  # so that only the audit's own figures are there
    verdict = gate(columns, rule("recall", at_least=0.5), record=void)
    assert (verdict.exit_code, of(verdict, "performance.recall.1").verdict) == (4, "inconclusive")


def test_the_bounds_that_are_shown_are_those_that_decide() -> None:
    label = np.repeat(np.arange(20), 50)
    columns = answers(label, np.where(label == 4, np.arange(1000) % 10 < 7, True))
    verdict = gate(columns, rule("recall", at_least=0.85))
    bad = of(verdict, "performance.recall.4")
    low, high = clopper_pearson(35, 50)[0], clopper_pearson(35, 50, 1 - 0.05 / 20)[1]
    if bad.verdict == "undecided":
        assert (bad.low, bad.high) == pytest.approx((low, high))
        assert high >= 0.85
    else:
        assert bad.high == pytest.approx(clopper_pearson(35, 50, 1 - 0.05 / 19)[1])
    assert "its error is shared over 20 figures" in bad.sentence


def test_layers_are_judged_one_by_one() -> None:
    """Holm is for many classes or slices; a handful of layers is each held to its rule."""
    from auditor.bounds import proportion
    from auditor.types import AuditRecord, Measure, Section

    values = {"share.conv1": proportion(90, 100), "share.conv2": proportion(80, 100)}
    catalogue = {"probe": (Measure("share", "Share", "share", "higher", "."),)}
    record = AuditRecord(1, "x", {}, {"coverage": 1.0}, {}, catalogue, {"probe": Section("probe", "P", "done", values=values)})
    verdict = gate({}, {"measure": "probe.share", "at_least": 0.8}, record=record)
    assert [(o.verdict, o.many) for o in verdict.outcomes[:2]] == [("pass", 1), ("inconclusive", 1)]
