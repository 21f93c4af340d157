"""Robust accuracy and fooling beside torchattacks, in one run:

    python -m benchmarks.robustness --resnet20 ARCH.py WEIGHTS DATA --out DIR

Each case runs ours and theirs in turn (ABAB), on the same images, model, threads and batch; the table
gives the time of each, their ratio, and the robust accuracy that each found. Cases:

    robust accuracy   ours: APGD-CE, APGD-T, Square, each on what stands; theirs: torchattacks.AutoAttack (with FAB), which takes
                      10 steps of APGD and 5,000 queries: ours is given the same
    white box         ours alone: APGD-CE and APGD-T at 100 steps, what an audit takes
    fooling           ours: PGD-40, every fooled image leaves at once; theirs: torchattacks.PGD, from the images themselves

--resnet20 names a file that defines `resnet20()` (He 2016, option A), its weights, and a folder of CIFAR-10 pictures by class;
without it only the demo's digits are measured. --images and --queries make it smaller, and the table says so.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from auditor import Preprocess
from auditor.bounds import clopper_pearson
from auditor.dataset import open_dataset
from auditor.demo import data, models
from auditor.methods.attacks.gradient_sign import pgd
from auditor.methods.attacks.worst import Budget, worst_case
from auditor.methods.unit import unit_images
from auditor.preprocess import Geometry
from benchmarks.common import Row, Turns, arguments, missing, prepared
from benchmarks.common import row as common_row
from benchmarks.common import written as rows_written

try:
    import torchattacks
except ImportError:
    torchattacks = None

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
STAGE = "robustness"
TIMES, MANY, FEW, SURVIVE = 10.0, 0.6, 1 / 3, 0.25
"""Fooling: times as fast as torchattacks; robust accuracy: share of its time where SURVIVE of the images or more do, and where
fewer do.
"""
APGD_STEPS = 10
"""What torchattacks.AutoAttack takes."""


class Unit(nn.Module):
    """A model behind its normalisation: what both sides attack."""

    def __init__(self, inner: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(preprocess.std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(n,C,H,W) in [0,1] -> (n,K)."""
        return self.inner((images - self.mean) / self.std)


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    what: str
    model: str
    epsilon: float
    images: int
    ours_s: list[float]
    theirs_s: list[float]
    ours_right: int
    theirs_right: int | None
    missed: int
    """Images that theirs fools and ours does not."""
    budget: str

    @property
    def ratio(self) -> float | None:
        """Our time over theirs, the medians of the rounds; None where ours ran alone."""
        return float(np.median(self.ours_s) / np.median(self.theirs_s)) if self.theirs_s else None


Attack = Callable[[Tensor, Tensor], Tensor]


def clock(run: Attack, images: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """(process seconds, the changed images)."""
    begin = time.process_time()
    found = run(images, labels)
    return time.process_time() - begin, found


def right(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """(n,) bool."""
    with torch.no_grad():
        return torch.cat([model(x).argmax(1) == y for x, y in zip(images.split(50), labels.split(50), strict=True)])


def compared(
    what: str, name: str, model: nn.Module, given: tuple[Tensor, Tensor], epsilon: float, rounds: int, batch: int, queries: int
) -> Case:
    """Ours and theirs in turn, `rounds` times."""
    images, labels = given
    if what == "fooling":

        def ours(x: Tensor, y: Tensor) -> Tensor:
            return pgd(model, x, y, epsilon, normalise=lambda z: z, steps=40, eight_bits=False).images

        theirs: Attack | None = torchattacks.PGD(model, eps=epsilon, alpha=2.5 * epsilon / 40, steps=40, random_start=False)
        budget = "40 steps"
    elif what == "white box":

        def ours(x: Tensor, y: Tensor) -> Tensor:
            return worst_case(model, x, y, epsilon, normalise=lambda z: z, attacks=("apgd_ce", "apgd_t")).images

        theirs, budget = None, "APGD-CE and APGD-T, 100 steps"
    else:

        def ours(x: Tensor, y: Tensor) -> Tensor:
            limits = Budget(steps=APGD_STEPS, queries=queries)
            return worst_case(model, x, y, epsilon, normalise=lambda z: z, budget=limits).images

        theirs = torchattacks.AutoAttack(model, norm="Linf", eps=epsilon, n_classes=10, seed=0)
        theirs._autoattack.attacks[-1].n_queries = queries
        budget = f"APGD {APGD_STEPS} steps, Square {queries} queries"
    times: tuple[list[float], list[float]] = ([], [])
    found: list[Tensor] = [images, images]
    for _ in range(rounds):
        spent, parts = [0.0, 0.0], ([], [])  # type: tuple[list[float], tuple[list[Tensor], list[Tensor]]]
        for x, y in zip(images.split(batch), labels.split(batch), strict=True):
            for side, run in enumerate((ours, theirs)):  # in turn on each batch: a machine that slows down slows both
                if run is not None:
                    took, changed = clock(run, x, y)
                    spent[side] += took
                    parts[side].append(changed)
        for side in range(2):
            if parts[side]:
                times[side].append(spent[side])
                found[side] = torch.cat(parts[side])
    standing = [right(model, x, labels) for x in found]
    if theirs is None:
        standing[1] = standing[0]
    for x in found:
        assert (x - images).abs().max() <= epsilon + 1e-5, "an attack left its ball"
    case = Case(
        what, name, epsilon, len(images), *times, int(standing[0].sum()), None if theirs is None else int(standing[1].sum()),
        int((standing[0] & ~standing[1]).sum()), budget,
    )  # fmt: skip
    print(row(case), flush=True)
    return case


def digits(count: int) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """The demo's adversarially trained digits and held-out images."""
    model, preprocess, _ = models.build("digits-robust")
    images, labels = data.load_digits()
    held = data.split(labels)[1][:count]
    return Unit(model, preprocess).eval(), (
        torch.from_numpy(images[held]).unsqueeze(1).float() / 255,
        torch.from_numpy(labels[held]),
    )


def resnet20(file: str, weights: str, folder: str, count: int, work: Path) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """ResNet-20 and `count` pictures, spread evenly over the folder."""
    spec = importlib.util.spec_from_file_location("resnet20", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.resnet20()
    model.load_state_dict(load_file(weights))
    preprocess = Preprocess(Geometry(), *IMAGENET)
    dataset = open_dataset(folder, preprocess=preprocess, outputs=10, names=CIFAR, work=work / "images")
    at = np.linspace(0, len(dataset) - 1, count).astype(int)
    return Unit(model, preprocess).eval(), (unit_images(dataset, at, "cpu"), torch.as_tensor(np.asarray(dataset.labels)[at]))


HEAD = (
    "| what | model | epsilon | images | ours, right | torchattacks, right | missed "
    "| ours (s) | torchattacks (s) | ours / theirs |"
)


def row(case: Case) -> str:
    """One line of the table."""
    shares = []
    for k in (case.ours_right, case.theirs_right):
        if k is None:
            shares.append("-")
            continue
        low, high = clopper_pearson(k, case.images, 0.95)
        shares.append(f"{k / case.images:.1%} ({low:.1%} to {high:.1%})")
    times = [", ".join(f"{t:.1f}" for t in side) for side in (case.ours_s, case.theirs_s)]
    cells = (
        f"{case.what}, {case.budget}", case.model, f"{case.epsilon * 255:.3g}/255", case.images, *shares, case.missed, *times,
        "-" if case.ratio is None else f"{case.ratio:.3f}",
    )  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def main() -> None:
    """Run all cases; write the rows, and with more to each case robustness-cases.json and robustness.md."""
    parser = arguments(__doc__)
    parser.add_argument("--resnet20", nargs=3, metavar=("ARCH.py", "WEIGHTS", "DATA"))
    parser.add_argument("--images", type=int, help="500, 60 of a small run")
    parser.add_argument("--queries", type=int, help="5,000, 500 of a small run")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batch", type=int, default=100)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if torchattacks is None:
        rows_written(given.out, STAGE, [missing(STAGE, "all", "torchattacks")])
        return
    count, queries = given.images or (60 if given.small else 500), given.queries or (500 if given.small else 5000)
    prepared()
    cases: list[Case] = []
    worlds = {"digits-robust": digits(count)}
    plan = [("robust accuracy", "digits-robust", 0.1)]
    if given.resnet20:
        worlds["ResNet-20"] = resnet20(*given.resnet20, count, given.out)
        robust = [("robust accuracy", "ResNet-20", epsilon / 255) for epsilon in (2, 0.5)]
        plan = [("fooling", "ResNet-20", 8 / 255), *robust, *plan]
        plan.append(("white box", "ResNet-20", 0.5 / 255))
    plan.append(("white box", "digits-robust", 0.1))
    for what, name, epsilon in plan:
        model, images = worlds[name]
        cases.append(compared(what, name, model, images, epsilon, 1 if given.small else given.rounds, given.batch, queries))
        written(given.out, cases)


def as_row(case: Case) -> Row:
    """The case as a row of the common table."""
    what = f"{case.what}, {case.model}, epsilon {case.epsilon * 255:.3g}/255, {case.images} images, {case.budget}"
    if not case.theirs_s:
        note = f"{case.ours_right} images stay right"
        return Row(STAGE, what, float(np.median(case.ours_s)), "-", None, None, "", None, note)
    turns = Turns({"ours": case.ours_s, "peer": case.theirs_s})
    note = f"right: ours {case.ours_right}, theirs {case.theirs_right}; theirs fools {case.missed} that ours does not"
    peer = f"torchattacks {torchattacks.__version__}"
    if case.what == "fooling":
        return common_row(STAGE, what, turns, peer, at_least=TIMES, note=note)
    limit = MANY if case.ours_right >= SURVIVE * case.images else FEW
    return common_row(STAGE, what, turns, peer, at_most=limit, note=note)


def written(out: Path, cases: list[Case]) -> None:
    """What has been measured so far."""
    about = {"torch": torch.__version__, "torchattacks": torchattacks.__version__, "machine": platform.machine(), "threads": 1}
    rows = [asdict(case) | {"ratio": case.ratio} for case in cases]
    (out / "robustness-cases.json").write_text(json.dumps({"about": about, "cases": rows}, indent=1))
    table = [HEAD, "|" + " --- |" * 10, *(row(case) for case in cases)]
    told = ", ".join(f"{key} {value}" for key, value in about.items())
    said = "Process time, ours and theirs in turn; intervals 90 %, exact; missed: torchattacks fools it, ours does not."
    (out / "robustness.md").write_text("\n".join([*table, "", f"{said} {told}.", ""]))
    rows_written(out, STAGE, [as_row(case) for case in cases])


if __name__ == "__main__":
    main()
