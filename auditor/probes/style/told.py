"""What the rows come to: the figures, and the pictures side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from auditor.bounds import exact, proportion, statistic
from auditor.fold import State
from auditor.methods.faststyle import NAME, Setting
from auditor.ops.columns import spread_out
from auditor.probe import Results
from auditor.probes.style.beside import Beside
from auditor.probes.style.given import Given
from auditor.probes.style.made import STYLISED
from auditor.probes.style.shown import accuracies, curves, losses_table, pictures, training
from auditor.types import Array, Finding, Value

if TYPE_CHECKING:
    from auditor.evidence import Evidence

USUAL = 300
"""Evaluations that a picture by optimisation is usually given: what the speed is told against."""


class Asked(Protocol):
    """What of the probe's parameters is read here."""

    @property
    def evaluations(self) -> int:
        """Of each optimisation."""

    @property
    def own_colours(self) -> bool:
        """Whether pictures are shown in the colours of their images."""

    @property
    def new(self) -> int:
        """Styles that were learnt later."""


def told(given: Given, asked: Asked, setting: Setting, evidence: Evidence, results: Results) -> Finding:
    """The finding."""
    rows, count = results.rows, len(evidence.dataset)
    beside = Beside.of(rows)
    by_pair = {
        "equal_evaluations": (beside.noise.evaluations, "iterations"),
        "equal_evaluations_from_image": (beside.worth.evaluations, "iterations"),
        "loss_ratio": (beside.ratio, ""),
    }
    columns = {f"style.{name}": beside.by_image(found, count) for name, (found, _) in by_pair.items()}
    values = {
        name: statistic("mean", {f"style.{name}": columns[f"style.{name}"]}, unit=unit, seed=evidence.seed)
        for name, (_, unit) in by_pair.items()
    }
    slow, fast = beside.rows["terms"][:, 0].mean(0), beside.rows["terms"][:, 1].mean(0)
    for place, name in enumerate(("content", *setting.names)):
        values[f"loss_ratio.{name}"] = exact(float(fast[place] / max(slow[place], 1e-12)), "", n=len(beside.ratio))
    notes = [compared(beside, values, asked)]
    shown = [*pictures(rows, given, asked.own_colours, evidence)]
    figures, artifacts = [figure for figure, _ in shown], {k: v for _, held in shown for k, v in held.items()}
    figures += [curves(beside.rows, given), losses_table(beside, given, evidence)]
    figures.append(training(results.trained[NAME].losses, asked.new))
    if (rows["kind"] == STYLISED).any() and evidence.predictions is not None:
        more, column, sentence = under_style(rows, given, evidence)
        values, columns = {**more, **values}, {**columns, **column}
        notes.insert(0, sentence)
        figures.append(accuracies(values, given.names))
    return Finding(
        "done", values=values, figures=tuple(figures), notes=tuple(notes), artifacts=artifacts, columns=columns,
        timings=clocked(beside.rows, results.trained[NAME].seconds),
    )  # fmt: skip


def compared(beside: Beside, values: dict[str, Value], asked: Asked) -> str:
    """The net beside optimisation, in a sentence."""
    noise, image = (values[f"equal_evaluations{name}"].value for name in ("", "_from_image"))
    return (
        f"One pass through the net is worth {noise:.0f} evaluations of L-BFGS from white noise ({beside.noise.over()} over "
        f"{len(beside.ratio)} pairs of image and style), as Johnson et al. count, who found 50 to 100; and {image:.0f} from the "
        f"image itself ({beside.worth.over()}), which starts nearer. After {asked.evaluations} from the image the net's loss is "
        f"{values['loss_ratio'].value:.2f} times that of optimisation."
    )


def under_style(rows: State, given: Given, evidence: Evidence) -> tuple[dict[str, Value], dict[str, Array], str]:
    """Accuracy of the same images as they are and in each style."""
    mine, predictions = rows["kind"] == STYLISED, evidence.predictions
    assert predictions is not None
    at, said = rows["position"][mine], rows["told"][mine]
    labels = np.asarray(evidence.dataset.labels)[at]
    right, clean = said == labels[:, None], predictions.predicted[at] == labels
    count = len(evidence.dataset)
    columns = {
        "style.stylised_right": spread_out(right.mean(axis=1), at, count),
        "style.stylised_drop": spread_out(clean - right.mean(axis=1), at, count),
    }
    stated = {name: {f"style.{name}": columns[f"style.{name}"]} for name in ("stylised_right", "stylised_drop")}
    values = {
        "stylised_accuracy": statistic("mean", stated["stylised_right"], unit="share", seed=evidence.seed),
        "clean_accuracy": proportion(int(clean.sum()), len(clean)),
        "stylised_drop": statistic("mean", stated["stylised_drop"], unit="share", seed=evidence.seed),
    }
    for i, name in enumerate(given.names):
        values[f"stylised_accuracy.{name}"] = proportion(int(right[:, i].sum()), len(right))
    drop = values["stylised_drop"]
    between = "" if drop.low is None or drop.high is None else f" (90 % interval {100 * drop.low:.1f} to {100 * drop.high:.1f})"
    sentence = (
        f"Of {len(clean)} images {int(clean.sum())} are right as they are ({clean.mean():.1%}) "
        f"and {right.mean():.1%} in the styles: "
        f"{100 * float(clean.mean() - right.mean()):.1f} points{between} are lost with the texture. "
        "A model that goes by shape loses few."
    )
    return values, columns, sentence


def clocked(pairs: State, trained: float) -> dict[str, float]:
    """Seconds of both, and their ratio at USUAL evaluations."""
    slow, fast = (float(np.median(pairs["seconds"][:, i])) for i in (0, 1))
    return {
        "seconds of training the net": round(trained, 1),
        "seconds an evaluation of optimisation": round(slow, 5),
        "seconds a picture by the net": round(fast, 5),
        f"times faster than {USUAL} evaluations": round(USUAL * slow / max(fast, 1e-9), 1),
    }
