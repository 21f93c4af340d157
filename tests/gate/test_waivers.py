from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from auditor.config import load_config
from auditor.gate import judge
from auditor.types import Outcome, Verdict
from tests.gate.world import answers, audit, gate, of, rule

DAY = date(2026, 8, 1)
LABEL = np.repeat(np.arange(3), 200)
RIGHT = np.where(LABEL == 1, np.arange(600) % 10 < 5, True)  # the recall of class 1 is 0.5
COLUMNS = answers(LABEL, RIGHT, mark=np.array(["a", "b"])[np.arange(600) % 2])
RULES = (rule("recall", at_least=0.9), rule("top1", at_least=0.5))


def waiver(**keys: Any) -> dict[str, Any]:
    return {
        "id": "W1", "measure": "performance.recall", "scope": "1", "owner": "ada@example.org", "reason": "Camera 3 is being replaced.",
        "expires": "2026-08-31", **keys,
    }  # fmt: skip


def judged(*waivers: dict[str, Any], day: date = DAY, rules: Any = RULES, **more: Any) -> Verdict:
    return gate(COLUMNS, *rules, waivers=list(waivers), today=day, **more)


def own(verdict: Verdict) -> list[Outcome]:
    return [o for o in verdict.outcomes if o.id.startswith("waiver.")]


def test_a_waiver_lets_one_failing_figure_through_and_is_named() -> None:
    assert judged().exit_code == 1
    verdict = judged(waiver())
    one = of(verdict, "performance.recall.1")
    assert (verdict.verdict, verdict.exit_code, one.verdict, one.waiver) == ("warn", 0, "waived", "W1")
    assert "Waived until 2026-08-31 by ada@example.org: Camera 3 is being replaced." in one.sentence
    assert verdict.why.startswith("What fails is waived. Recall of 1 is 50.0 %")
    assert one.samples, "the images stay listed"
    (listed,) = verdict.waivers
    assert (listed["standing"], listed["days_left"], listed["covers"]) == ("used", 30, "performance.recall.1")
    assert verdict.today == "2026-08-01"
    assert own(verdict) == []


@pytest.mark.parametrize(("day", "verdict", "code"), [(date(2026, 8, 31), "waived", 0), (date(2026, 9, 1), "fail", 1)])
def test_it_holds_to_its_last_day(day: date, verdict: str, code: int) -> None:
    found = judged(waiver(), day=day)
    assert (of(found, "performance.recall.1").verdict, found.exit_code) == (verdict, code)


def test_an_expired_waiver_fails_by_a_line_of_its_own() -> None:
    verdict = judged(waiver(), day=date(2026, 9, 5))
    (line,) = own(verdict)
    assert (line.id, line.verdict) == ("waiver.W1", "fail")
    assert "is expired: it ended on 2026-08-31" in line.sentence
    assert "ada@example.org" in line.sentence
    assert verdict.waivers[0]["standing"] == "expired"
    assert verdict.waivers[0]["days_left"] == -5


def test_an_expired_waiver_of_an_undecided_rule_fails_too() -> None:
    rules = (rule("top1", at_least=0.83),)
    plain = gate(COLUMNS, *rules)
    assert plain.exit_code == 4
    asked = waiver(measure="performance.top1", scope=None)
    del asked["scope"]
    assert judged(asked, rules=rules).exit_code == 0
    assert judged(asked, rules=rules, day=date(2026, 9, 5)).exit_code == 1


def test_thirty_days_are_the_default() -> None:
    asked = {key: value for key, value in waiver(granted=date(2026, 8, 1)).items() if key != "expires"}
    assert judged(asked, day=date(2026, 8, 31)).exit_code == 0
    assert judged(asked, day=date(2026, 9, 1)).exit_code == 1


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"scope": "2"}, "verdict is pass"),
        ({"scope": "7"}, "no rule of the policy judges this figure"),
        ({"measure": "performance.top1.x", "scope": None}, "no rule of the policy judges this figure"),
        ({"weights": "cdcdcdcd"}, "it is for the weights cdcdcdcd, and these are abababababab"),
        ({"slice": "mark=a"}, "no rule of the policy judges this figure"),
        ({"bound": 0.6}, "the figure is 50.0 %, beyond the waiver's bound of 60.0 %"),
    ],
)
def test_an_unused_waiver_warns_and_says_why(keys: dict[str, Any], why: str) -> None:
    asked = {key: value for key, value in waiver(**keys).items() if value is not None}
    verdict = judged(asked)
    (line,) = own(verdict)
    assert line.verdict == "warn"
    assert why in line.sentence
    assert of(verdict, "performance.recall.1").verdict == "fail"
    assert verdict.exit_code == 1
    assert verdict.waivers[0]["standing"] == "unused"


def test_an_unused_waiver_alone_is_a_warning_also_when_it_is_long_over() -> None:
    verdict = judged(waiver(scope="2"), rules=(rule("recall", at_least=0.4),), day=date(2027, 1, 1))
    assert (verdict.verdict, verdict.exit_code) == ("warn", 0)
    assert "is unused" in verdict.why


def test_scope_weights_and_bound_fit_together() -> None:
    assert judged(waiver(weights="ab" * 8, bound=0.5)).exit_code == 0
    assert judged(waiver(bound=0.5001)).exit_code == 1
    below = (rule("top1", at_most=0.5),)
    asked = {key: value for key, value in waiver(measure="performance.top1", bound=0.9).items() if key != "scope"}
    assert judged(asked, rules=below).exit_code == 0
    assert judged({**asked, "bound": 0.7}, rules=below).exit_code == 1


def test_a_slice_is_waived_for_itself_alone() -> None:
    rules = (rule("top1", at_least=0.95, slice="mark"),)
    asked = {key: value for key, value in waiver(measure="performance.top1", slice="mark=a").items() if key != "scope"}
    verdict = judged(asked, rules=rules)
    assert of(verdict, "performance.top1[mark=a]").verdict == "waived"
    assert of(verdict, "performance.top1[mark=b]").verdict == "fail"
    assert verdict.exit_code == 1


def test_a_waiver_without_a_scope_is_no_blanket_for_all_classes() -> None:
    asked = {key: value for key, value in waiver().items() if key != "scope"}
    assert judged(asked).exit_code == 1


@pytest.mark.parametrize("value", ["void", "missing"])
def test_no_waiver_stands_for_a_figure_that_is_not_there(value: str) -> None:
    import dataclasses

    record = audit(COLUMNS)
    values = dict(record.sections["performance"].values)
    if value == "void":
        values["top1"] = dataclasses.replace(values["top1"], flags=("void: x",))
    else:
        del values["top1"]
    record = dataclasses.replace(
        record, sections={"performance": dataclasses.replace(record.sections["performance"], values=values)}
    )
    asked = {key: value for key, value in waiver(measure="performance.top1").items() if key != "scope"}
    policy = load_config({"gate": {"rules": [rule("top1", at_least=0.1)], "waivers": [asked]}}).gate
    verdict = judge(record, COLUMNS, policy, today=DAY)
    assert verdict.exit_code == (4 if value == "void" else 3)
    assert own(verdict)[0].verdict == "warn"


def test_two_waivers_of_one_id_and_no_day_are_refused() -> None:
    from auditor.errors import ConfigError

    with pytest.raises(ConfigError, match="two waivers have the id 'W1'"):
        judged(waiver(), waiver(scope="2"))
    policy = load_config({"gate": {"rules": list(RULES), "waivers": [waiver()]}}).gate
    with pytest.raises(ValueError, match="today"):
        judge(audit(COLUMNS), COLUMNS, policy)


def test_equal_days_give_equal_verdicts_and_without_waivers_no_day_is_in_it() -> None:
    assert judged(waiver()) == judged(waiver())
    assert gate(COLUMNS, *RULES, today=DAY) == gate(COLUMNS, *RULES, today=date(2030, 1, 1))
