"""Optimisation and net side by side, from the rows of the pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auditor.fold import State
from auditor.methods.faststyle import equal_evaluations
from auditor.ops.columns import spread_out
from auditor.probes.style.made import PAIR
from auditor.types import Array


@dataclass(frozen=True)
class Worth:
    """How many evaluations of optimisation the net is worth."""

    evaluations: Array
    """(n,) N."""
    reached: Array
    """(n,) whether optimisation came as low."""

    @staticmethod
    def of(losses: Array, levels: Array) -> Worth:
        """Of (n,E) losses, NaN where there was none, beside the net's (n,)."""
        found = [equal_evaluations(line[np.isfinite(line)], level) for line, level in zip(losses, levels, strict=True)]
        return Worth(*(np.array(column) for column in zip(*found, strict=True)))

    def over(self) -> str:
        """The lowest and the highest, and how many are a lower bound."""
        low, high, bounds = self.evaluations.min(), self.evaluations.max(), int((~self.reached).sum())
        return f"{low:.0f} to {high:.0f}" + (f"; {bounds} at least" if bounds else "")


@dataclass(frozen=True)
class Beside:
    """Optimisation and net on each pair of image and style, in the order of the rows."""

    rows: State
    """Of the pairs alone."""
    worth: Worth
    """From the image itself."""
    noise: Worth
    """From white noise."""
    ratio: Array
    """(n,) the net's loss over that of optimisation at its end."""

    @staticmethod
    def of(rows: State) -> Beside:
        """From all rows."""
        mine = {name: value[rows["kind"] == PAIR] for name, value in rows.items()}
        worth, noise = (Worth.of(mine[name], mine["loss"]) for name in ("losses", "noise"))
        return Beside(mine, worth, noise, mine["loss"] / np.maximum(np.nanmin(mine["losses"], axis=1), 1e-12))

    def by_image(self, values: Array, count: int) -> Array:
        """(count,) the mean over the styles of (n,) values, of each image; NaN for others."""
        places = np.unique(self.rows["position"])
        return spread_out(np.array([values[self.rows["position"] == p].mean() for p in places]), places, count)
