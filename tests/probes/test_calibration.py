from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from auditor.bounds import clopper_pearson
from auditor.evidence import Predictions
from auditor.probe import Results, about
from auditor.probes.calibration import Calibration
from auditor.types import Finding


def world(n: int, gain: float, seed: int = 0) -> Any:
    """Labels drawn from the softmax of scores that are then multiplied by `gain`; the last image has none."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(size=(n, 4)) * 2
    labels = np.array([rng.choice(4, p=p) for p in softmax(honest, axis=1)])
    labels[-1] = -1
    samples = [SimpleNamespace(key=f"{i:064x}:0", name=f"{i}.png") for i in range(n)]

    class Data:
        def __len__(self) -> int:
            return n

        def pixels(self, positions: Any) -> Any:
            return np.array([np.full((8, 8, 1), p % 256, dtype=np.uint8) for p in positions])

    data: Any = Data()
    data.samples, data.labels = samples, labels
    return SimpleNamespace(
        dataset=data, predictions=Predictions((honest * gain).astype(np.float32), labels), names=("a", "b", "c", "d"), seed=0
    )


def concluded(evidence: Any, **parameters: Any) -> Finding:
    return Calibration(**parameters).conclude(SimpleNamespace(), evidence, Results())  # type: ignore[arg-type]


def test_an_over_confident_model_is_mended_by_its_temperature() -> None:
    found = concluded(world(1500, 3.0))
    values = found.values
    assert values["temperature"].low < 3 < values["temperature"].high
    assert values["ece"].value > 0.1
    assert values["ece_after"].value < 0.05
    assert values["over_confidence"].low > 0
    assert {values[name].n for name in values} == {1499}
    assert "over-confident" in found.notes[0]


def test_an_honest_model_is_left_alone() -> None:
    values = concluded(world(1500, 1.0)).values
    assert values["temperature"].low < 1 < values["temperature"].high
    assert values["over_confidence"].low < 0 < values["over_confidence"].high


def test_the_figures_by_brute_force() -> None:
    evidence = world(300, 2.0)
    found, seen = concluded(evidence, gallery=5), evidence.predictions
    p = softmax(seen.scores[:-1].astype(float), axis=1)
    right, sure = p.argmax(1) == seen.labels[:-1], p.max(1)
    assert found.values["confident_errors"].k == int((~right & (sure >= 0.9)).sum()) > 0
    assert found.values["over_confidence"].value == pytest.approx((sure - right).mean(), abs=1e-6)
    assert np.isnan(found.columns["calibration.over_confidence"][-1])
    figures = {f.name: f for f in found.figures}
    rows = figures["mistakes"].data["rows"]
    assert [row["sample"] for row in rows] == sorted(np.flatnonzero(~right), key=lambda i: -sure[i])[:5]
    bars = figures["classes"].data
    for name, value in zip(bars["labels"], bars["values"], strict=True):
        mine = p.argmax(1) == "abcd".index(name)
        assert value == pytest.approx((sure[mine] - right[mine]).mean(), abs=1e-6)


def test_the_reliability_diagram_holds_the_bins_with_exact_intervals() -> None:
    evidence = world(300, 2.0)
    figures = {f.name: f for f in concluded(evidence).figures}
    model, mended, diagonal = figures["reliability"].data["series"]
    seen = evidence.predictions
    sure, right = seen.confidence[:-1].astype(float), seen.correct[:-1]
    for b in range(15):
        inside = (sure > b / 15) & (sure <= (b + 1) / 15)
        if inside.any():
            place = int(np.argmin(np.abs(np.array(model["x"]) - sure[inside].mean())))
            assert model["y"][place] == pytest.approx(right[inside].mean())
            ends = clopper_pearson(int(right[inside].sum()), int(inside.sum()), 0.95)
            assert (model["low"][place], model["high"][place]) == pytest.approx(ends)
    assert diagonal["dashed"]
    assert mended["name"] != model["name"]
    counts = [sum(series["counts"]) for series in figures["confidence"].data["series"]]
    assert counts == [int(right.sum()), int((~right).sum())]


def test_where_nothing_is_wrong_no_temperature_is_told() -> None:
    evidence = world(20, 1.0)
    evidence.predictions = Predictions(np.eye(4, dtype=np.float32)[np.arange(20) % 4] * 9, np.arange(20) % 4)
    found = concluded(evidence)
    assert any(flag.startswith("void:") for flag in found.values["temperature"].flags)
    assert "mistakes" not in {f.name for f in found.figures}


def test_it_explains_itself() -> None:
    said = about(Calibration)
    assert all((said.asks, said.formula, said.read, said.misleads))
    with pytest.raises(ValueError, match="gallery"):
        Calibration(gallery=99)


def test_classes_whose_confidence_is_off_are_highlighted() -> None:
    rng = np.random.default_rng(0)
    evidence = world(2000, 1.0)
    labels = evidence.dataset.labels.copy()
    predicted = evidence.predictions.predicted
    labels[(predicted == 2) & (rng.random(2000) < 0.4)] = 3  # what it calls c is d, and it does not know
    evidence.dataset.labels, evidence.predictions = labels, Predictions(evidence.predictions.scores, labels)
    bars = next(f for f in concluded(evidence).figures if f.name == "classes")
    assert "c" in [bars.data["labels"][i] for i in bars.data["highlight"]]
    assert "Highlighted" in bars.caption
    honest = next(f for f in concluded(world(2000, 1.0)).figures if f.name == "classes")
    assert honest.data["highlight"] == []
