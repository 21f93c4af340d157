"""What the rows come to: the figures, and the pictures side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from auditor.bounds import exact, proportion, statistic
from auditor.fold import State
from auditor.methods.faststyle import NAME, Setting, equal_evaluations
from auditor.ops.columns import spread_out
from auditor.probe import Results
from auditor.probes.style.given import Given
from auditor.probes.style.made import PAIR, STYLISED
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


@dataclass(frozen=True)
class Beside:
    """Optimisation and net on each pair of image and style, in the order of the rows."""

    rows: State
    """Of the pairs alone."""
    worth: Array
    """(n,) N."""
    reached: Array
    """(n,) whether optimisation came as low."""
    ratio: Array
    """(n,) the net's loss over that of optimisation at its end."""

    @staticmethod
    def of(rows: State) -> Beside:
        """From all rows."""
        mine = {name: value[rows["kind"] == PAIR] for name, value in rows.items()}
        curves = [losses[np.isfinite(losses)] for losses in mine["losses"]]
        found = [equal_evaluations(curve, loss) for curve, loss in zip(curves, mine["loss"], strict=True)]
        least = np.nanmin(mine["losses"], axis=1)
        worth, reached = (np.array(column) for column in zip(*found, strict=True))
        return Beside(mine, worth, reached, mine["loss"] / np.maximum(least, 1e-12))

    def by_image(self, values: Array, count: int) -> Array:
        """(count,) the mean over the styles of (n,) values, of each image; NaN for others."""
        places = np.unique(self.rows["position"])
        return spread_out(np.array([values[self.rows["position"] == p].mean() for p in places]), places, count)


def told(given: Given, asked: Asked, setting: Setting, evidence: Evidence, results: Results) -> Finding:
    """The finding."""
    rows, count = results.rows, len(evidence.dataset)
    beside = Beside.of(rows)
    columns = {
        "style.equal_evaluations": beside.by_image(beside.worth, count),
        "style.loss_ratio": beside.by_image(beside.ratio, count),
    }
    values = {
        "equal_evaluations": statistic(
            "mean", {"style.equal_evaluations": columns["style.equal_evaluations"]}, unit="iterations", seed=evidence.seed
        ),
        "loss_ratio": statistic("mean", {"style.loss_ratio": columns["style.loss_ratio"]}, unit="", seed=evidence.seed),
    }
    slow, fast = beside.rows["terms"][:, 0].mean(0), beside.rows["terms"][:, 1].mean(0)
    for place, name in enumerate(("content", *setting.names)):
        values[f"loss_ratio.{name}"] = exact(float(fast[place] / max(slow[place], 1e-12)), "", n=len(beside.worth))
    notes = [compared(beside, values, asked)]
    shown = [*pictures(rows, given, asked.own_colours, evidence)]
    figures, artifacts = [figure for figure, _ in shown], {k: v for _, held in shown for k, v in held.items()}
    figures += [curves(beside.rows, given), losses_table(beside.rows, beside.worth, beside.reached, given, evidence)]
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
    n, reached = len(beside.worth), int(beside.reached.sum())
    low, high = beside.worth.min(), beside.worth.max()
    words = f"One pass through the net is worth {values['equal_evaluations'].value:.0f} evaluations of L-BFGS from the image"
    found = f"{words} on average ({low:.0f} to {high:.0f} over {n} pairs of image and style)"
    if reached < n:
        found += f", at least: of {n - reached} pairs optimisation did not come as low in {asked.evaluations}"
    return f"{found}; after {asked.evaluations} the net's loss is {values['loss_ratio'].value:.2f} times that of optimisation."


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
