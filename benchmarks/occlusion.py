"""Occlusion beside captum's, in one run: python -m benchmarks.occlusion --out DIR

Window 16, stride 8, the fill 0, one class, one image of noise in blocks, random weights. captum's `Occlusion` runs at its
default (one window a forward) and at the fastest of several `perturbations_per_eval`, chosen at stride 16. Ours runs as it is
and, beside it, with whole images in batches. All maps must be equal to TOLERANCE of the largest effect, else no target is met:
captum's value of a pixel is the mean drop of the score over the windows that cover it, the same in every channel, and so is ours.

"Never slower than plain batching" is measured on four networks, two of them the size of CIFAR-10, where less is saved or nothing.
The note gives how many times less was multiplied than whole images would take (MAC), setting copies aside.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from unittest import mock

import captum
import torch
import torchvision
from captum.attr import Occlusion
from torch import Tensor, nn

import auditor
from auditor.methods import covered
from auditor.methods.incremental import Kept, Work
from benchmarks.common import Row, Turns, arguments, in_turn, prepared, row, written
from benchmarks.nets import small_resnet, small_vgg

STAGE = "occlusion"
EVALS = (1, 8, 32)
TOLERANCE = 1e-4
CLASS = 3
SHORT = 32
"""Side in px up to which a round takes a second or less."""
TARGETS = {"ResNet-18": 4.0, "VGG-16": 5.0}
CAPTUM = f"captum {captum.__version__}"


@dataclass(frozen=True)
class Case:
    """A network and its windows."""

    name: str
    make: Callable[[], nn.Module]
    side: int
    window: int = 16
    stride: int = 8

    def ready(self, seed: int) -> tuple[nn.Module, Tensor]:
        """The network, and an image (1,3,side,side) of noise in blocks as large as a window."""
        torch.manual_seed(seed)
        blocks = torch.randn(1, 3, self.side // self.window, self.side // self.window)
        image = blocks.repeat_interleave(self.window, 2).repeat_interleave(self.window, 3)
        return self.make().eval().requires_grad_(False), image


def nets(small: bool) -> tuple[list[Case], list[Case]]:
    """Those beside captum, and those beside plain batching alone."""
    side = 112 if small else 224
    zoo = torchvision.models
    beside = [Case("ResNet-18", partial(zoo.resnet18, num_classes=100), side)]
    if not small:
        beside.append(Case("VGG-16", partial(zoo.vgg16, num_classes=100), side))
    alone = [
        Case("MobileNetV2", partial(zoo.mobilenet_v2, num_classes=100), side),
        Case("ResNet-20, 32 px", small_resnet, 32, 4, 2),
        Case("VGG of six layers, 32 px", small_vgg, 32, 4, 2),
    ]
    return beside, alone


def ours(model: nn.Module, image: Tensor, case: Case) -> Tensor:
    """(H,W)."""
    return auditor.attribute(model, image, CLASS, "occlusion", window=case.window, stride=case.stride)[0]


def plain(model: nn.Module, image: Tensor, case: Case) -> Tensor:
    """(H,W), whole images in batches."""
    with mock.patch.object(covered, "followed", return_value=None):
        return ours(model, image, case)


def theirs(model: nn.Module, image: Tensor, case: Case, evals: int, stride: int) -> Tensor:
    """(H,W) by captum."""
    with torch.no_grad():
        found: Tensor = Occlusion(model).attribute(
            image, (3, case.window, case.window), (3, stride, stride), baselines=0, target=CLASS, perturbations_per_eval=evals
        )
    assert torch.equal(found[0, 0], found[0, 2]), "captum's map differs between the channels"
    return found[0, 0]


@contextmanager
def counted() -> Iterator[list[Work]]:
    """The work that occlusion counts inside."""
    seen: list[Work] = []

    def made(of_weights: Kept) -> Work:
        seen.append(Work(of_weights))
        return seen[-1]

    with mock.patch.object(covered, "Work", made):
        yield seen


def saved(work: list[Work]) -> float:
    """Times fewer multiplications."""
    return sum(w.whole for w in work) / max(1, sum(w.done for w in work))


def apart(maps: dict[str, Tensor]) -> float:
    """The largest difference from the first map, of its largest value."""
    first, *others = maps.values()
    assert first.abs().max() > 0, "no window changes the score"
    return max((float((other - first).abs().max() / first.abs().max()) for other in others), default=0.0)


def timed(case: Case, rounds: int, evals: tuple[int, ...]) -> tuple[Turns, float, float, int]:
    """(the sides in turn, the largest difference of their maps, times fewer multiplications, captum's best setting)."""
    model, image = case.ready(0)
    best = 0
    if evals:
        tried = in_turn(1, {str(n): partial(theirs, model, image, case, n, case.window) for n in evals}, warm=False)
        best = int(min(tried.seconds, key=tried.median))
        ours(model, image, replace(case, stride=case.window))  # as captum has had its first call, so has ours
        print(case.name, "captum at stride", case.window, {n: round(tried.median(n), 2) for n in tried.seconds}, flush=True)
    maps: dict[str, Tensor] = {}
    sides: dict[str, Callable[[], Tensor]] = {
        "ours": partial(ours, model, image, case),
        "plain": partial(plain, model, image, case),
    }
    if evals:
        sides |= {f"captum {n}": partial(theirs, model, image, case, n, case.stride) for n in dict.fromkeys((1, best))}

    def kept(name: str, run: Callable[[], Tensor]) -> Callable[[], None]:
        return lambda: maps.update({name: run()})

    with counted() as work:
        turns = in_turn(rounds, {name: kept(name, run) for name, run in sides.items()}, warm=not evals)
    return turns, apart(maps), saved(work), best


def rows_of(case: Case, rounds: int, evals: tuple[int, ...]) -> list[Row]:
    """Against captum's best and default, where it runs, and against plain batching."""
    turns, difference, times, best = timed(case, rounds, evals)
    note = f"maps differ by {difference:.1e} of the largest effect, MAC {times:.2f}"
    what = f"{case.name}, {case.side} px, window {case.window}, stride {case.stride}"
    put = partial(row, STAGE, what, turns)
    found = []
    if evals:
        found = [
            put(
                f"{CAPTUM}, {best} an evaluation (its best)",
                theirs=f"captum {best}",
                at_least=TARGETS[case.name] if case.side == 224 else None,
                note=note,
            )
        ]
        found.append(put(f"{CAPTUM}, 1 an evaluation (its default)", theirs="captum 1"))
    found.append(put("ours, whole images in batches", theirs="plain", at_least=1.0, note=note))
    # a map that is another one is no faster way to the same
    return found if difference <= TOLERANCE else [replace(one, met=False, note=f"NOT the same: {one.note}") for one in found]


def main() -> None:
    """Measure all cases."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="eight times as many at up to 32 px")
    parser.add_argument("--only", nargs="+", help="names of networks")
    given: argparse.Namespace = parser.parse_args()
    prepared()
    rounds = 1 if given.small else given.rounds
    rows: list[Row] = []
    for cases, evals in zip(nets(given.small), ((1, 8) if given.small else EVALS, ()), strict=True):
        for case in cases:
            if given.only is None or case.name in given.only:
                for one in rows_of(case, rounds if case.side > SHORT else 8 * rounds, evals):
                    rows.append(one)
                    written(given.out, STAGE, rows)


if __name__ == "__main__":
    main()
