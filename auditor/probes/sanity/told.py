"""The verdict on each method, in words and as stamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from auditor.types import METHOD_TITLES, Stamp, Value

EARNS = "earns its place"
UNSHOWN = "not shown better than a random order"
UNSURE = "not shown to depend on the weights"
BLIND = "does not depend on the weights"


@dataclass(frozen=True)
class Tried:
    """One method and how it fared."""

    method: str
    likeness: Value
    """Rank correlation with its own map of the model with its top layers randomised."""
    deletion: Value
    insertion: Value
    """By how much its order beats a random one; above 0 is better."""
    threshold: float
    top: str
    """Which layers were randomised: "the top 25 of 99 layers"."""

    @property
    def title(self) -> str:
        """Its name as a sentence begins with it."""
        name = METHOD_TITLES[self.method]
        return name[0].upper() + name[1:]

    @property
    def verdict(self) -> str:
        """The first test that it does not pass, in the order of their weight."""
        if self.likeness.value is not None and self.likeness.value >= self.threshold:
            return BLIND
        if self.likeness.high is None or self.likeness.high >= self.threshold:
            return UNSURE
        return EARNS if not self.unproven else UNSHOWN

    @property
    def unproven(self) -> tuple[str, ...]:
        """Of deletion and insertion those that are not shown to be better than random, each with its figure."""
        return tuple(
            f"{name} {interval(value)}{', which is worse' if value.high is not None and value.high < 0 else ''}"
            for name, value in (("deletion", self.deletion), ("insertion", self.insertion))
            if value.low is None or value.low <= 0
        )

    @property
    def aside(self) -> str:
        """In brackets, what a sentence about its verdict rests on."""
        if self.verdict == UNSHOWN:
            return f" ({' and '.join(part.split(' ')[0] for part in self.unproven)})"
        if self.verdict == EARNS or self.likeness.value is None:
            return ""
        return f" ({self.likeness.value:.2f})"

    @property
    def why(self) -> str:
        """The figures behind the verdict."""
        line = f"(the line is {self.threshold:g})"
        if self.likeness.value is None:
            return f"With {self.top} randomised its map is constant: nothing can be compared."
        kept = f"With {self.top} randomised its map of the score keeps a rank correlation of {interval(self.likeness)}"
        if self.verdict == BLIND:
            return f"{kept} with that of the trained model {line}: it shows the image more than what the model has learned."
        if self.verdict == UNSURE:
            return f"{kept} {line}: {self.likeness.n} images cannot tell."
        if self.verdict == UNSHOWN:
            unproven = "; ".join(self.unproven)
            return f"Gain over a random order: {unproven}, n = {self.deletion.n}. Do not read it as an explanation."
        return f"{kept} {line}; its order beats a random one in both tests."

    @property
    def stamp(self) -> Stamp | None:
        """For wherever its maps appear; None where it earns its place."""
        return None if self.verdict == EARNS else Stamp(f"method.{self.method}", self.verdict, self.why)


def interval(value: Value) -> str:
    """`0.91 (0.88 to 0.93)`, in one piece."""
    if value.value is None:
        return "–"
    if value.low is None or value.high is None:
        return f"{value.value:.2f}"
    return f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})".replace(" ", "\u00a0")


SENTENCES = (
    (EARNS, "earns its place", "earn their place"),
    (BLIND, "does not depend on the weights", "do not depend on the weights"),
    (UNSURE, "is not shown to depend on the weights", "are not shown to depend on the weights"),
    (UNSHOWN, "is not shown to be better than a random order", "are not shown to be better than a random order"),
)
"""A verdict, said of one method and of several."""


def notes(tried: Sequence[Tried], left_out: Sequence[str], images: int) -> tuple[str, ...]:
    """One sentence for each verdict with what it rests on, and what was left out."""
    told = []
    for verdict, one, more in SENTENCES:
        named = [t for t in tried if t.verdict == verdict]
        if named:
            names = [t.title if i == 0 else METHOD_TITLES[t.method] for i, t in enumerate(named)]
            said = [f"{name}{t.aside}" for name, t in zip(names, named, strict=True)]
            rest = f" (rank correlation with {named[0].top} randomised)" if verdict in (BLIND, UNSURE) else ""
            told.append(f"{listed(said)} {one if len(named) == 1 else more}{rest}.")
    told += left_out
    if images < 12:
        told.append(f"{images} images decide little: a method that is not shown to work may work; raise `images` to know.")
    return tuple(told)


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
