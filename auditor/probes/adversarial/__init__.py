"""How small a change makes the model err."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.fold import Cost, Item, Study
from auditor.methods.attack import drawn
from auditor.probe import Needs, Probe, Results
from auditor.probes.adversarial.attacks import CHUNK, FOOL, GROUP, ROBUST, work
from auditor.probes.adversarial.told import fooled_images, robustness
from auditor.types import Finding, Json, Measure

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence, Predictions
    from auditor.target import Target


@dataclass(frozen=True)
class Adversarial(Probe):
    """Asks: How small a change of the pixels makes the model err, and can it be led to any class?
    Formula: FGSM: x + e sign(dL/dx). PGD: steps of 2.5 e / steps along that sign, projected into the L-inf ball of radius e
    and into [0,1] after each. robust_accuracy = share of the chosen labelled images that are right and stay right under
    both, at every epsilon of the curve up to the stated one. Fooling: from each image, small steps along sign(d log p(t)/dx)
    until a class t, drawn by a hash of the image, has the highest score in 8 bits.
    Read: The faster the curve falls, the smaller the change that breaks the model. A model that was not trained against
    such changes falls to near 0 by 2/255; that is usual, and matters where someone gains by fooling it. In the pictures mid-grey
    is no change.
    Misleads: These are attacks, not proofs: a stronger one can only lower the figure. Masked gradients make a model look
    robust; where the signs are there the figure is void. Worst-case pixels say nothing about blur, noise or weather.
    """

    title: ClassVar[str] = "Fooling images and robustness"
    cites: ClassVar[tuple[str, ...]] = (
        "Szegedy et al. 2014, Intriguing properties of neural networks",
        "Goodfellow, Shlens, Szegedy 2015, Explaining and harnessing adversarial examples",
        "Madry et al. 2018, Towards deep learning models resistant to adversarial attacks",
        "Athalye, Carlini, Wagner 2018, Obfuscated gradients give a false sense of security",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("robust_accuracy", "Robust accuracy", "share", "higher", "Share right under FGSM and PGD at the stated epsilon."),
        Measure("robust_accuracy_8bit", "Robust accuracy, 8 bits", "share", "higher", "The same, with 8-bit images."),
        Measure("fooling_rate", "Fooling rate", "share", "lower", "Share of images led to a class drawn at random."),
        Measure("median_iterations", "Iterations to fool", "iterations", "higher", "Median steps, of those fooled."),
    )
    needs: ClassVar[Needs] = Needs(scores=True, pixels=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {
        "quick": {"images": 32},
        "standard": {"images": 200},
        "full": {"images": 500},
    }

    images: int = 200
    epsilon: float = 2 / 255
    epsilons: tuple[float, ...] = (0.0, 0.5 / 255, 1 / 255, 2 / 255, 4 / 255, 8 / 255)
    steps: int = 10
    fooling_images: int = 8
    max_iterations: int = 200
    towards: tuple[int, ...] = ()
    """Classes that the fooling images are led to, in turn; drawn by a hash of the image where empty."""

    def __post_init__(self) -> None:
        if not all(0 <= e <= 1 for e in (self.epsilon, *self.epsilons)):
            raise ValueError(f"expected every epsilon in [0,1], got {self.epsilon} and {self.epsilons}; write 2/255 as 0.00784")
        if self.steps < 1 or self.max_iterations < 1 or self.images < 1 or self.fooling_images < 0:
            raise ValueError("expected images, steps, max_iterations >= 1 and fooling_images >= 0; raise them")

    def curve(self) -> tuple[float, ...]:
        """The epsilons that are tried, rising, from 0, the stated one among them."""
        return tuple(sorted({0.0, float(self.epsilon), *(float(e) for e in self.epsilons)}))

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """Labelled images in groups, then the fooling images."""
        seen = evidence.predictions
        chosen = evidence.chosen(self.images)
        if seen is None or not len(chosen):
            return None
        labelled = [int(p) for p in chosen if seen.labels[p] >= 0]
        items: list[Item] = [(ROBUST, *labelled[i : i + GROUP]) for i in range(0, len(labelled), GROUP)]
        if seen.scores.shape[1] > 1:
            fooled = map(int, chosen[: self.fooling_images])
            items += [(FOOL, p, self.goal(i, p, evidence, seen)) for i, p in enumerate(fooled)]
        run = partial(work, epsilons=self.curve(), steps=self.steps, max_iterations=self.max_iterations)
        return Study(tuple(items), run, CHUNK) if items else None

    def goal(self, place: int, position: int, evidence: Evidence, seen: Predictions) -> int:
        """The class that an image is led to: the next of `towards`, or one drawn by a hash where it has that one already."""
        classes, now = seen.scores.shape[1], int(seen.predicted[position])
        beyond = [c for c in self.towards if not 0 <= c < classes]
        if beyond:
            raise ValueError(f"towards: expected classes within 0..{classes - 1}, got {beyond}")
        wanted = self.towards[place % len(self.towards)] if self.towards else now
        return wanted if wanted != now else drawn(evidence.dataset.samples[position].key, now, classes, seed=evidence.seed)

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """About: images leave the batch as they fall, so half of the steps are counted."""
        fooled = min(self.fooling_images, len(dataset))
        swept = min(self.images, int((np.asarray(dataset.labels) >= 0).sum()))
        tried = len(self.curve()) - 1
        gradients = swept * (1 + tried * self.steps / 2) + fooled * self.max_iterations / 4
        return Cost(forwards=2.0 * tried * swept, gradients=gradients)

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Arithmetic on the rows of the study."""
        if not results.rows or evidence.predictions is None:
            return Finding("not_applicable", "it found no image to attack: it needs a label, or two classes to be led between")
        robust = robustness(
            results.rows,
            len(evidence.dataset),
            epsilons=self.curve(),
            epsilon=self.epsilon,
            random=getattr(target, "random", False),
        )
        fooled = fooled_images(results.rows, evidence, asked=bool(self.towards))
        values, figures = {**robust.values, **fooled.values}, robust.figures + fooled.figures
        return replace(robust, values=values, figures=figures, notes=robust.notes + fooled.notes, artifacts=fooled.artifacts)
