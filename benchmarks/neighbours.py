"""Exact nearest neighbours beside the bare matrix product that they rest on, and beside faiss:

    python -m benchmarks.neighbours --out DIR

5,000 and 50,000 points of 512 features in 10 clusters, 91 neighbours each, as the graph of an audit. The bare product is that of
all rows with all rows, a block of rows at a time, and nothing is done with it; in float64, which ours works in, and in float32,
which faiss works in. faiss gives each point itself too, so it is asked for one more. Ours can be below the product: of each two
blocks it computes one product and reads it from both sides.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from auditor.evidence.graph import MOST_NEIGHBOURS
from auditor.ops.neighbours import knn
from benchmarks.common import Row, Turns, arguments, in_turn, missing, named, prepared, row, written
from benchmarks.embedding import WIDTH, points

STAGE = "neighbours"
COUNTS, SMALL, LARGE = (5_000, 50_000), 1_000, 20_000
BLOCK, LOOKED_AT = 1024, 1_000
RHO = 1.3


def bare(features: Any, kind: Any) -> Callable[[], None]:
    """All inner products, BLOCK rows at a time."""
    table = features.astype(kind)
    out = np.empty((BLOCK, len(table)), kind)

    def product() -> None:
        for start in range(0, len(table), BLOCK):
            block = table[start : start + BLOCK]
            np.matmul(block, table.T, out=out[: len(block)])

    return product


class Faiss:
    """Flat search of every point, on one thread."""

    def __init__(self, features: Any) -> None:
        self.faiss = importlib.import_module("faiss")
        self.faiss.omp_set_num_threads(1)
        self.features = features

    def search(self, kind: str, most: int | None = None) -> Any:
        """Neighbours of the first `most` points, of all where None; the index is built each time: a flat one is a copy."""
        index = getattr(self.faiss, kind)(self.features.shape[1])
        index.add(self.features)
        return index.search(self.features[:most], MOST_NEIGHBOURS + 1)[1]

    def agreement(self, indices: Any) -> str:
        """How many of the neighbours of the first points, in the rows of `indices`, are faiss's by Euclidean distance."""
        theirs = self.search("IndexFlatL2", LOOKED_AT)
        same = np.mean([np.isin(a, b).mean() for a, b in zip(indices[: len(theirs)], theirs, strict=True)])
        return f"{same:.2%} of our neighbours of {len(theirs):,} points are among faiss's"


def measured(count: int, rounds: int) -> list[Row]:
    """The rows of one size."""
    features = points(count)
    case, kept = f"{count:,} x {WIDTH}, k = {MOST_NEIGHBOURS}", {}

    def ours() -> None:
        kept["indices"] = knn(features, MOST_NEIGHBOURS)[0]

    sides: dict[str, Callable[[], object]] = {"ours": ours}
    sides |= {"product64": bare(features, np.float64), "product32": bare(features, np.float32)}
    try:
        faiss = Faiss(features)
    except ImportError:
        faiss = None  # type: ignore[assignment]
    else:
        sides |= {kind: partial(faiss.search, kind) for kind in ("IndexFlatL2", "IndexFlatIP")}
    turns = in_turn(rounds, sides, warm=count < LARGE)
    rows = [
        row(STAGE, case, turns, "bare blocked product in float64, which ours works in", theirs="product64", at_most=RHO),
        below(case, turns, "bare blocked product in float32", "product32"),
    ]
    if faiss is None:
        return [*rows, missing(STAGE, case, "faiss-cpu")]
    for kind in ("IndexFlatL2", "IndexFlatIP"):
        own = turns.ratio(kind, "product32")
        note = f"faiss is {own:.2f} of the product in float32"
        note += (
            f"; {faiss.agreement(kept['indices'])}" if kind == "IndexFlatL2" else "; the largest inner products, other neighbours"
        )
        rows.append(below(case, turns, f"{named('faiss-cpu')} {kind}", kind, note))
    return rows


def below(case: str, turns: Turns, peer: str, side: str, note: str = "") -> Row:
    """Ours as a share of a side's time, without a target."""
    ratios = turns.ratios("ours", side)
    told = f"ours over it, {len(ratios)} rounds: {min(ratios):.3g} to {max(ratios):.3g}"
    note = f"{told}; {note}" if note else told
    return Row(STAGE, case, turns.median("ours"), peer, turns.median(side), turns.ratio("ours", side), "", None, note)


def main() -> int:
    """Measure, print, write."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="times that each takes its turn at 50,000 points")
    asked = parser.parse_args()
    prepared()
    rows: list[Row] = []
    for count in (SMALL,) if asked.small else COUNTS:
        for one in measured(count, asked.rounds if count >= LARGE or asked.small else 5):
            rows.append(one)
            written(asked.out, STAGE, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
