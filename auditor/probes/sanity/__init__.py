"""Probe `sanity`: whether the attribution methods, on this model, show anything of what it has learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.evidence import Asked, asked
from auditor.evidence.fill import mean_pixel
from auditor.fold import Cost, Study
from auditor.methods.inputs import wanted_of
from auditor.methods.randomisation import LINE, in_words
from auditor.probe import Needs, Probe, Results
from auditor.probes.sanity import figures
from auditor.probes.sanity.measured import judged_at, measured, valued
from auditor.probes.sanity.told import Tried, notes
from auditor.probes.sanity.work import METHODS, Settings, able, examine
from auditor.types import Finding, Json, Measure

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

CHUNK = 8
"""Images for which the randomised models are built once, one at a time."""


@dataclass(frozen=True)
class Sanity(Probe):
    """Every attribution method put to the test on the same images; a method that fails is stamped wherever its maps appear.

    Asks: Which attribution maps of this model can be believed: do they change when the model forgets, and does what they call
        important matter?
    Formula: randomisation_spearman = rank correlation of |map| with that of the same model whose top quarter of layers has
        fresh weights (the curve: from the head down to all). deletion_gain = area under the class probability while cells of
        the image are hidden in a random order, minus that in the map's order; insertion_gain = area while cells appear on
        a blurred copy in the map's order, minus that in random ones. agreement = mean rank correlation with the other
        methods; edge_spearman = the same with the length of the image's own gradient. Maps are as the sections show them:
        signed sums over the channels for gradient x input, integrated gradients and occlusion, else the largest |value|.
    Read: A method earns its place where its likeness lies below the line and both gains lie above 0, with their intervals. One
        that stays like itself on a model with random layers shows the image, not the model. One that no test shows to be
        better than a random order may still be right, but nothing here says so.
    Misleads: Hidden and blurred images are themselves unusual inputs, and scattered holes undo a class faster than one large
        hole, which favours the random order. A map may be right and yet resemble its randomised self where the image leaves
        no other choice (an object on an empty ground). Agreement is no proof: methods that paint edges agree with each other.
        The test is of the method on this model and these images, not of the method as such.
    """

    title: ClassVar[str] = "Sanity of the maps"
    cites: ClassVar[tuple[str, ...]] = (
        "Adebayo et al. 2018, Sanity Checks for Saliency Maps",
        "Petsiuk, Das and Saenko 2018, RISE: Randomized Input Sampling for Explanation (deletion, insertion)",
        "Samek et al. 2017, Evaluating the Visualization of What a Deep Neural Network Has Learned",
        "Nie, Zhang and Patel 2018, A Theoretical Explanation for Perplexing Behaviors of Backpropagation-based Visualizations",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "randomisation_spearman", "Likeness after randomisation", "correlation", "lower",
            "Mean rank correlation of a method's map with that of the same model with its top layers randomised.",
        ),
        Measure(
            "deletion_gain", "Deletion gain", "probability", "higher",
            "How much more of the class probability is lost when cells are hidden by the map than in a random order.",
        ),
        Measure(
            "insertion_gain", "Insertion gain", "probability", "higher",
            "How much more of the class probability is won when cells are shown by the map than in a random order.",
        ),
        Measure(
            "agreement", "Agreement", "correlation", "none",
            "Mean rank correlation of a method's map with those of the other methods.",
        ),
        Measure(
            "edge_spearman", "Likeness to edges", "correlation", "none",
            "Mean rank correlation of a method's map with the edges of the image, which no model has a part in.",
        ),
    )  # fmt: skip
    needs: ClassVar[Needs] = Needs(scores=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json] | None]] = {
        "quick": {"images": 6, "fractions": (0.0, 0.25, 1.0), "steps": 8, "samples": 4, "windows": 5, "points": 6, "orders": 2},
        "standard": {"images": 16},
        "full": {"images": 32},
    }

    images: int = 16
    target: str = "predicted"
    """The class whose score is explained: predicted, true, runner_up, or one by name or number."""
    contrast: str = ""
    """The class whose score is taken off, likewise; none where empty."""
    fractions: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
    """Shares of the layers with weights that are randomised, from the top; 0 is the head alone."""
    top: float = 0.25
    """The share at which a method is judged."""
    line: float = LINE
    """From this rank correlation on a method does not depend on the weights."""
    steps: int = 16
    """Points of the integrated gradients."""
    samples: int = 8
    """Noisy copies of SmoothGrad."""
    windows: int = 6
    """Occlusion covers as many windows a side; 0 leaves occlusion out."""
    cells: int = 8
    """Cells a side that are hidden or shown. The finer they are, the more a random order scatters its holes, which undoes a class
    faster than one large hole does: on EfficientNet-Lite0 the gain of Grad-CAM in deletion was 0.06 with 16 and 0.11 with 8."""
    points: int = 10
    """Steps of the deletion and insertion curves."""
    orders: int = 4
    """Random orders an image."""

    def __post_init__(self) -> None:
        shares = [*self.fractions, self.top]
        if not self.fractions or not all(isinstance(f, float | int) and 0 <= f <= 1 for f in shares):
            raise ValueError(
                f"expected fractions and top as shares of the layers from 0 to 1, got {self.fractions} and {self.top}"
            )
        if min(self.steps, self.samples, self.cells, self.points, self.orders) < 1 or self.windows < 0:
            raise ValueError("expected steps, samples, cells, points and orders of at least 1, and windows of at least 0")

    @property
    def levels(self) -> tuple[float, ...]:
        """The fractions, that of the verdict among them."""
        return tuple(sorted({*self.fractions, self.top}))

    def asked(self, evidence: Evidence) -> Asked:
        """The images and their classes."""
        return asked(evidence, self.images, self.target, self.contrast)

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """All tests of all methods that the model has something for, on the chosen images."""
        found = self.asked(evidence)
        if not found.items:
            return None
        position, *classes = found.items[0]
        methods, layer = able(target.module, evidence.dataset.load(np.array([position]), target.device), wanted_of(*classes))
        how = Settings(
            methods=tuple(m for m in methods if m != "occlusion" or self.windows),
            fractions=self.levels, steps=self.steps, samples=self.samples, windows=self.windows, cells=self.cells,
            points=self.points, orders=self.orders, fill=mean_pixel(target, evidence.dataset, found.positions),
            seed=evidence.seed, layer=layer,
        )  # fmt: skip
        return Study(found.items, partial(examine, how=how), chunk=CHUNK)

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """At most: small networks have fewer levels, and some methods do not apply to every model."""
        n, passes = min(self.images, len(dataset)), 1 + len(self.levels)
        windows = self.windows**2 + 1 if self.windows else 0
        curves = 2 * (len(METHODS) + self.orders) * (self.points + 1)
        return Cost(
            forwards=float(n * (passes * windows + curves) + -(-n // CHUNK)),
            gradients=float(n * passes * (4 + self.steps + self.samples) + 2),
        )

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Figures for every method, the verdicts and their stamps."""
        rows, found = results.rows, self.asked(evidence)
        if not rows:
            return Finding("not_applicable", found.nothing)
        used = tuple(m for m, is_used in zip(METHODS, rows["used"][0], strict=True) if is_used)
        level = judged_at(rows, self.top)
        values, columns = valued(
            measured(rows, level), used, self.measures, found.positions, size=len(evidence.dataset), seed=evidence.seed
        )
        top = in_words(int(rows["levels"][0][level]), int(rows["levels"][0][-1]))
        tried = [
            Tried(
                m, values[f"randomisation_spearman.{m}"], values[f"deletion_gain.{m}"], values[f"insertion_gain.{m}"],
                threshold=self.line, top=top,
            )
            for m in used
        ]  # fmt: skip
        cascade, artifacts = figures.gallery(rows, tried, found, evidence)
        shown = (
            figures.verdicts(tried, values, len(found.positions)),
            figures.randomisation(rows, used, self.line),
            *cascade,
            *(figures.curves(rows, used, kind) for kind in ("deletion", "insertion")),
            figures.agreement(rows, used),
        )
        return Finding(
            "done",
            values=values,
            figures=shown,
            notes=notes(tried, self.left_out(used, found), len(found.positions)),
            stamps=tuple(t.stamp for t in tried if t.stamp is not None),
            artifacts=artifacts,
            columns=columns,
        )

    def left_out(self, used: tuple[str, ...], found: Asked) -> tuple[str, ...]:
        """What was not tried, and why."""
        told = []
        if "guided_backprop" not in used:
            told.append("Guided backprop and deconvnet are left out: no rectifying operation is in the forward.")
        if "gradcam" not in used:
            told.append("Grad-CAM is left out: no layer has maps that the score uses.")
        if "occlusion" not in used:
            told.append("Occlusion is left out, as `windows` is 0.")
        if found.left_out:
            told.append(f"{found.left_out} images of the data have no {found.what} and are passed over.")
        return tuple(told)
