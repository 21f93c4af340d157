"""The one pass over the data set beside a bare forward loop and a peer's collector, in one run:

    python -m benchmarks.data_pass --out DIR

rho is the CPU time of the pass of an audit, with all that its probes look at, over that of a loop that loads the same decoded
images and calls the same model on batches of the same size; the sides take turns batch by batch. The pass is the audit's own
(`stream.run_pass`), with its merging and its checkpoint; what the places of each layer see is found before it, once an audit.
Cases: the profile standard; `patches` over at least 20 layers; `patches` and `activations` over at least 20 layers each. Few
images are the hard case, as each of the first ones is among the strongest of most channels: of k strongest an image of N is one
of k (1 + ln(N/k)) / N in the mean, and the memory that the pass works in is mapped once. So the pass of 384 images costs more
over the bare loop than that of the 1,024 here, and that of an audit of many thousands less.

Peer: zennit-crp, whose collector sorts whole batches for every layer. What is taken of it is
`FeatureVisualization.analyze_activation` in forward hooks on the same layers: its `run` goes backwards as well, which no pass
needs. It keeps 40 images a channel, over the data and for every class.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn

from auditor import api
from auditor.config import load_config
from auditor.evidence import Outputs
from auditor.fold import Fold
from auditor.gather import OUTPUTS, looks
from auditor.job import Job, in_order, unmet
from auditor.ops.heap import hold_memory
from auditor.planning import Wish
from auditor.preprocess import IMAGENET_MEAN, IMAGENET_STD, Geometry, Preprocess
from auditor.stream import run_pass
from benchmarks.common import Baton, Row, arguments, missing, named, prepared, row, woven, written
from benchmarks.nets import small_resnet

STAGE = "data pass"
FILE = "data_pass"
LAYERS = 20
TARGET = 1.1
WARM = 4
"""Batches before the clock starts."""
WATCHED: Mapping[str, tuple[str | None, Mapping[str, Any]]] = {
    "profile standard": (None, {}),
    f"patches over {LAYERS} layers": ("patches", {"patches": {"layers": LAYERS}}),
    f"patches and activations over {LAYERS} layers each": (
        "patches,activations",
        {"patches": {"layers": LAYERS}, "activations": {"layers": LAYERS}},
    ),
}
"""Case -> the probes asked for (None: all of the profile) and their parameters."""


@dataclass(frozen=True)
class Net:
    """A network and how many images go through it."""

    name: str
    make: Callable[[], nn.Module]
    side: int
    images: int


def nets(small: bool) -> list[Net]:
    """ResNet-18 at 224 px, and one the size of CIFAR-10."""
    return [
        Net("ResNet-18", partial(torchvision.models.resnet18, num_classes=10), 224, 32 if small else 1024),
        Net("ResNet-20", small_resnet, 32, 256 if small else 16_384),
    ]


def data(net: Net) -> tuple[Any, Any]:
    """Smooth noise with a little grain, and labels: in flat blocks the maxima of a map tie, in photographs they hardly do."""
    rng = np.random.default_rng(0)
    pictures = np.empty((net.images, net.side, net.side, 3), np.uint8)
    for picture in pictures:
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        smooth = np.asarray(small.resize((net.side, net.side), Image.Resampling.BICUBIC), np.int16)
        picture[:] = np.clip(smooth + rng.integers(-8, 9, smooth.shape, dtype=np.int16), 0, 255)
    return pictures, np.arange(net.images) % 10


def jobs(net: Net, work: Path) -> dict[str, Job]:
    """Case -> what the audit would do, on one target and one data set."""
    preprocess = Preprocess(Geometry("RGB", (net.side, net.side), None, "nearest"), IMAGENET_MEAN, IMAGENET_STD)
    options = {"work": work, "device": "cpu"}
    target = api.open_target(net.make().eval(), preprocess, None, options)
    dataset = api.open_data(target, data(net), options)
    found = {}
    for case, (probes, settings) in WATCHED.items():
        given = load_config({"probes": settings})
        wish = Wish(None if probes is None else probes.split(","), "standard", threads=1)
        found[case] = wish.job(target, dataset, None, given, case)
    return found


def folds_of(job: Job) -> dict[str, Fold]:
    """What the audit's probes look at."""
    active = [probe for probe in in_order(job.probes) if unmet(probe, job.target, job.dataset) is None]
    failed: dict[str, Any] = {}
    folds = {OUTPUTS: Outputs(), **looks(active, job.target, failed)}
    assert not failed, f"probes failed to look: {failed}"
    return folds


def passed(job: Job, folds: Mapping[str, Fold]) -> None:
    """The pass of the audit, from nothing."""
    with tempfile.TemporaryDirectory() as work:
        _, broken = run_pass(job.target, job.dataset, folds, job.plan, Path(work))
    assert not broken, f"probes failed in the pass: {broken}"


def bare(job: Job, most: int | None = None) -> None:
    """The model on the same batches, at `most` so many, and nothing else."""
    with torch.no_grad():
        for begin in range(0, len(job.dataset), job.plan.batch)[:most]:
            job.target.module(job.dataset.load(range(begin, min(begin + job.plan.batch, len(job.dataset)))))


def collector(job: Job, layers: tuple[str, ...], work: Path) -> Callable[[], None] | None:
    """zennit-crp's collector on the layers; None where it is not installed."""
    try:
        from crp.attribution import CondAttribution  # type: ignore[import-untyped]
        from crp.concepts import ChannelConcept  # type: ignore[import-untyped]
        from crp.visualization import FeatureVisualization  # type: ignore[import-untyped]
    except ImportError:
        return None
    model, dataset = job.target.module, job.dataset

    def run() -> None:
        concepts = {layer: ChannelConcept() for layer in layers}
        watching = FeatureVisualization(CondAttribution(model), dataset, concepts, path=str(work / "crp"))
        place: list[Any] = [None]

        def hook(layer: str) -> Callable[..., None]:
            return lambda _m, _i, output: watching.analyze_activation(output, layer, concepts[layer], *place[0])

        places = [job.target.model.get_submodule(layer) for layer in layers]
        with torch.no_grad():
            for begin in range(0, len(dataset), job.plan.batch):
                which = np.arange(begin, min(begin + job.plan.batch, len(dataset)))
                place[0] = (which, np.asarray(dataset.labels)[which])
                images = dataset.load(which)
                handles = [held.register_forward_hook(hook(layer)) for held, layer in zip(places, layers, strict=True)]
                model(images)
                for handle in handles:  # the model is everybody's, batch by batch
                    handle.remove()

    return run


def by_batches(job: Job) -> Callable[[Baton], AbstractContextManager[object]]:
    """Passes the baton on before each batch is loaded."""
    load = type(job.dataset).load

    @contextmanager
    def held(baton: Baton) -> Iterator[None]:
        def handed(self: Any, *given: Any, **named: Any) -> Any:
            baton.passed()
            return load(self, *given, **named)

        with mock.patch.object(type(job.dataset), "load", handed):
            yield

    return held


def measured(net: Net, rounds: int) -> list[Row]:
    """All cases of one network, in turn with the bare loop and the peer."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        found = jobs(net, work)
        first = next(iter(found.values()))
        layers = first.target.choose("spatial", LAYERS)
        theirs = collector(first, layers, work)
        sides: dict[str, Callable[[], None]] = {"bare": partial(bare, first)}
        folds = {case: folds_of(job) for case, job in found.items()}
        sides |= {case: partial(passed, job, folds[case]) for case, job in found.items()}
        if theirs is not None:
            sides["peer"] = theirs
        hold_memory()  # as an audit does: the bare loop takes up to 1.4 times as long without, for pages given and taken back
        turns = woven(rounds, sides, by_batches(first), partial(bare, first, most=WARM))
        rows = []
        for case, job in found.items():
            watched = len({layer for fold in folds[case].values() for layer in fold.layers})
            what = f"{net.name}, {net.side} px, {net.images} images, {case}"
            note = f"{watched} layers watched, batches of {job.plan.batch}"
            rows.append(row(STAGE, what, turns, "bare forward loop", ours=case, theirs="bare", at_most=TARGET, note=note))
        case = list(found)[1]
        what = f"{net.name}, {net.side} px, {net.images} images, {case}"
        if theirs is None:
            rows.append(missing(STAGE, what, "zennit-crp"))
        else:
            rho = turns.ratio("peer", "bare")
            rows.append(row(STAGE, what, turns, named("zennit-crp"), ours=case, note=f"the peer's own rho is {rho:.2f}"))
        first.target.restore()
    return rows


def main() -> None:
    """Measure both networks."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    prepared()
    rows: list[Row] = []
    for net in nets(given.small):
        for one in measured(net, 1 if given.small else given.rounds):
            rows.append(one)
            written(given.out, FILE, rows)


if __name__ == "__main__":
    main()
