"""Probe `generator`: what classes want to see, among the pictures that an image generator can make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from auditor.bounds import proportion, statistic
from auditor.evidence.chosen import first_classes
from auditor.evidence.identity import found_by_pixels, gallery_of
from auditor.fold import Cost, Item, Study
from auditor.lesson import Lesson
from auditor.methods.generator import Wanted, inverse_lesson, training_work, width_of
from auditor.methods.generator.code import STEPS
from auditor.methods.generator.inverse import NAME
from auditor.methods.taken import agreed
from auditor.ops.batching import images_at_once
from auditor.ops.columns import spread_out
from auditor.probe import Needs, Probe, Results
from auditor.probes.generator import told
from auditor.probes.generator.making import CLASS, IMAGE, Settings, make
from auditor.types import Array, Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target

FEWEST = 20
"""Images that the data must have, for some to be kept back."""
SHARE, MOST = 0.1, 100
"""Of the images that are kept back from the training, and how many at most."""
OWN = "generator"
UNITS = {"reconstruction_error": "", "psnr.generator": "dB", "psnr.mean_image": "dB"}


@dataclass(frozen=True)
class Generator(Probe):
    """Asks: What does each class want to see, if a picture must be one that a net trained on such images can make?
    Formula: a generator G from the penultimate features c of an image x to the image, trained on nine tenths of the data to
    minimise |G(c) - x|^2 / |m - x|^2 + `matching` sum_l |phi_l(G(c)) - phi_l(x)|^2 / |phi_l(x)|^2, m the mean image, phi_l maps
    of two layers and the features. Then ascent in c on the score of a class: 200 steps along g / mean|g|, falling from 2/3 of the
    mean range of a feature to 0, c times 0.99 after each, clipped to [0, mean + 3 sigma] (a feature that can be negative: as far
    below its mean, no lower than the data, and decaying to it). reconstruction_error = |G(c) - x|^2 over that of the mean image,
    psnr in dB, class_kept, and identified_by_pixels (no other of up to 1,000 images correlates more with G(c)): over the images
    kept back. target_reached: classes whose picture is taken for them.
    Read: Pictures keep to what images of the data look like, so they show a class better than free pixels do. A background, a
    mark or a second object in the picture of a class is what the model goes by. A low reconstruction error means that the
    features give the image away.
    Misleads: A picture is at best as good as its generator: see what it makes of images kept back. One trained on a few hundred
    photographs gives coloured patches, in which a class can be reached and not be recognised. It may repeat images of the data.
    Images larger than `side` are generated at that size and enlarged.
    """

    title: ClassVar[str] = "Through a generator"
    cites: ClassVar[tuple[str, ...]] = (
        "Nguyen, Dosovitskiy, Yosinski, Brox, Clune 2016, Synthesizing the preferred inputs for neurons in neural networks via "
        "deep generator networks",
        "Dosovitskiy, Brox 2016, Inverting visual representations with convolutional networks",
        "Dosovitskiy, Brox 2016, Generating images with perceptual similarity metrics based on deep networks",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure(
            "target_reached", "Classes reached", "share", "none",
            "Share of the classes whose first picture through the generator is taken for them.",
        ),
        Measure(
            "second_model_agreement", "Second model agrees", "share", "none",
            "Share of the first pictures of classes that the second model takes for the same class.",
        ),
        Measure(
            "reconstruction_error", "Reconstruction error", "", "none",
            "Squared error of the generator on images kept back from its training, over that of the mean image.",
        ),
        Measure(
            "psnr", "PSNR", "dB", "none",
            "How close the generator, or the mean image, comes to images kept back from the training.",
        ),
        Measure(
            "class_kept", "Class kept", "share", "none",
            "Share of the images kept back whose reconstruction gets the class that the model gives the image.",
        ),
        Measure(
            "identified_by_pixels", "Source identified by pixels", "share", "none",
            "Share of these reconstructions whose nearest image of the data, by the correlation of pixels, is their source.",
        ),
    )  # fmt: skip
    needs: ClassVar[Needs] = Needs(pixels=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json] | None]] = {
        "quick": None,
        "standard": {"largest": 64},
        "full": {},
    }

    classes: int = 10
    pictures: int = 2
    """Of each class, from other starts."""
    steps: int = 1000
    """Of the training."""
    batch: int = 32
    rate: float = 1e-3
    width: int = 16
    """Channels of the generator's finest maps; they double towards the coarse ones."""
    side: int = 96
    """Longer side of what is generated, at most."""
    matching: float = 0.3
    """Weight of each matched layer beside that of the pixels."""
    largest: int = 0
    """Longer side of the inputs for which a generator is trained, at most; any where 0."""

    def __post_init__(self) -> None:
        if min(self.classes, self.pictures, self.steps, self.batch, self.width, self.side) < 1 or self.rate <= 0:
            raise ValueError("expected classes, pictures, steps, batch, width and side >= 1, rate > 0; 10, 2, 1000, 32, 16 serve")
        if self.batch < 2 or self.matching < 0 or self.largest < 0:
            raise ValueError("expected batch >= 2, matching >= 0 and largest >= 0; 32, 0.3 and 0 are the defaults")

    @property
    def wanted(self) -> Wanted:
        """How the generator is trained."""
        return Wanted(self.steps, self.batch, self.rate, self.width, self.side, self.matching)

    def trains(self, target: Target, count: int) -> bool:
        """Whether a generator is trained for a data set of so many images."""
        high, wide = target.input_shape[1:]
        fits = not self.largest or max(high, wide) <= self.largest
        return target.generator is None and fits and count >= FEWEST

    def lessons(self, target: Target, evidence: Evidence, results: Results) -> tuple[Lesson, ...]:
        """The generator, trained on all images but those kept back."""
        count = len(evidence.dataset)
        if not self.trains(target, count):
            return ()
        back = kept_back(count)
        return (inverse_lesson(self.wanted, evidence.features, evidence.chosen(count)[back:], back),)

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """Images kept back, then every class from every start."""
        count = len(evidence.dataset)
        if target.generator is None and not self.trains(target, count):
            return None
        trained = results.trained.get(NAME)
        made = target.generator.module if target.generator is not None else trained.module if trained is not None else None
        assert made is not None, "lessons come before the study"
        items: list[Item] = []
        if target.generator is None or target.generator.bounds is None:
            items += [(IMAGE, int(p), 0) for p in evidence.chosen(kept_back(count))]
        items += [(CLASS, label, start) for label in first_classes(evidence, self.classes) for start in range(self.pictures)]
        settings = Settings(made, evidence.features, evidence.seed, mean_of(evidence) if trained is None else None)
        chunk = images_at_once(target.input_shape, target.device, gradient=True)
        return Study(tuple(items), partial(make, settings=settings), chunk) if items else None

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """About: see `training_work`; the own work of a generator that was given is left out."""
        if target.generator is None and not self.trains(target, len(dataset)):
            return Cost()
        labels = np.asarray(dataset.labels)
        most = self.classes if (labels < 0).any() else min(self.classes, len(np.unique(labels)))
        pictures = most * self.pictures if target.task == "classification" else 0
        ascents, looks = pictures * (STEPS + 1), 2 * kept_back(len(dataset)) + pictures
        if target.generator is not None:
            return Cost(looks, ascents)
        training = training_work(target, width_of(target), self.wanted, ascents)
        return replace(training, forwards=training.forwards + looks, gradients=training.gradients + ascents)

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Shares, errors, pictures, and how the training went."""
        rows, trained = results.rows, results.trained.get(NAME)
        if not rows:
            return Finding("not_applicable", self.why_not(target, len(evidence.dataset)))
        columns: dict[str, Array] = {}
        values: dict[str, Value] = {}
        images, pictures = rows["kind"] == IMAGE, rows["kind"] == CLASS
        if images.any():
            columns = columns_of(rows, images, len(evidence.dataset))
            for name, unit in UNITS.items():
                column = f"{OWN}.{name}"
                values[name] = statistic("mean", {column: columns[column]}, unit=unit, seed=evidence.seed)
            if evidence.predictions is not None:
                values["class_kept"] = proportion(int((rows["taken"] == rows["before"])[images].sum()), int(images.sum()))
            hit = found_by_pixels(rows["picture"][images], rows["unit"][images], evidence)
            values["identified_by_pixels"] = proportion(int(hit.sum()), len(hit))
        gallery = len(gallery_of(evidence, rows["unit"][images]))
        first = pictures & (rows["start"] == 0)
        if first.any():
            values["target_reached"] = proportion(int((rows["taken"] == rows["unit"])[first].sum()), int(first.sum()))
            same = agreed(target, evidence.names, rows["unit"][first], rows["second"][first])
            if same is not None and (same >= 0).any():
                values["second_model_agreement"] = proportion(int((same == 1).sum()), int((same >= 0).sum()))
        figures, artifacts = told.figures(rows, evidence, target)
        more = () if trained is None else (told.course(trained.losses),)
        timings = {} if trained is None else {f"training the generator, {self.steps} steps (s)": round(trained.seconds, 1)}
        return Finding(
            "done", values=values, figures=(*figures, *more), notes=told.notes(rows, values, target, self.side, gallery),
            artifacts=artifacts, columns=columns, timings=timings,
        )  # fmt: skip

    def why_not(self, target: Target, count: int) -> str:
        """Why there is nothing."""
        if target.generator is not None:
            return "it has no class to raise and no image to reconstruct"
        if count < FEWEST:
            return f"a generator is trained on at least {FEWEST} images, and there are {count}; give your own with --generator"
        return (
            f"this profile trains generators for inputs of at most {self.largest} px; --profile full does so for larger ones "
            "(an hour or more on a CPU for photographs: `auditor plan` tells), and --generator takes your own"
        )


def kept_back(count: int) -> int:
    """Images of `count` that the generator is not trained on."""
    return max(1, min(MOST, round(SHARE * count)))


def mean_of(evidence: Evidence) -> Array:
    """(C,H,W) in [0,1]: the mean image of the data, for a generator that brings none; of 512 images at most."""
    some = evidence.chosen(512)
    total = sum(evidence.dataset.pixels([int(p)])[0].astype(np.float64) for p in some)
    return np.asarray(total / len(some) / 255, dtype=np.float32).transpose(2, 0, 1)


def columns_of(rows: Mapping[str, Array], images: Array, count: int) -> dict[str, Array]:
    """(N,) columns of the images kept back."""
    at, error, mean = rows["unit"][images], rows["error"][images], rows["mean_error"][images]
    found = {
        "reconstruction_error": error / max(float(mean.mean()), 1e-12),
        "psnr.generator": told.decibels(error),
        "psnr.mean_image": told.decibels(mean),
    }
    return {f"{OWN}.{name}": spread_out(column, at, count) for name, column in found.items()}
