"""Probe `inversion`: how much of an image each depth keeps, and how much of whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from auditor.bounds import exact, proportion
from auditor.fold import Cost, Study
from auditor.methods.ascent import OPERATIONS
from auditor.probe import Needs, Probe, Results
from auditor.probes.inversion import told
from auditor.probes.inversion.leaks import leaks
from auditor.probes.inversion.making import OBJECTIVES, Settings, work
from auditor.probes.inversion.places import places
from auditor.types import Finding, Json, Measure, Value

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.evidence import Evidence
    from auditor.target import Target


@dataclass(frozen=True)
class Inversion(Probe):
    """Asks: How much of an image can be rebuilt from what each layer passes on, and does it give away which image it was?
    Formula: x in [0,1] by Adam from seeded noise, to minimise (Mahendran) |Phi(x) - Phi0|^2 / |Phi0|^2 + l_a |2x - 1|_6^6 / CHW
    + l_v TV^2(x) / C, or (Johnson) |Phi(x) - Phi0|^2 / M + tv s TV^2(x) / C over the M numbers of a layer, s = |Phi0|^2 / M.
    relative_error = |Phi(x) - Phi0| / |Phi0|; psnr = -10 log10 mean (x - x0)^2 in dB; means over the images. recognised: share of
    the inversions that get the class of their source; identified: share whose nearest image of up to 1,000 of the data is their
    source, by the features under the head and by pixels (correlation of area means of 32 px, so that fading does not count).
    Johnson's figures are those of scope johnson.
    Read: Early layers give the image back almost as it was; with depth position, colour and texture go, and what stays is what
    the model works with. A high PSNR or a source identified deep in the model means that its features leak the input: treat
    stored features as images.
    Misleads: A low PSNR means that this optimiser did not find the image, not that the layer forgot it: a trained decoder (see
    `generator`) or more iterations may. Where the relative error is large the descent has not ended; it need not rise with depth.
    That features lead back to their source is no surprise where the inversion matched them: pixels are the stricter test.
    """

    title: ClassVar[str] = "Feature inversion"
    cites: ClassVar[tuple[str, ...]] = (
        "Mahendran, Vedaldi 2015, Understanding deep image representations by inverting them",
        "Johnson, Alahi, Fei-Fei 2016, Perceptual losses for real-time style transfer and super-resolution",
    )
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("relative_error", "Relative error", "", "none", "Distance of the rebuilt activation, over its length."),
        Measure("psnr", "PSNR", "dB", "none", "How close the rebuilt picture is to the image; 30 dB and more looks the same."),
        Measure("recognised", "Still recognised", "share", "none", "Share of the inversions that get the class of their source."),
        Measure(
            "identified_by_features", "Source identified by features", "share", "none",
            "Share of the inversions whose nearest image of the data, by the features under the head, is their source.",
        ),
        Measure(
            "identified_by_pixels", "Source identified by pixels", "share", "none",
            "Share of the inversions whose nearest image of the data, by the correlation of pixels, is their source.",
        ),
    )  # fmt: skip
    needs: ClassVar[Needs] = Needs(pixels=True)
    profiles: ClassVar[Mapping[str, Mapping[str, Json]]] = {
        "quick": {"images": 2, "iterations": 100, "objectives": ("mahendran",)},
        "standard": {},
        "full": {"images": 8, "layers": 8, "iterations": 400},
    }

    images: int = 4
    layers: int = 6
    objectives: tuple[str, ...] = OBJECTIVES
    iterations: int = 200
    rate: float = 0.3
    l_a: float = 1e-3
    l_v: float = 4e-4
    tv: float = 4e-5

    def __post_init__(self) -> None:
        if self.images < 1 or self.layers < 1 or self.iterations < 1:
            raise ValueError("expected images, layers and iterations >= 1; raise them")
        if self.rate <= 0 or min(self.l_a, self.l_v, self.tv) < 0:
            raise ValueError("expected rate > 0, l_a, l_v and tv >= 0; 0.3, 0.001, 0.0004 and 0.00004 are the defaults")
        if not self.objectives or len(set(self.objectives) & set(OBJECTIVES)) != len(self.objectives):
            raise ValueError(f"objectives: expected one or both of {', '.join(OBJECTIVES)}, got {list(self.objectives)}")

    def study(self, target: Target, evidence: Evidence, results: Results) -> Study | None:
        """Objective by objective and place by place, all chosen images of a place in one chunk."""
        positions = [int(p) for p in evidence.chosen(self.images)]
        known = places(target, self.layers)
        items = tuple((o, d, p) for o in range(len(self.objectives)) for d in range(len(known)) for p in positions)
        settings = Settings(
            known, self.objectives, self.iterations, self.rate, self.l_a, self.l_v, self.tv, evidence.seed
        )  # fmt: skip
        return Study(items, partial(work, settings=settings), len(positions)) if items else None

    def cost(self, target: Target, dataset: Dataset) -> Cost:
        """About: the forward ends at the layer, which lies at 60 % of the depth in the mean; then a look at what came of it."""
        made = len(self.objectives) * min(self.images, len(dataset)) * len(places(target, self.layers))
        return Cost(
            forwards=2.0 * made,
            gradients=0.6 * self.iterations * made,
            batch=max(1.0, 0.6 * min(self.images, len(dataset))),
            operations=OPERATIONS,
        )

    def conclude(self, target: Target, evidence: Evidence, results: Results) -> Finding:
        """Means over the images, shares, and the pictures in order of depth."""
        rows, names = results.rows, [place[0] for place in places(target, self.layers)]
        if not rows:
            return Finding("not_applicable", "it found no layer to invert, or no image")
        given = leaks(rows, evidence)
        values: dict[str, Value] = {}
        shares = {
            "recognised": given.recognised,
            "identified_by_features": given.by_features,
            "identified_by_pixels": given.by_pixels,
        }
        for number, objective in enumerate(self.objectives):
            for depth, name in enumerate(names):
                at = (rows["objective"] == number) & (rows["depth"] == depth)
                scope, n = name if objective == "mahendran" else f"{objective}.{name}", int(at.sum())
                values[f"relative_error.{scope}"] = exact(float(rows["error"][at].mean()), "", n=n)
                values[f"psnr.{scope}"] = exact(float(rows["psnr"][at].mean()), "dB", n=n)
                values |= {f"{key}.{scope}": proportion(int(hit[at].sum()), n) for key, hit in shares.items() if hit is not None}
        galleries, artifacts = told.pictures(rows, names, self.objectives, given, evidence)
        curves = told.curves(rows, names, self.objectives, given)
        figures = (galleries[0], *curves, told.table(rows, names, self.objectives, given), *galleries[1:])
        return Finding("done", values=values, figures=figures, notes=told.notes(rows, names, given), artifacts=artifacts)
