"""A whole audit beside the passes through the network that it needs, in one run: python -m benchmarks.whole_audit --out DIR

rho is the CPU time of `auditor.run`, from the opened model and data to the written report, over n_F t_F + n_G t_G: the forward
passes and the passes with the gradient of the input behind them, times what a bare one costs an image in batches of the plan.
The passes are counted twice:

    as they ran     every multiplication of a convolution, a linear layer or a matrix product in an audit of its own, forwards and
                    backwards apart, in units of one image through the whole network: a pass that ends at a layer counts by its
                    share, helper networks and the windows that occlusion follows by what they compute
    as planned      what the probes' own `cost` says, at the sizes of batch that they state, as `--plan` prints it

Where a convolution takes fewer multiplications than the direct one (`ops.winograd`), it counts by what the direct one takes. The
bare passes and the audit take turns. The note names the stages that took most. Networks: the demo's digits, a ResNet-20 of random
weights on noise of 32 px, and a ResNet-18 on noise of 224 px.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from auditor import api
from auditor.config import load_config
from auditor.demo import data, models
from auditor.estimate import Rates, measured
from auditor.job import Job
from auditor.ops import frozen, fused, lean, winograd
from auditor.planning import Wish
from auditor.preprocess import IMAGENET_MEAN, IMAGENET_STD, Geometry, Preprocess
from auditor.store import read_json
from benchmarks.common import Row, Turns, arguments, prepared, row, written
from benchmarks.nets import small_resnet

STAGE = "whole audit"
FILE = "whole_audit"
TARGET = 1.25
SHOWN = 4
LARGE = 64
"""Images of 224 px."""


class Counted(TorchDispatchMode):
    """Counts operations by the formulas of torch.utils.flop_counter. Its FlopCounterMode, which follows modules as well, raises
    where the gradient of a leaf is asked for, and a probe that raises fails alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.forward = 0
        self.backward = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._overloadpacket not in flop_registry and func is not torch.ops.prim.device.default:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        found = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            count = formula(*args, **kwargs, out_val=found)
            if "backward" in str(func):
                self.backward += count
            else:
                self.forward += count
        return found


@dataclass(frozen=True)
class Case:
    """A model with its data."""

    name: str
    model: Callable[[], tuple[nn.Module, Preprocess]]
    data: Callable[[Path], Any]
    profile: str


def digits() -> tuple[nn.Module, Preprocess]:
    """The demo's network."""
    model, preprocess, _ = models.build("digits")
    return model, preprocess


def resnet(make: Callable[[], nn.Module], side: int) -> tuple[nn.Module, Preprocess]:
    """One of random weights."""
    torch.manual_seed(0)
    return make().eval(), Preprocess(Geometry("RGB", (side, side), None, "nearest"), IMAGENET_MEAN, IMAGENET_STD)


def noise(count: int, side: int, _folder: Path) -> tuple[Any, Any]:
    """Noise in 8x8 blocks, and labels."""
    rng, block = np.random.default_rng(0), side // 8
    return rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8).repeat(block, 1).repeat(block, 2), np.arange(count) % 10


def cases(profile: str, images: int, *, large: bool) -> list[Case]:
    """All networks, that of 224 px where `large`."""
    found = [
        Case("digits", digits, lambda folder: str(data.build("digits", folder / "digits")), profile),
        Case(f"ResNet-20, 32 px, {images} images", partial(resnet, small_resnet, 32), partial(noise, images, 32), profile),
    ]
    name, make = f"ResNet-18, 224 px, {LARGE} images", partial(torchvision.models.resnet18, num_classes=10)
    return [*found, Case(name, partial(resnet, make, 224), partial(noise, LARGE, 224), "quick")] if large else found


def audit(case: Case, given: Any, folder: Path) -> dict[str, Any]:
    """One audit with nothing kept of an earlier one but the decoded images; what run.json holds."""
    model, preprocess = case.model()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        work = Path(place) / "work"
        work.mkdir()
        (work / "images").symlink_to(folder / "images")
        done = api.run(
            model, given, preprocess=preprocess, profile=case.profile, device="cpu", out=Path(place) / "audit", work=work
        )
        failed = {name: section.reason for name, section in done.record.sections.items() if section.status == "failed"}
        assert not failed, f"what fails is neither timed nor counted: {failed}"
        found: dict[str, Any] = read_json(done.path / "run.json")
    return found


def job_of(case: Case, given: Any, folder: Path) -> Job:
    """What the audit does."""
    model, preprocess = case.model()
    options = {"work": folder, "device": "cpu"}
    target = api.open_target(model, preprocess, given, options)
    dataset = api.open_data(target, given, options)
    return Wish(None, case.profile, threads=1).job(target, dataset, None, load_config({}), case.name)


def counted(case: Case, given: Any, folder: Path, job: Job) -> tuple[float, float]:
    """(forward, backward) multiplications of an audit, each in those of one image through the network."""
    with Counted() as one, torch.no_grad():
        job.target.module(job.dataset.load(range(1)))
    with ExitStack() as direct:  # by operations that the counter knows
        for module in (frozen, fused):
            direct.enter_context(mock.patch.object(module, "packs", return_value=False))
        direct.enter_context(mock.patch.object(winograd, "gain", return_value=0.0))
        direct.enter_context(mock.patch.object(lean, "stand_in", return_value=0))
        whole = direct.enter_context(Counted())
        audit(case, given, folder)
    return whole.forward / one.forward, whole.backward / one.forward


def passes(job: Job, images: Tensor) -> tuple[float, float]:
    """CPU seconds an image of a forward, and of the gradient of the input behind it, of one batch."""
    begin = time.process_time()
    with torch.no_grad():
        job.target.module(images)
    forward = time.process_time() - begin
    leaf = images.clone().requires_grad_(True)
    begin = time.process_time()
    with torch.enable_grad():
        torch.autograd.grad(job.target.module(leaf).sum(), leaf)
    return forward / len(images), max(0.0, time.process_time() - begin - forward) / len(images)


def planned(rates: Rates, job: Job) -> float:
    """Seconds of the passes that the probes say they need: without what they do beside the network."""
    return rates.of_passes(job) + sum(rates.of(p, job) - p.cost(job.target, job.dataset).seconds for p in job.probes)


def rows_of(case: Case, rounds: int, folder: Path) -> list[Row]:
    """The audit beside its passes, by both counts."""
    given = case.data(folder)
    job = job_of(case, given, folder)
    images = job.dataset.load(range(min(job.plan.batch, len(job.dataset))))
    forwards, backwards = counted(case, given, folder, job)
    seconds: dict[str, list[float]] = {"ours": [], "ran": [], "planned": []}
    took: dict[str, Any] = {}
    passes(job, images)
    for _ in range(rounds):
        before, rates = [passes(job, images) for _ in range(3)], measured(job)
        begin = time.process_time()
        took = audit(case, given, folder)
        seconds["ours"].append(time.process_time() - begin)
        forward, backward = np.median([*before, *(passes(job, images) for _ in range(3))], axis=0)
        seconds["ran"].append(float(forwards * forward + backwards * backward))
        seconds["planned"].append(planned(rates, job))
    turns = Turns(seconds)
    stages = sorted(took["spent"].items(), key=lambda item: -item[1]["cpu_seconds"])[:SHOWN]
    told = ", ".join(f"{name} {spent['cpu_seconds']:.1f} s" for name, spent in stages)
    job.target.restore()
    what = f"{case.name}, profile {case.profile}"
    put = partial(row, STAGE, what, turns, at_most=TARGET)
    return [
        put(f"its passes as they ran: {forwards:.0f} forward, {backwards:.0f} back", theirs="ran", note=f"most: {told}"),
        put("its passes as the probes plan them", theirs="planned"),
    ]


def main() -> None:
    """Measure both networks."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--profile", default="standard", help="of the small networks; that of 224 px is audited by quick")
    parser.add_argument("--only", nargs="+", help="words in the names of networks")
    parser.add_argument("--images", type=int, default=2000, help="of the ResNet's noise")
    given = parser.parse_args()
    prepared()
    rows: list[Row] = []
    profile, images, rounds = ("quick", 300, 1) if given.small else (given.profile, given.images, given.rounds)
    for case in cases(profile, images, large=not given.small):
        if given.only and not any(word in case.name for word in given.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "images").mkdir()
            for one in rows_of(case, rounds, Path(folder)):
                rows.append(one)
                written(given.out, FILE, rows)


if __name__ == "__main__":
    main()
