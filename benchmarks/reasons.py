"""Why a target is missed, as far as it is known: said below the table for the rows that miss theirs, with the distance."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.common import Row

REASONS: Sequence[tuple[str, str, str]] = (
    (
        "occlusion", "ResNet-18",
        "It depends on the processor: an AMD EPYC gives 3.3 (3.27 on an idle machine as well), an Intel Xeon gave 4.3. Where "
        "fewer multiplications pay was measured on the Xeon alone.",
    ),
    (
        "data pass", "ResNet-20",
        "An image takes little over a millisecond here. Of what the pass takes beyond the bare loop a third is reading the maps "
        "for their maxima, the rest finding the places of those that enter, sorting them in, and saving and merging the "
        "states of shards: small operations, which hardly show beside a network at 224 px.",
    ),
    (
        "data pass", "patches and activations",
        "Two probes look at each layer, and the maps are read twice: for their maxima, and for their minima.",
    ),
    (
        "data pass", "",
        "The first images enter the lists of strongest images of nearly every unit, and the memory that the pass works in is "
        "mapped in its first batches: both weigh less the more images there are.",
    ),
    (
        "robustness", "robust accuracy, ResNet-20, epsilon 0.5/255",
        "Square's 5,000 queries an image that survives are forwards, which both sides need; ours take two thirds of the time of "
        "theirs on convolutions of 16 to 64 channels, of which only the last third gain by fewer multiplications.",
    ),
    (
        "synthesis", "style",
        "L-BFGS takes about as many evaluations as the plain loop's, and at equal evaluations what frozen weights and fewer "
        "multiplications can give is the limit told in the row.",
    ),
    (
        "neighbours", "5,000",
        "Of so few points the bare product takes a third of a second, and choosing 91 neighbours a point weighs beside it; at "
        "50,000 points it does not.",
    ),
    (
        "report", "page over image bytes",
        "Base64 takes 1.33 of the image bytes, and the drawing library (gzip in base64) is a fixed 0.66 MB. The row without it "
        "tells what is left: text, tables and the numbers behind the charts.",
    ),
    (
        "whole audit", "",
        "What is not in the passes: steps of optimisers and attacks, the embedding, statistics and pictures; the row names the "
        "stages that took most.",
    ),
    (
        "two workers", "",
        "The last units of each stage leave a worker idle, and two processes share the memory and the cache.",
    ),
)  # fmt: skip
"""(stage, words in the case, why): the first that fits is told."""


def reason(row: Row) -> str:
    """Why this row misses its target; "" where nothing is known."""
    told = f"{row.case} {row.peer}"
    return next((why for stage, words, why in REASONS if stage == row.stage and words in told), "")


def distance(row: Row) -> str:
    """How far from the target, in words."""
    if row.ratio is None:
        return row.note
    sign, bound = row.target.split()
    found, wanted = row.ratio, float(bound)
    if sign == ">=":
        return f"{found:.3g} of at least {wanted:.3g} ({found / wanted:.0%})"
    return f"{found:.3g} of at most {wanted:.3g} ({found / wanted - 1:.0%} more)"


def missed(rows: Sequence[Row]) -> str:
    """A list in Markdown of the targets that are missed; "" where none is."""
    lines = [
        f"- {row.stage}, {row.case}, beside {row.peer}: {distance(row)}. {reason(row) or 'Why is not known.'}"
        for row in rows
        if row.met is False
    ]
    return "\n".join(["Missed, by how much, and why:", "", *lines]) if lines else ""
