"""[data] group: images that belong together."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.errors import PolicyError
from tests.gate.world import answers, audit, baseline, gate, of, rng, rule


def patients(images: int = 20, count: int = 50) -> dict[str, np.ndarray]:
    """A patient is right or wrong as a whole, mostly."""
    patient = np.repeat(np.arange(count), images)
    well = rng(0).uniform(size=count) < 0.9
    right = np.where(rng(1).uniform(size=len(patient)) < 0.8, well[patient], rng(2).uniform(size=len(patient)) < 0.9)
    return answers(np.arange(len(patient)) % 3, right, patient_id=[f"p{i}" for i in patient])


def test_by_group_an_interval_is_wider_and_says_so() -> None:
    columns = patients()
    alone = of(gate(columns, rule("top1", at_least=0.5)), "performance.top1")
    verdict = gate(columns, rule("top1", at_least=0.5), group="patient_id")
    together = of(verdict, "performance.top1")
    assert (alone.groups, together.groups, verdict.group) == (None, 50, "patient_id")
    assert together.high - together.low > 2 * (alone.high - alone.low)  # type: ignore[operator]
    assert "n = 1,000 in 50 groups" in together.sentence
    assert together.value == alone.value


@pytest.mark.parametrize("name", ["macro_recall", "worst_class_recall", "recall"])
def test_every_kind_of_figure_is_grouped(name: str) -> None:
    columns = patients()
    verdict = gate(columns, rule(name, at_least=0.1), group="patient_id")
    found = [o for o in verdict.outcomes if o.id.startswith(f"performance.{name}")]
    assert found
    assert all(o.groups == 50 for o in found)
    alone = [o for o in gate(columns, rule(name, at_least=0.1)).outcomes if o.id.startswith(f"performance.{name}")]
    assert all(a.low > b.low for a, b in zip(alone, found, strict=True))  # type: ignore[operator]


def test_pairs_are_grouped_too() -> None:
    before, today = patients(), patients()
    lost = np.isin(np.repeat(np.arange(50), 20), [1, 2])
    today["predicted"] = np.where(lost, (today["label"] + 1) % 3, today["predicted"])
    today["correct"] = (today["predicted"] == today["label"]).astype(np.float32)
    asked = rule("top1", no_worse_than_baseline_by=0.08)
    alone = of(gate(today, asked, against=baseline(before)), "performance.top1")
    together = of(gate(today, asked, against=baseline(before), group="patient_id"), "performance.top1")
    assert (alone.verdict, together.verdict) == ("pass", "inconclusive")
    assert "n = 1,000 pairs in 50 groups" in together.sentence


def test_a_figure_that_cannot_be_grouped_says_so() -> None:
    from auditor.types import Value

    columns = patients()
    record = audit(columns, top1=Value(0.9, "proportion", "share", n=1000, k=900))
    found = of(gate(columns, rule("top1", at_least=0.5), record=record, group="patient_id"), "performance.top1")
    assert found.groups is None
    assert "images taken as independent" in found.sentence


def test_an_empty_entry_is_a_group_of_its_own() -> None:
    columns = answers(np.zeros(6, dtype=int), [1, 1, 1, 0, 1, 1], patient=["a", "a", "", "", "b", None])
    assert of(gate(columns, rule("top1", at_least=0.1), group="patient"), "performance.top1").groups == 5


def test_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(PolicyError, match="no column 'patient'"):
        gate(patients(), rule("top1", at_least=0.5), group="patient")
