from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from auditor.bounds import clopper_pearson, exact, proportion, statistic
from auditor.config import load_config
from auditor.errors import PolicyError
from auditor.gate import judge, require_known
from auditor.types import AuditRecord, Measure, Outcome, Section, Value, Verdict

MEASURES = {
    "performance": (
        Measure("top1", "Top-1 accuracy", "share", "higher", "."),
        Measure("worst_class_recall", "Worst class's recall", "share", "higher", "."),
        Measure("recall", "Recall", "share", "higher", "."),
        Measure("ece", "Calibration error", "share", "lower", "."),
    ),
    "inversion": (Measure("psnr", "PSNR", "dB", "higher", "."),),
    "filters": (Measure("dead_fraction", "Dead filters", "share", "lower", "."),),
    "adversarial": (Measure("robust_accuracy", "Robust accuracy", "share", "higher", "."),),
    "occlusion": (Measure("deletion_auc", "Deletion", "probability", "lower", "."),),
    "saliency": (Measure("randomisation_spearman", "Control likeness", "correlation", "lower", "."),),
}


def audit(values: dict[str, Value], *, coverage: Any = 1.0, **sections: Section) -> AuditRecord:
    """An audit whose values are given by `probe.measure[.scope]`; `sections` replaces whole ones."""
    found: dict[str, dict[str, Value]] = {}
    for id, value in values.items():
        probe, _, key = id.partition(".")
        found.setdefault(probe, {})[key] = value
    held = {probe: Section(probe, probe, "done", values=of) for probe, of in found.items()} | sections
    catalogue = {probe: of for probe, of in MEASURES.items() if probe in held and held[probe].status != "skipped"}
    return AuditRecord(1, "x", {}, {"coverage": coverage, "listed": 2000}, {}, catalogue, held)


def gate(record: AuditRecord, *rules: dict[str, Any], columns: dict[str, np.ndarray] | None = None, **policy: Any) -> Verdict:
    return judge(record, columns or {}, load_config({"gate": {"rules": list(rules), **policy}}).gate)


def only(verdict: Verdict) -> Outcome:
    (outcome,) = [o for o in verdict.outcomes if o.id != "ledger.coverage"]
    return outcome


def rule(measure: str, **keys: Any) -> dict[str, Any]:
    return {"measure": measure, **keys}


TOP1 = proportion(1609, 2000)


@pytest.mark.parametrize(
    ("keys", "verdict", "code"),
    [
        ({"at_least": 0.75}, "pass", 0),
        ({"at_least": 0.80}, "inconclusive", 4),
        ({"at_least": 0.85}, "fail", 1),
        ({"at_most": 0.85}, "pass", 0),
        ({"at_most": 0.80}, "inconclusive", 4),
        ({"at_most": 0.75}, "fail", 1),
        ({"at_least": 0.85, "level": "warn"}, "warn", 0),
        ({"at_least": 0.80, "level": "warn"}, "warn", 0),
        ({"at_least": 0.80, "on_inconclusive": "pass"}, "pass", 0),
        ({"at_least": 0.80, "on_inconclusive": "fail"}, "fail", 1),
        ({"at_least": 0.80, "on_inconclusive": "fail", "level": "warn"}, "warn", 0),
    ],
)
def test_a_proportion_is_judged_by_its_one_sided_bounds(keys: dict[str, Any], verdict: str, code: int) -> None:
    found = gate(audit({"performance.top1": TOP1}), rule("performance.top1", **keys))
    assert (found.verdict, found.exit_code, only(found).verdict) == (verdict, code, verdict)
    low, high = clopper_pearson(1609, 2000)
    assert (only(found).low, only(found).high, only(found).n) == (low, high, 2000)
    assert (only(found).needed is not None) == (
        keys in ({"at_least": 0.80}, {"at_most": 0.80}) or "undecided" in only(found).sentence
    )


def test_the_bounds_themselves_pass_and_the_next_number_does_not() -> None:
    low, high = clopper_pearson(1609, 2000)
    for side, line, beyond in (("at_least", low, math.nextafter(low, 1)), ("at_most", high, math.nextafter(high, 0))):
        record = audit({"performance.top1": TOP1})
        assert gate(record, rule("performance.top1", **{side: line})).verdict == "pass"
        assert gate(record, rule("performance.top1", **{side: beyond})).verdict == "inconclusive"


def test_the_confidence_is_the_policys() -> None:
    low = clopper_pearson(1609, 2000, 0.95)[0]
    record = audit({"performance.top1": TOP1})
    assert gate(record, rule("performance.top1", at_least=low), confidence=0.9).verdict == "pass"
    assert gate(record, rule("performance.top1", at_least=low), confidence=0.99).verdict == "inconclusive"


def test_at_the_line_both_errors_are_at_most_5_percent() -> None:
    rng, line = np.random.default_rng(0), 0.9
    verdicts = [
        gate(audit({"performance.top1": proportion(int(k), 300)}), rule("performance.top1", at_least=line)).verdict
        for k in rng.binomial(300, line, 1000)
    ]
    most = 0.05 + 4 * math.sqrt(0.05 * 0.95 / 1000)
    assert verdicts.count("pass") / 1000 <= most
    assert verdicts.count("fail") / 1000 <= most


def test_the_sentence_says_value_interval_n_and_line() -> None:
    found = gate(audit({"performance.top1": TOP1}), rule("performance.top1", at_least=0.85))
    assert only(found).sentence == "Top-1 accuracy is 80.5 % (78.9 to 81.9 %, n = 2,000); at least 85 % was asked for."
    assert found.why == only(found).sentence
    open_ = only(gate(audit({"performance.top1": TOP1}), rule("performance.top1", at_least=0.8)))
    assert open_.needed is not None
    assert "needed" not in open_.sentence


def test_a_figure_just_beside_the_line_does_not_look_like_it() -> None:
    found = gate(audit({"filters.dead_fraction": exact(0.20001, "share")}), rule("filters.dead_fraction", at_most=0.2))
    assert found.verdict == "fail"
    assert only(found).sentence == "Dead filters is 20.001 %; at most 20 % was asked for."


@pytest.mark.parametrize(("value", "verdict"), [(0.2, "pass"), (0.19, "pass"), (math.nextafter(0.2, 1), "fail")])
def test_an_exact_figure_is_compared_itself(value: float, verdict: str) -> None:
    assert (
        gate(audit({"filters.dead_fraction": exact(value, "share")}), rule("filters.dead_fraction", at_most=0.2)).verdict
        == verdict
    )


def test_deciding_on_points_is_named() -> None:
    found = gate(audit({"performance.top1": TOP1}), rule("performance.top1", at_least=0.80), decide="point")
    assert found.verdict == "pass"
    assert "judged by the value alone" in only(found).sentence
    assert "without regard to sampling error" in found.why
    assert found.policy["decide"] == "point"
    assert gate(audit({"performance.top1": TOP1}), rule("performance.top1", at_least=0.81), decide="point").exit_code == 1


def test_a_statistic_is_bounded_from_its_columns() -> None:
    x = np.random.default_rng(0).uniform(0.4, 0.6, 64)
    value = dataclasses.replace(
        statistic("mean", {"saliency.randomisation_spearman": x}, unit="correlation", seed=0), low=-9.0, high=9.0
    )
    record = audit({"saliency.randomisation_spearman": value})
    asked = rule("saliency.randomisation_spearman", at_most=0.55)
    assert gate(record, asked, columns={"saliency.randomisation_spearman": x}).verdict == "pass"
    assert gate(record, asked).verdict == "inconclusive"  # the stored ones, for want of the column
    assert gate(record, asked, confidence=0.9).verdict == "inconclusive"
    assert "no interval" in only(gate(record, asked, confidence=0.9)).sentence


@pytest.mark.parametrize(
    ("section", "word"),
    [
        (Section("performance", "P", "failed", reason="RuntimeError: boom"), "RuntimeError: boom"),
        (Section("performance", "P", "not_applicable", reason="it needs labels"), "does not apply (it needs labels)"),
        (Section("performance", "P", "skipped", reason="the profile quick leaves it out"), "was left out"),
        (Section("performance", "P", "done"), "was not measured"),
    ],
)
@pytest.mark.parametrize("keys", [{}, {"level": "warn"}, {"on_inconclusive": "pass"}])
def test_what_was_not_measured_is_incomplete(section: Section, word: str, keys: dict[str, Any]) -> None:
    found = gate(audit({}, performance=section), rule("performance.top1", at_least=0.1, **keys), decide="point")
    assert (found.verdict, found.exit_code) == ("incomplete", 3)
    assert word in only(found).sentence
    assert word in found.why


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "value",
    [
        Value(None, "proportion", "share", n=0, k=0),
        Value(NAN, "exact", "share"),
        Value(INF, "exact", "share"),
        Value(-INF, "exact", "share"),
        Value(NAN, "statistic", "share", low=0.5, high=0.5),
        Value(0.5, "statistic", "share", low=NAN, high=NAN),
        Value(0.5, "statistic", "share"),
        Value(0.5, "proportion", "share"),
        Value(0.5, "exact", "share", flags=("void: gradients are masked",)),
        Value(0.5, "proportion", "share", n=4, k=2, flags=("approximate", "void: x")),
    ],
)
def test_no_figure_that_is_not_one_passes(value: Value) -> None:
    record = audit({"performance.top1": value})
    for keys in ({"at_least": 0.0}, {"at_most": 1.0}):
        for more in ({}, {"on_inconclusive": "pass"}):
            found = gate(record, rule("performance.top1", **keys, **more))
            assert (found.verdict, found.exit_code) == ("inconclusive", 4)
        assert gate(record, rule("performance.top1", **keys, on_inconclusive="fail")).exit_code == 1
        assert gate(record, rule("performance.top1", **keys, level="warn")).verdict == "warn"


def test_nothing_random_that_is_not_finite_passes_anything() -> None:
    rng = np.random.default_rng(1)
    odd: list[Any] = [None, NAN, INF, -INF, 0.5, True, "0.5"]
    for _ in range(600):
        value = Value(
            value=odd[rng.integers(7)],
            kind=["proportion", "statistic", "exact"][rng.integers(3)],  # type: ignore[arg-type]
            unit="share",
            n=[None, 0, 10][rng.integers(3)],
            k=[None, 0, 5, 10, 11, -1][rng.integers(6)],
            low=[None, NAN, INF, -INF, 0.2][rng.integers(5)],
            high=[None, NAN, INF, -INF, 0.9][rng.integers(5)],
            flags=[(), ("void: x",)][rng.integers(2)],
        )
        keys = [{"at_least": 0.0}, {"at_most": 1.0}][rng.integers(2)]
        decide = ["bounds", "point"][rng.integers(2)]
        more = {"on_inconclusive": ["inconclusive", "pass", "fail"][rng.integers(3)], "level": ["fail", "warn"][rng.integers(2)]}
        outcome = only(gate(audit({"performance.top1": value}), rule("performance.top1", **keys, **more), decide=decide))
        sound = value.value == 0.5 and value.value is not True and not isinstance(value.value, str) and not value.flags
        if value.kind == "proportion" and decide == "bounds":
            sound = sound and value.n == 10 and value.k in (0, 5, 10)
        if value.kind == "statistic" and decide == "bounds":
            sound = sound and value.low == 0.2 and value.high == 0.9
        assert (outcome.verdict == "pass") == sound, value


@pytest.mark.parametrize(
    ("measure", "words"),
    [
        ("performance.top2", ["no measure performance.top2", "did you mean 'performance.top1'?", "filters.dead_fraction"]),
        ("performence.top1", ["no probe 'performence'", "did you mean 'performance'?"]),
        ("inversion.psnr.layer9", ["no scope 'layer9'", "layer1"]),
        ("performance.top1.cat", ["no scope 'cat'"]),
    ],
)
def test_a_rule_that_matches_nothing_is_refused(measure: str, words: list[str]) -> None:
    record = audit(
        {"performance.top1": TOP1, "filters.dead_fraction": exact(0, "share"), "inversion.psnr.layer1": exact(9, "dB")}
    )
    with pytest.raises(PolicyError) as caught:
        gate(record, rule(measure, at_least=0.1))
    assert caught.value.exit_code == 2
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_typo_is_found_also_where_the_probe_failed_and_before_a_run() -> None:
    failed = audit({}, performance=Section("performance", "P", "failed"))
    with pytest.raises(PolicyError, match="did you mean"):
        gate(failed, rule("performance.top2", at_least=0.1))
    (asked,) = load_config({"gate": {"rules": [rule("filters.dead_fracton", at_most=1)]}}).gate.rules
    with pytest.raises(PolicyError, match=r"did you mean 'filters\.dead_fraction'"):
        require_known(asked, MEASURES)


def test_without_a_scope_a_rule_is_on_every_scope() -> None:
    values = {f"inversion.psnr.{name}": exact(db, "dB") for name, db in (("blocks.2", 20.0), ("conv1", 30.0), ("head#1", 8.0))}
    found = gate(audit(values), rule("inversion.psnr", at_least=10))
    assert [(o.id, o.verdict) for o in found.outcomes[:3]] == [
        ("inversion.psnr.blocks.2", "pass"),
        ("inversion.psnr.conv1", "pass"),
        ("inversion.psnr.head#1", "fail"),
    ]
    assert found.outcomes[0].rule == {
        "measure": "inversion.psnr", "scope": "blocks.2", "at_least": 10.0, "level": "fail", "on_inconclusive": "inconclusive",
    }  # fmt: skip
    assert found.why.startswith("PSNR of head#1 is 8 dB; at least 10 dB was asked for.")
    for asked in (rule("inversion.psnr.blocks.2", at_least=10), rule("inversion.psnr", scope="blocks.2", at_least=10)):
        assert only(gate(audit(values), asked)).id == "inversion.psnr.blocks.2"


def test_a_failure_beats_what_is_missing_and_that_what_is_undecided() -> None:
    record = audit({"performance.top1": TOP1}, filters=Section("filters", "F", "failed"))
    bad, gone, open_, good = (
        rule("performance.top1", at_least=0.9),
        rule("filters.dead_fraction", at_most=0.2),
        rule("performance.top1", at_least=0.8),
        rule("performance.top1", at_least=0.5),
    )
    warned = rule("performance.top1", at_least=0.9, level="warn")
    assert gate(record, good, open_, gone, bad).exit_code == 1
    assert "Besides, 1 could not be judged and 1 is undecided." in gate(record, good, open_, gone, bad).why
    assert gate(record, good, open_, gone, warned).exit_code == 3
    assert gate(record, good, open_, warned).exit_code == 4
    assert "samples would decide it" in gate(record, good, open_).why
    assert gate(record, good, warned).verdict == "warn"
    assert gate(record, good).why == "The rule holds."
    assert gate(record, good, rule("performance.top1", at_least=0.6)).why == "All 2 rules hold."


def test_without_rules_nothing_is_judged_but_coverage() -> None:
    found = gate(audit({}))
    assert (found.verdict, found.exit_code, found.outcomes) == ("not_gated", 0, ())
    assert gate(audit({}, coverage=0.5)).exit_code == 3


@pytest.mark.parametrize(("coverage", "code"), [(1.0, 0), (0.99, 0), (0.9899, 3), (0.7, 3), (None, 3), (NAN, 3), ("1.0", 3)])
def test_coverage_is_gated(coverage: Any, code: int) -> None:
    found = gate(audit({"performance.top1": TOP1}, coverage=coverage), rule("performance.top1", at_least=0.5))
    assert found.exit_code == code
    assert found.outcomes[-1].id == "ledger.coverage"
    assert "at least 99 % was asked for" in found.outcomes[-1].sentence
    assert (
        gate(audit({"performance.top1": TOP1}, coverage=0.7), rule("performance.top1", at_least=0.5), coverage=0.7).exit_code == 0
    )


def test_the_verdict_carries_its_policy() -> None:
    policy = load_config({"gate": {"rules": [rule("performance.top1", at_least=0.5)]}}).gate
    found = judge(audit({"performance.top1": TOP1}), {}, policy)
    assert found.policy == policy.model_dump(mode="json")
    assert found.policy_digest == policy.digest


COLUMNS = {
    "key": np.array(["f", "e", "d", "c", "b", "a"], dtype=object),
    "label": np.array([0, 0, 1, 1, 1, -1]),
    "predicted": np.array([0, 1, 0, 1, 0, 1]),
    "confidence": np.array([0.9, 0.6, 0.7, 0.8, 0.9, 0.9]),
    "correct": np.array([1, 0, 0, 1, 0, np.nan]),
    "loss": np.array([0.1, 1.0, 3.0, 0.2, 3.0, np.nan]),
    "adversarial.robust": np.array([1, 0, np.nan, 0, np.nan, np.nan]),
    "occlusion.deletion_auc": np.array([np.nan, 0.3, 0.9, 0.1, 0.5, np.nan]),
}


@pytest.mark.parametrize(
    ("measure", "keys", "value", "samples"),
    [
        ("performance.top1", {"at_least": 0.99}, proportion(2, 5), (4, 2, 1)),  # a tie in loss goes to the lower key
        ("performance.ece", {"at_most": 0.0001}, exact(0.5, "share"), (4, 2, 1)),
        ("performance.worst_class_recall", {"at_least": 0.99}, proportion(1, 3), (4, 2)),
        ("adversarial.robust_accuracy", {"at_least": 0.99}, proportion(1, 3), (1, 3)),
        ("occlusion.deletion_auc", {"at_most": 0.2}, exact(0.45, "probability"), (2, 4, 1)),
        ("occlusion.deletion_auc", {"at_least": 0.46}, exact(0.45, "probability"), (3, 1)),
        ("performance.recall.dog", {"at_least": 0.99}, proportion(1, 3), (4, 2)),
        ("filters.dead_fraction", {"at_most": 0.2}, exact(0.5, "share"), ()),
        ("performance.top1", {"at_least": 0.01}, proportion(2, 5), ()),  # it passes
    ],
)
def test_the_images_behind_a_rule_come_worst_first(
    measure: str, keys: dict[str, Any], value: Value, samples: tuple[int, ...]
) -> None:
    outcome = only(gate(audit({measure: value}), rule(measure, **keys), columns=COLUMNS))
    assert outcome.samples == samples
    assert only(gate(audit({measure: value}), rule(measure, **keys))).samples == ()  # nor does it break without them


def test_at_most_200_images_are_listed() -> None:
    rng, n = np.random.default_rng(0), 500
    columns = {"label": np.zeros(n), "predicted": np.ones(n), "loss": rng.uniform(size=n)}
    outcome = only(gate(audit({"performance.top1": proportion(0, n)}), rule("performance.top1", at_least=0.5), columns=columns))
    assert outcome.samples == tuple(np.argsort(-columns["loss"])[:200])


def test_the_worst_class_is_named() -> None:
    record = audit({"performance.worst_class_recall": proportion(1, 3)})
    named = dataclasses.replace(record, dataset={**record.dataset, "names": ["cat", "dog\n<b>"]})
    asked = rule("performance.worst_class_recall", at_least=0.99)
    assert "the class is dog\ufffd<b>" in only(gate(named, asked, columns=COLUMNS)).sentence
    assert "the class is number 1" in only(gate(record, asked, columns=COLUMNS)).sentence
    values = {"performance.worst_class_recall": proportion(1, 3), "performance.recall.cat": proportion(1, 2)}
    by_counts = audit({**values, "performance.recall.dog": proportion(1, 3)})
    assert "the class is dog;" in only(gate(by_counts, asked, columns=COLUMNS)).sentence


@pytest.mark.parametrize("line", [-3.0, 5.0, 95.0])
def test_a_share_beyond_0_to_1_is_refused(line: float) -> None:
    from auditor.config import load_config
    from auditor.errors import PolicyError
    from auditor.gate import require_known
    from auditor.types import Measure

    catalogue = {
        "performance": (Measure("ece", "ECE", "share", "lower", "x."),),
        "inversion": (Measure("psnr", "PSNR", "dB", "none", "x."),),
    }
    rules = load_config(
        {"gate": {"rules": [{"measure": f"{m}", "at_most": line} for m in ("performance.ece", "inversion.psnr")]}}
    ).gate.rules
    with pytest.raises(PolicyError, match="between 0 and 1"):
        require_known(rules[0], catalogue)
    require_known(rules[1], catalogue)
