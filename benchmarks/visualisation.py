"""Feature visualisation beside lucent, in one run:

    python -m benchmarks.visualisation --out DIR

Needs `pip install torch-lucent` (0.1.8 with kornia 0.4.1, which it pins). Both sides make pictures of the same channels of a
ResNet-18 at 224 px from a spectrum in uncorrelated colours under jitter, scale and rotation. lucent takes --steps steps of its
own defaults, one picture after the other; `auditor.visualise` makes all of them, for each number of steps in --ladder. What
counts is the final picture: the mean of the channel's map, without transforms. The table gives, for the fewest steps after
which ours fire the channels at least as much (the mean ratio over the channels), the pictures a minute of process time on either
side.

The weights are random unless --weights names a state dict of torchvision's resnet18: what is measured is the cost of the loop.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

import auditor
from benchmarks.common import Row, arguments, missing, named, prepared
from benchmarks.common import written as rows_written

try:
    from lucent.optvis import param, render
except ImportError:
    param = render = None

STAGE = "visualisation"
TARGETS = {"layer2": 3.0, "layer4": 2.0}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 224


@dataclass(frozen=True)
class Case:
    """One layer."""

    layer: str
    units: list[int]
    theirs_steps: int
    theirs_s: float
    theirs: list[float]
    """The activation of each channel by its final picture."""
    ours_steps: list[int]
    ours_s: list[float]
    ours: list[list[float]]

    def ratios(self) -> list[float]:
        """Mean ratio of the activations, ours over theirs, for each number of steps."""
        return [float(np.mean(np.divide(some, self.theirs))) for some in self.ours]

    def reached(self) -> int | None:
        """The place of the fewest steps that fire the channels as much; None where none does."""
        return next((i for i, ratio in enumerate(self.ratios()) if ratio >= 1), None)


def activation(model: nn.Module, layer: str, units: Sequence[int], images: Tensor) -> list[float]:
    """The mean of channel units[i]'s map at images[i], (n,3,H,W) in [0,1]."""
    kept: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    with torch.no_grad():
        mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (MEAN, STD))
        model((images - mean) / std)
    handle.remove()
    return [float(kept[0][i, unit].mean()) for i, unit in enumerate(units)]


def theirs(model: nn.Module, layer: str, unit: int, steps: int) -> Tensor:
    """(3,H,W) in [0,1] by lucent."""
    made = render.render_vis(
        model, f"{layer}:{unit}", lambda: param.image(SIDE), thresholds=(steps,), progress=False, show_image=False
    )
    return torch.from_numpy(made[-1][0]).permute(2, 0, 1)


def measured(model: nn.Module, layer: str, units: list[int], steps: int, ladder: Sequence[int]) -> Case:
    """Both sides in turn: a picture of theirs after each number of steps of ours, the rest behind."""
    pictures, spent_theirs, spent, fired = [], 0.0, [], []
    for i in range(max(len(units), len(ladder))):
        if i < len(units):
            begin = time.process_time()
            pictures.append(theirs(model, layer, units[i], steps))
            spent_theirs += time.process_time() - begin
        if i < len(ladder):
            begin = time.process_time()
            made = auditor.visualise(model, layer, units, steps=ladder[i], size=SIDE)
            spent.append(time.process_time() - begin)
            fired.append(activation(model, layer, units, made))
    found = activation(model, layer, units, torch.stack(pictures).float())
    return Case(layer, units, steps, spent_theirs, found, list(ladder), spent, fired)


HEAD = (
    "| layer | channels | lucent, steps | lucent, a minute | auditor, steps | activation, ours / theirs "
    "| auditor, a minute | times |"
)


def row(case: Case) -> str:
    """One line of the table."""
    at = case.reached()
    place = len(case.ours_steps) - 1 if at is None else at
    per = [60 * len(case.units) / spent for spent in (case.theirs_s, case.ours_s[place])]
    cells = (
        case.layer, len(case.units), case.theirs_steps, f"{per[0]:.2f}", case.ours_steps[place], f"{case.ratios()[place]:.2f}",
        f"{per[1]:.2f}", "not reached" if at is None else f"{per[1] / per[0]:.1f}",
    )  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def as_row(case: Case) -> Row:
    """The case as a row of the common table, at the fewest steps of ours that fire the channels as much."""
    at = case.reached()
    place = len(case.ours_steps) - 1 if at is None else at
    limit, spent = TARGETS.get(case.layer), case.ours_s[place]
    ratio = None if at is None else case.theirs_s / spent
    note = f"{case.ours_steps[place]} steps against {case.theirs_steps}; activation, ours / theirs {case.ratios()[place]:.2f}"
    return Row(
        STAGE, f"{case.layer} of ResNet-18, {SIDE} px, {len(case.units)} channels", spent, named("torch-lucent"), case.theirs_s,
        ratio, f">= {limit:g}" if limit else "", None if limit is None else ratio is not None and ratio >= limit,
        note if at is not None else f"not reached: {note}",
    )  # fmt: skip


def main() -> None:
    """Run both layers; write the rows, and with more to each case visualisation-cases.json and visualisation.md."""
    parser = arguments(__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--steps", type=int, help="of lucent; 512, its own default, 16 of a small run")
    parser.add_argument("--ladder", type=int, nargs="+", help="64 128 256 384 512, 4 8 16 of a small run")
    parser.add_argument("--units", type=int, help="4, 2 of a small run")
    parser.add_argument("--layers", nargs="+", default=["layer2", "layer4"])
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if render is None:
        rows_written(given.out, STAGE, [missing(STAGE, layer, "torch-lucent") for layer in given.layers])
        return
    units, steps = given.units or (2 if given.small else 4), given.steps or (16 if given.small else 512)
    ladder = given.ladder or ([4, 8, 16] if given.small else [64, 128, 256, 384, 512])
    prepared()
    model = torchvision.models.resnet18().eval()
    if given.weights is not None:
        model.load_state_dict(torch.load(given.weights, weights_only=True))
    cases = []
    for layer in given.layers:
        cases.append(measured(model, layer, list(range(units)), steps, ladder))
        print(row(cases[-1]), [round(ratio, 2) for ratio in cases[-1].ratios()], flush=True)
    weights = "random weights" if given.weights is None else given.weights.name
    told = f"ResNet-18, {weights}, {SIDE} px; torch {torch.__version__}, {platform.machine()}, 1 thread, process time."
    rows_written(given.out, STAGE, [as_row(case) for case in cases])
    (given.out / "visualisation-cases.json").write_text(
        json.dumps({"about": told, "cases": [asdict(case) for case in cases]}, indent=1)
    )
    table = [HEAD, "|" + " --- |" * 8, *(row(case) for case in cases)]
    (given.out / "visualisation.md").write_text("\n".join([*table, "", told, ""]))


if __name__ == "__main__":
    main()
