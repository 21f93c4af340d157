"""Named ways to make a picture, with the settings of their papers."""

from __future__ import annotations

from collections.abc import Mapping

from auditor.errors import UsageError
from auditor.methods.ascent.engine import Recipe
from auditor.methods.ascent.natural import Natural, longest
from auditor.methods.ascent.parameters import Fourier, Phase, Pixels
from auditor.methods.ascent.regularisers import Blur, Decay, Regulariser, SmallContribution, SmallNorm
from auditor.methods.ascent.rules import Adam, Constant, Progress, Relative
from auditor.methods.ascent.transforms import Affine, Noise

PLAIN = "none"
YOSINSKI: Mapping[str, tuple[tuple[Regulariser, ...], Constant | Progress, int]] = {
    "yosinski_1": ((Blur(0.5, 4), SmallNorm(50)), Progress(2.0, 100.0), 500),
    "yosinski_2": ((Decay(0.3), SmallNorm(20)), Constant(100.0), 750),
    "yosinski_3": ((Decay(1e-4), Blur(1.0, 4)), Constant(100.0), 1000),
    "yosinski_4": ((Blur(0.5, 4), SmallContribution(90)), Progress(2.0, 1e8), 1000),
}
"""The four settings of table 1 of Yosinski 2015: regularisers, rate, iterations."""
RECIPES = (PLAIN, *YOSINSKI, "fourier", "maco")
"""All names: without any regulariser, Yosinski's four, a spectrum with transforms (Olah 2017), MACO (Fel 2023)."""
FOURIER_RATE, MACO_RATE, MACO_NOISE = 0.05, 0.1, 0.05
"""Steps of Adam, in coefficients and in radians; noise that is laid over each look, of images in [0,1]."""
ITERATIONS: Mapping[str, int] = {"fourier": 256, "maco": 256}
ROBUST = Affine(degrees=10.0, scale=1.15, shift=1 / 14)
"""Rotation, scale and jitter about as in Olah 2017: 16 px of 224."""


def recipe(name: str, *, iterations: int | None = None, natural: Natural | None = None, strength: float | None = 1.0) -> Recipe:
    """The recipe called `name`, with at most `iterations`.

    `natural`: statistics of natural images, which "maco" needs and whose colours "fourier" takes where they are given.
    `strength` is that of `Relative`, for recipes of pixels; None takes their rates as published, for pixels of 0 to 255.
    Raises UsageError for a name that is not known, or for "maco" without statistics.
    """
    count = published(name) if iterations is None else min(published(name), iterations)
    if name == PLAIN or name in YOSINSKI:
        regularisers, rule, _ = YOSINSKI["yosinski_1" if name == PLAIN else name]
        paced = rule if strength is None else Relative(rule, strength)
        return Recipe(Pixels(), paced, count, regularisers=() if name == PLAIN else regularisers)
    if name == "fourier":
        mixing = None if natural is None else natural.mixing / longest(natural.mixing)
        return Recipe(Fourier(mixing=mixing), Adam(FOURIER_RATE), count, transforms=(ROBUST,))
    if natural is None:
        raise UsageError("expected statistics of natural images for maco, got none: give `natural`")
    return Recipe(Phase(natural), Adam(MACO_RATE), count, transforms=(ROBUST, Noise(MACO_NOISE)))


def published(name: str) -> int:
    """The iterations of a recipe where no others are asked for. Raises UsageError for a name that is not known."""
    if name not in RECIPES:
        raise UsageError(f"expected a recipe among {', '.join(RECIPES)}, got {name!r}: choose one of these")
    return ITERATIONS.get(name) or YOSINSKI["yosinski_1" if name == PLAIN else name][2]
