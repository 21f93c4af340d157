"""The embedding panel (PCA, t-SNE, UMAP, neighbours) from one graph, beside the libraries that each build their own:

    python -m benchmarks.embedding --out DIR

5,000 points of 512 features in 10 clusters. Every part of ours and every library takes its turn; what the graph costs counts
once for ours. All libraries are at their own defaults on one thread (umap-learn and t-SNE with a seed). Two sums are compared
with: PCA and NearestNeighbors of scikit-learn with openTSNE and umap-learn, and the same with scikit-learn's t-SNE in the place
of openTSNE's. A map counts where its trustworthiness is no more than 0.01 below the library's. What a fresh process takes, where
umap-learn is compiled first, stands beside, without a target.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from auditor.evidence.graph import MOST_NEIGHBOURS, Graph, graph
from auditor.evidence.pca import MOST_COMPONENTS, pca
from auditor.methods.layout import start, tsne, umap
from auditor.methods.trustworthiness import trustworthiness
from auditor.ops.neighbours import knn
from benchmarks.common import Row, Turns, arguments, in_turn, named, prepared, row, written

STAGE = "embedding"
COUNT, WIDTH, CLUSTERS, SMALL = 5_000, 512, 10, 600
NEAR = 12
"""Neighbours of trustworthiness."""
SHARE, WORSE = 0.7, 0.01


def points(count: int) -> Any:
    """(count,512) float32: ten clusters, whose middles are as far apart as their points."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(CLUSTERS, WIDTH))[rng.integers(0, CLUSTERS, count)] + rng.normal(size=(count, WIDTH))).astype(
        np.float32
    )


class Ours:
    """The parts of the panel as the probes compute them; the later ones read what the earlier ones left."""

    def __init__(self, features: Any) -> None:
        self.features = features
        self.graph: Graph | None = None
        self.plane: Any = None
        self.maps: dict[str, Any] = {}

    def neighbours(self) -> None:
        """The graph that t-SNE and UMAP read too."""
        self.graph = graph(self.features)

    def pca(self) -> None:
        """With the start that t-SNE and UMAP share."""
        found = pca(self.features)
        self.plane, self.maps["pca"] = start(found.coordinates, seed=0), found.coordinates[:, :2]

    def tsne(self) -> None:
        assert self.graph is not None
        self.maps["tsne"] = tsne(self.graph.indices, self.graph.distances, self.plane)

    def umap(self) -> None:
        assert self.graph is not None
        self.maps["umap"] = umap(self.graph.indices, self.graph.distances, self.plane)

    def sides(self) -> dict[str, Callable[[], None]]:
        """In the order that they need."""
        return {"neighbours": self.neighbours, "pca": self.pca, "tsne": self.tsne, "umap": self.umap}


class Libraries:
    """Each library apart, from the features."""

    def __init__(self, features: Any) -> None:
        self.features = features
        self.maps: dict[str, Any] = {}

    def neighbours(self) -> None:
        from sklearn.neighbors import NearestNeighbors

        NearestNeighbors(n_neighbors=MOST_NEIGHBOURS, n_jobs=1).fit(self.features).kneighbors()

    def pca(self) -> None:
        from sklearn.decomposition import PCA

        self.maps["pca"] = PCA(n_components=MOST_COMPONENTS, random_state=0).fit_transform(self.features)[:, :2]

    def tsne(self) -> None:
        from openTSNE import TSNE

        self.maps["tsne"] = np.asarray(TSNE(n_jobs=1, random_state=0).fit(self.features))

    def umap(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from umap import UMAP

            self.maps["umap"] = UMAP(n_jobs=1, random_state=0).fit_transform(self.features)

    def tsne_sklearn(self) -> None:
        from sklearn.manifold import TSNE

        self.maps["tsne_sklearn"] = TSNE(n_jobs=1, random_state=0).fit_transform(self.features)

    def sides(self) -> dict[str, Callable[[], None]]:
        """The parts of the first sum, and the t-SNE of the second."""
        first = {"neighbours": self.neighbours, "pca": self.pca, "tsne": self.tsne, "umap": self.umap}
        return {**first, "tsne_sklearn": self.tsne_sklearn}


PARTS = ("neighbours", "pca", "tsne", "umap")
TITLES = {
    "neighbours": f"{named('scikit-learn')} NearestNeighbors",
    "pca": f"{named('scikit-learn')} PCA",
    "tsne": named("openTSNE"),
    "umap": named("umap-learn"),
    "tsne_sklearn": f"{named('scikit-learn')} TSNE",
}


def summed(turns: Turns, ours: tuple[str, ...], theirs: tuple[str, ...]) -> Turns:
    """Both sides' parts added up, round by round."""
    sides = {"ours": [f"our {name}" for name in ours], "peer": [f"their {name}" for name in theirs]}
    return Turns(
        {name: [sum(each) for each in zip(*(turns.seconds[p] for p in parts), strict=True)] for name, parts in sides.items()}
    )


def trusted(features: Any, ours: Ours, libraries: Libraries, case: str) -> list[Row]:
    """One row a map: by how much the library's trustworthiness is above ours."""
    pairs = [("pca", "pca"), ("tsne", "tsne"), ("tsne", "tsne_sklearn"), ("umap", "umap")]
    maps = [ours.maps[mine] for mine, _ in pairs] + [libraries.maps[other] for _, other in pairs]
    found = trustworthiness(features, [knn(flat, NEAR)[0] for flat in maps], k=NEAR).mean(axis=1)
    rows = []
    for i, (mine, other) in enumerate(pairs):
        own, their = float(found[i]), float(found[i + len(pairs)])
        note = f"trustworthiness ours {own:.4f}, theirs {their:.4f}; the ratio is theirs less ours"
        title, target = f"{case}: trustworthiness of {mine}", f"<= {WORSE:g}"
        rows.append(Row(STAGE, title, None, TITLES[other], None, their - own, target, their - own <= WORSE, note))
    return rows


def fresh(side: str, count: int) -> float:
    """CPU seconds of a new process that computes the panel once."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "benchmarks.embedding", "--fresh", side, "--count", str(count), "--out", "."]
    subprocess.run(command, check=True)  # noqa: S603 - our own module
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def once(side: str, count: int) -> None:
    """The panel once: what `fresh` starts."""
    sides = (Ours if side == "ours" else Libraries)(points(count)).sides()
    for name in PARTS:
        sides[name]()


def parser() -> argparse.ArgumentParser:
    """The stage's parser, with what `fresh` needs."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times that each takes its turn, after one that is not counted")
    parser.add_argument("--fresh", choices=("ours", "libraries"), help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    return parser


def main() -> int:
    """Measure, print, write."""
    asked = parser().parse_args()
    prepared()
    count = asked.count or (SMALL if asked.small else COUNT)
    if asked.fresh:
        once(asked.fresh, count)
        return 0
    features = points(count)
    ours, libraries = Ours(features), Libraries(features)
    mine = {f"our {name}": side for name, side in ours.sides().items()}
    turns = in_turn(
        1 if asked.small else asked.rounds, {**mine, **{f"their {name}": side for name, side in libraries.sides().items()}}
    )
    case, rows = f"{count:,} x {WIDTH}", []

    def add(one: Row) -> None:
        rows.append(one)
        written(asked.out, STAGE, rows)

    whole = "sum of " + ", ".join(TITLES[name] for name in PARTS)
    add(row(STAGE, f"{case}: panel", summed(turns, PARTS, PARTS), whole, at_most=SHARE, note="after warm-up"))
    other = ("neighbours", "pca", "tsne_sklearn", "umap")
    whole = "sum of " + ", ".join(TITLES[name] for name in other)
    add(row(STAGE, f"{case}: panel", summed(turns, PARTS, other), whole, at_most=SHARE, note="after warm-up"))
    for name in (*PARTS, "tsne_sklearn"):
        part = name.removesuffix("_sklearn")
        note = "times as fast" + (", without the graph, which stands under neighbours" if part in ("tsne", "umap") else "")
        add(row(STAGE, f"{case}: {part}", summed(turns, (part,), (name,)), TITLES[name], note=note))
    for one in trusted(features, ours, libraries, case):
        add(one)
    if not asked.small:
        own, their = fresh("ours", count), fresh("libraries", count)
        whole = "sum of " + ", ".join(TITLES[name] for name in PARTS)
        add(
            Row(
                STAGE,
                f"{case}: panel, fresh process",
                own,
                whole,
                their,
                own / their,
                "",
                None,
                "once; imports and compiling included",
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
