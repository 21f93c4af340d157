"""Pictures in the style of others, as the model sees both: by optimisation, and by a net that was trained for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.errors import DataError
from auditor.fold import Cost, Study
from auditor.lesson import Lesson
from auditor.methods.faststyle import NAME, Setting, Wanted, net_work, part_of, setting_of, style_lesson, training_work
from auditor.methods.style import Weights
from auditor.ops.lbfgs import step_seconds
from auditor.probe import Needs, Probe, Results
from auditor.probes.style.given import Given, digest, from_data, from_files
from auditor.probes.style.made import BLENDED, PAIR, STEPS, STYLISED, VARIANTS, Task, work
from auditor.probes.style.told import told
from auditor.types import Finding, Json, Measure

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target


FROM_NOISE = 0.5
"""Share of the evaluations that optimisation from noise takes until it is as low as the net, about."""


@dataclass(frozen=True)
class Style(Probe):
    """Asks: How does the model tell what is in a picture from how it is painted, and does it know things in another texture?
    Formula: minimise content |F - F0|^2 / |F0|^2 + style mean_l |G_l - G_l'|^2 / |G_l'|^2 + variation TV^2(x) / C from the image,
    by L-BFGS within [0,1]; F maps of the deepest layer that is no coarser than 8 px, G Gram matrices up to there. Beside it one
    feed-forward net for all styles (instance norm, a gain and an offset a style), trained on the data by the same loss.
    equal_evaluations = N at which the best loss of optimisation from white noise is as low as the net's (Johnson), or from the
    image, which starts nearer; loss_ratio = the net's loss over that of optimisation at its end;
    stylised_accuracy = share right of labelled images after the net, the mean over the styles.
    Read: What stays of an image under a style is what the model takes for content. A model that goes by shape keeps its
    accuracy under style; one that goes by texture loses it, as the texture is the style's: see the shape bias beside it.
    Misleads: The net is driven to what this model takes for the style, also by changes that nobody sees, and shapes blur, too: a
    loss is a sign of texture reliance, not its measure, and compares only with that of nets trained alike. The net was trained
    on most of these images, without their labels. N depends on the optimiser, here L-BFGS within bounds, and on its start.
    """

    title: ClassVar[str] = "Style"
    cites: ClassVar[tuple[str, ...]] = (
        "Gatys, Ecker, Bethge 2016, Image style transfer using convolutional neural networks",
        "Johnson, Alahi, Fei-Fei 2016, Perceptual losses for real-time style transfer and super-resolution",
        "Ulyanov, Vedaldi, Lempitsky 2016, Instance normalization: the missing ingredient for fast stylization",
        "Dumoulin, Shlens, Kudlur 2017, A learned representation for artistic style",
        "Geirhos et al. 2019, ImageNet-trained CNNs are biased towards texture",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "stylised_accuracy", "Accuracy under style", "share", "higher", "Share right of images painted in the styles."
        ),
        Measure("clean_accuracy", "Accuracy of these, clean", "share", "higher", "Share right of the same images as they are."),
        Measure("stylised_drop", "Lost by style", "share", "lower", "Accuracy of the images as they are less that under style."),
        Measure(
            "equal_evaluations", "Steps that the net is worth", "iterations", "none",
            "Evaluations of optimisation from white noise until its loss is as low as that of the net.",
        ),
        Measure(
            "equal_evaluations_from_image", "Steps that the net is worth, from the image", "iterations", "none",
            "Evaluations of optimisation from the image itself until its loss is as low as that of the net.",
        ),
        Measure(
            "loss_ratio", "Loss of the net", "", "none", "Loss of the net's picture over that of optimisation, and by layer."
        ),
    )  # fmt: skip
    needs: ClassVar[Needs] = Needs(convolutions=True, pixels=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json] | None]] = {
        "quick": None,
        "standard": None,
        "full": {"steps": 4000, "new_steps": 400, "evaluations": 300, "stylised": 1000},
    }
    only_shown: ClassVar[frozenset[str]] = frozenset({"styles", "own_colours"})
    """Names of files alone: what they hold is named by `content`."""

    styles: tuple[str, ...] = ()
    """Pictures whose style is taken; images of the data that are alike everywhere, where empty."""
    content: str = ""
    """Of those pictures: filled in, so that a plan that is repeated meets the same."""
    count: int = 3
    """Styles that are taken from the data, where none is given."""
    new: int = 1
    """How many of the styles are learnt after the others, by their gains and offsets alone."""
    images: int = 3
    evaluations: int = 100
    stylised: int = 200
    """Labelled images whose classes are asked for in every style."""
    steps: int = 300
    new_steps: int = 60
    batch: int = 2
    side: int = 128
    """Longer side of the pictures, where the model takes that."""
    layers: int = 5
    content_weight: float = 1.0
    style_weight: float = 10.0
    variation: float = 1e-3
    style_scale: float = 1.0
    own_colours: bool = False
    """Whether pictures are shown in the colours of their images; the figures are of them as they are."""
    settings: bool = True
    """Whether one image is shown under other settings, too."""

    def __post_init__(self) -> None:
        least = min(self.images, self.evaluations, self.steps, self.batch, self.layers, self.side)
        if least < 1 or min(self.stylised, self.new, self.new_steps) < 0:
            raise ValueError(
                "expected images, evaluations, steps, batch, layers, side >= 1 and stylised, new, new_steps >= 0; raise them"
            )
        known = len(self.styles) or self.count
        if known <= self.new:
            raise ValueError(f"expected more styles than new ones, got {known} and new = {self.new}; lower new")
        if min(self.content_weight, self.style_weight, self.variation) < 0 or self.style_scale <= 0:
            raise ValueError("expected weights of 0 and more and style_scale > 0; 1, 10, 0.001 and 1 are the defaults")

    def parameters(self) -> dict[str, Json]:
        """With what the pictures hold."""
        return {**super().parameters(), "content": digest(self.styles) if self.styles else ""}

    @property
    def wanted(self) -> Wanted:
        """How the net is trained."""
        return Wanted(steps=self.steps, new_steps=self.new_steps, new=self.new, batch=self.batch, side=self.side)

    @property
    def weights(self) -> Weights:
        """What counts how much."""
        return Weights(self.content_weight, self.style_weight, self.variation)

    def setting(self, target: Target) -> Setting:
        """Losses, layers and size, the same for optimisation and net."""
        return setting_of(target, self.side, self.layers, self.weights, self.style_scale)

    def given(self, target: Target, evidence: Evidence) -> Given:
        """The styles, and the images to be painted. Raises DataError where a style cannot be read, or is not as planned."""
        if not self.styles:
            return from_data(target, evidence, self.count, self.images)
        if self.content and digest(self.styles) != self.content:
            raise DataError("styles: the pictures are not those that were planned; leave `content` out to take them as they are")
        return from_files(target, evidence, self.styles, self.images)

    def lessons(self, target: Target, evidence: Evidence, results: Results) -> tuple[Lesson, ...]:
        """The style net, trained on all images but those it is shown on and those that styles are taken from."""
        given = self.given(target, evidence)
        positions = given.others(len(evidence.dataset))
        return (style_lesson(self.wanted, self.setting(target), given.pictures(target), positions),)

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """A picture an item, and an item for each image whose class is asked for."""
        given = self.given(target, evidence)
        if not given.images or NAME not in results.trained:
            return None
        first, numbers = given.images[0], range(len(given.styles))
        items = [(PAIR, position, number) for position in given.images for number in numbers]
        items += [(BLENDED, first, step) for step in range(STEPS)] if len(given.styles) > 1 else []
        items += [(VARIANTS, first, i) for i in range(len(Task.variants(len(given.styles))))] if self.settings else []
        if target.task == "classification":
            labels = np.asarray(evidence.dataset.labels)
            items += [(STYLISED, int(p), 0) for p in evidence.chosen(self.stylised) if labels[p] >= 0]
        task = Task(self.setting(target), given.pictures(target), results.trained[NAME].module, self.evaluations)
        return Study(tuple(items), partial(work, task=task), 1)

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """Of the training about, by multiplications; of optimisation the part of a forward that it needs."""
        setting, count = self.setting(target), len(self.styles) or self.count
        lesson, part = training_work(target, setting, self.wanted), part_of(target, setting)
        pairs = min(self.images, len(dataset)) * count
        pictures = (1 + FROM_NOISE) * pairs + (len(Task.variants(count)) if self.settings else 0)
        asked = 0
        if target.task == "classification":
            asked = min(self.stylised, int((np.asarray(dataset.labels) >= 0).sum()))
        own = net_work(target, (target.input_shape[1], target.input_shape[2]), self.wanted)
        return Cost(
            forwards=lesson.forwards + asked * count,
            gradients=lesson.gradients + pictures * self.evaluations * part,
            batch=1.0,
            seconds=pictures * self.evaluations * step_seconds(target.input_shape),
            multiplications=lesson.multiplications + asked * count * own,
        )

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Optimisation and net side by side, and the accuracy under style."""
        if not results.rows:
            return Finding("not_applicable", "it found no image to paint: the data set has too few beside the styles")
        return told(self.given(target, evidence), self, self.setting(target), evidence, results)
