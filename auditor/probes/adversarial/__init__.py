"""How small a change makes the model err."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.fold import Cost, Item, Study
from auditor.methods.attacks.fooling import drawn
from auditor.methods.attacks.square import expected_queries
from auditor.methods.attacks.worst import Budget
from auditor.ops.batching import images_at_once
from auditor.probe import Needs, Probe, Results
from auditor.probes.adversarial.attacks import CHUNK, FOOL, GROUP, NOISE, ROBUST, TESTED, Plan, work
from auditor.probes.adversarial.pictures import fooled_images
from auditor.probes.adversarial.standing import standing
from auditor.probes.adversarial.told import robustness
from auditor.types import Finding, Json, Measure

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence, Predictions
    from auditor.target import Target

FEW = 2
"""Gradients until an image falls that does."""
OPERATIONS = 100
"""Of an attack's step, on tensors."""


@dataclass(frozen=True)
class Adversarial(Probe):
    """Asks: How small a change of the pixels makes the model err, and can it be led to any class?
    Formula: FGSM: x + e sign(dL/dx). PGD: steps of 2.5 e / steps along that sign, projected into the L-inf ball of radius e
    and into [0,1] after each. What stands both meets APGD (its step size falls as progress stops) on the cross-entropy and on
    the DLR loss towards the likeliest other classes, and Square (random squares of +-e, no gradient). robust_accuracy = share
    of the chosen labelled images that are right and stay right under all of them, at every epsilon of the curve up to the
    stated one; in L2 the same. Fooling: from each image, small steps along sign(d log p(t)/dx) until a class t, drawn by a
    hash of the image, has the highest score in 8 bits.
    Read: The faster the curve falls, the smaller the change that breaks the model. A model that was not trained against
    such changes falls to near 0 by 2/255; that is usual, and matters where someone gains by fooling it. In the pictures mid-grey
    is no change.
    Misleads: These are attacks, not proofs: a stronger one can only lower the figure. Masked gradients make a model look
    robust; where a sign is raised the figure is void. Worst-case pixels say nothing about blur, noise or weather.
    """

    title: ClassVar[str] = "Fooling images and robustness"
    cites: ClassVar[tuple[str, ...]] = (
        "Szegedy et al. 2014, Intriguing properties of neural networks",
        "Goodfellow, Shlens, Szegedy 2015, Explaining and harnessing adversarial examples",
        "Madry et al. 2018, Towards deep learning models resistant to adversarial attacks",
        "Athalye, Carlini, Wagner 2018, Obfuscated gradients give a false sense of security",
        "Croce, Hein 2020, Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks",
        "Andriushchenko et al. 2020, Square Attack: a query-efficient black-box adversarial attack via random search",
        "Pintor et al. 2021, Fast minimum-norm adversarial attacks through adaptive norm constraints",
        "Nguyen, Yosinski, Clune 2015, Deep neural networks are easily fooled",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("robust_accuracy", "Robust accuracy", "share", "higher", "Share right under all attacks at the stated epsilon."),
        Measure("robust_accuracy_8bit", "Robust accuracy, 8 bits", "share", "higher", "The same, with 8-bit images."),
        Measure("robust_accuracy_l2", "Robust accuracy, L2", "share", "higher", "The same, with the change bounded in L2."),
        Measure(
            "median_distance", "Distance to an error", "", "higher", "Median L2 length of the smallest change that makes it err."
        ),
        Measure("fooling_rate", "Fooling rate", "share", "lower", "Share of images led to a class drawn at random."),
        Measure("median_iterations", "Iterations to fool", "iterations", "higher", "Median steps, of those fooled."),
    )
    needs: ClassVar[Needs] = Needs(scores=True, pixels=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {
        "quick": {"images": 32, "strong": False, "tested": 8, "distance_steps": 0, "noise_images": 2},
        "standard": {},
        "full": {"images": 500, "search_steps": 100, "targets": 9, "queries": 5000, "tested": 64, "distance_steps": 100},
    }

    images: int = 200
    epsilon: float = 2 / 255
    epsilons: tuple[float, ...] = (0.0, 0.5 / 255, 1 / 255, 2 / 255, 4 / 255, 8 / 255)
    steps: int = 10
    strong: bool = True
    """APGD and Square too, and the L2 ball."""
    epsilon_l2: float | None = None
    """In images that span [0,1]; where None 0.5 at 3 x 32 x 32, and the same root mean square at other sizes."""
    search_steps: int = 20
    """Of APGD, towards each target."""
    targets: int = 3
    """Classes that APGD-T tries."""
    queries: int = 200
    """Of Square."""
    tested: int = 24
    """Images that are looked at for signs of masked gradients, and for the smallest change."""
    distance_steps: int = 30
    """Of the search for the smallest change; 0 leaves it out."""
    fooling_images: int = 8
    noise_images: int = 4
    max_iterations: int = 200
    towards: tuple[int, ...] = ()
    """Classes that the fooling images are led to, in turn; drawn by a hash of the image where empty."""

    def __post_init__(self) -> None:
        if not all(0 <= e <= 1 for e in (self.epsilon, *self.epsilons)):
            raise ValueError(f"expected every epsilon in [0,1], got {self.epsilon} and {self.epsilons}; write 2/255 as 0.00784")
        if min(self.steps, self.max_iterations, self.images, self.search_steps, self.targets, self.queries) < 1:
            raise ValueError("expected images, steps, search_steps, targets, queries and max_iterations >= 1; raise them")
        if min(self.fooling_images, self.noise_images, self.tested, self.distance_steps) < 0 or (self.epsilon_l2 or 1) <= 0:
            raise ValueError("expected epsilon_l2 > 0 and fooling_images, noise_images, tested, distance_steps >= 0; raise them")

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
        items: list[Item] = [
            (TESTED if i < self.tested else ROBUST, *labelled[i : i + GROUP]) for i in range(0, len(labelled), GROUP)
        ]
        classes = seen.scores.shape[1]
        if classes > 1:
            fooled = map(int, chosen[: self.fooling_images])
            items += [(FOOL, p, self.goal(i, p, evidence, seen)) for i, p in enumerate(fooled)]
            items += [(NOISE, i, drawn(f"noise:{i}", 0, classes, seed=evidence.seed)) for i in range(self.noise_images)]
        return Study(tuple(items), partial(work, plan=self.plan(target, evidence.seed)), CHUNK) if items else None

    def plan(self, target: Target, seed: int) -> Plan:
        """What an image goes through."""
        radius = self.epsilon_l2 or 0.5 * math.sqrt(math.prod(target.input_shape) / (3 * 32 * 32))
        budget = Budget(self.search_steps, self.targets, self.queries)
        return Plan(
            self.curve(),
            float(self.epsilon),
            radius,
            self.steps,
            self.strong,
            budget,
            self.distance_steps,
            self.max_iterations,
            seed,
        )

    def goal(self, place: int, position: int, evidence: Evidence, seen: Predictions) -> int:
        """The class that an image is led to: the next of `towards`, or one drawn by a hash where it has that one already."""
        classes, now = seen.scores.shape[1], int(seen.predicted[position])
        beyond = [c for c in self.towards if not 0 <= c < classes]
        if beyond:
            raise ValueError(f"towards: expected classes within 0..{classes - 1}, got {beyond}")
        wanted = self.towards[place % len(self.towards)] if self.towards else now
        return wanted if wanted != now else drawn(evidence.dataset.samples[position].key, now, classes, seed=evidence.seed)

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """About: an image leaves the batch as it falls, after FEW steps where it falls at all, so that what is to be done depends
        on how many stand: a few are attacked to tell (`standing`).
        """
        plan, labelled = self.plan(target, 0), int((np.asarray(dataset.labels) >= 0).sum())
        swept, fooled = min(self.images, labelled), min(self.fooling_images, len(dataset)) + self.noise_images
        tested, curve = min(self.tested, swept), self.curve()
        stand = standing(target, dataset, plan, most=swept // 4, strong=self.strong)
        at = stand.linf[curve.index(float(self.epsilon))]
        before = (1.0, *stand.linf)
        steps = sum(self.steps * s + FEW * (b - s) for s, b, e in zip(stand.linf, before, curve, strict=False) if e > 0)
        gradients, forwards = 1 + steps, 3.0 * (len(curve) - 1)
        if self.strong:
            late = at + stand.l2
            gradients += (
                self.search_steps * stand.l2
                + FEW * (1 - stand.l2)
                + late * self.search_steps * (1 + min(self.targets, target.outputs - 1))
            )
            forwards += at * expected_queries(target.input_shape, self.queries) + stand.l2 * self.queries
        beside = fooled * self.max_iterations / 4
        size = images_at_once(target.input_shape, target.device, gradient=True)
        return Cost(
            forwards=round(swept * forwards + 16 * tested, 1),
            gradients=round(swept * gradients + beside + tested * (8 + self.distance_steps), 1),
            batch=min(size, GROUP * CHUNK),
            operations=OPERATIONS,
        )

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Arithmetic on the rows of the study."""
        if not results.rows or evidence.predictions is None:
            return Finding("not_applicable", "it found no image to attack: it needs a label, or two classes to be led between")
        robust = robustness(
            results.rows,
            len(evidence.dataset),
            self.plan(target, evidence.seed),
            random=getattr(target, "random", False),
        )
        fooled = fooled_images(results.rows, evidence, asked=bool(self.towards))
        values, figures = {**robust.values, **fooled.values}, robust.figures + fooled.figures
        return replace(robust, values=values, figures=figures, notes=robust.notes + fooled.notes, artifacts=fooled.artifacts)
