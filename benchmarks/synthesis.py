"""Texture, style and inversion to an equal loss, beside the plain loop that tutorials use:

    python -m benchmarks.synthesis --out DIR

The loop is that of PyTorch's tutorial of neural style (and of pytorch/examples' losses): hooks, a forward of the whole network,
weights that take gradients, `backward()`, torch's L-BFGS with the picture put back into [0,1] before each evaluation; for
inversion Adam at a constant rate. Both sides start alike, see the same network (VGG-16 with seeded random weights, 128 px), the
same layers and the same loss. The loop makes so many evaluations; ours is timed to the first at which it has reached the least
loss that the loop had. Of inversion, whose schedule ends with its budget, ours is given the least budget that suffices.

The limit is what the loop's evaluations cost over that of as many bare forwards and gradients of the picture up to the deepest
layer: more than it can only come from fewer evaluations.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from auditor.methods.gram import Phi, phi_of
from auditor.methods.inversion import Mahendran, invert, mismatch, start
from auditor.methods.style import Layers, Weights, aim_of, blended, loss_of, transfer
from auditor.methods.texture import mean_share, noise_like, synthesise
from auditor.ops.truncate import truncated
from auditor.preprocess import IMAGENET_MEAN, IMAGENET_STD, Geometry, Preprocess
from auditor.target import Target, load_target
from benchmarks.common import Row, Turns, arguments, named, prepared, row, written

STAGE, TIMES = "synthesis", 3.0
SIDE, SMALL = 128, 64
LAYERS = ("features.3", "features.8", "features.15", "features.22")
"""relu1_2, relu2_2, relu3_3, relu4_3: those of Johnson 2016."""
INVERTED = "features.15"
RATE = 0.05
BUDGETS = (0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
"""Of the loop's iterations of inversion: what ours is given, until it suffices."""


@dataclass(frozen=True)
class Setting:
    """One network, two pictures, and how much the loop may do."""

    target: Target
    whole: nn.Module
    """The same network as it comes: its weights take gradients."""
    content: Tensor
    """(3,S,S) in [0,1]."""
    style: Tensor
    evaluations: int


def setting(side: int, evaluations: int) -> Setting:
    """VGG-16 without weights from a file, and two photographs that come with scikit-learn."""
    from torchvision.models import vgg16

    torch.manual_seed(0)
    model = vgg16(weights=None).eval()
    whole = copy.deepcopy(model)
    preprocess = Preprocess(Geometry("RGB", (side, side), None, "bilinear"), IMAGENET_MEAN, IMAGENET_STD)
    target = load_target(model, preprocess=preprocess, input_shape=(3, side, side), device="cpu")
    pictures = []
    for name in ("china.jpg", "flower.jpg"):
        cut = torch.from_numpy(np.array(load_sample_image(name))[:420, :420]).permute(2, 0, 1)[None].float() / 255
        pictures.append(nn.functional.interpolate(cut, (side, side), mode="area")[0])
    return Setting(target, whole, *pictures, evaluations)


def hooked(setting: Setting, layers: Sequence[str]) -> Phi:
    """The maps of layers by hooks, in a forward of the whole network."""
    kept: dict[str, Tensor] = {}
    for name in layers:
        setting.whole.get_submodule(name).register_forward_hook(lambda _m, _a, out, name=name: kept.__setitem__(name, out))

    def phi(images: Tensor) -> tuple[Tensor, ...]:
        setting.whole(setting.target.preprocess.normalise(images))
        return tuple(kept[name] for name in layers)

    return phi


def loop(loss: Callable[[Tensor], Tensor], begin: Tensor, setting: Setting) -> tuple[float, float]:
    """The tutorial's loop: its CPU seconds, and the least loss that it had."""
    image = begin.clone().requires_grad_(True)
    descent = torch.optim.LBFGS([image])
    losses: list[float] = []

    def closure() -> Tensor:
        with torch.no_grad():
            image.clamp_(0, 1)
        descent.zero_grad()
        setting.whole.zero_grad()
        found = loss(image)
        found.backward()  # type: ignore[no-untyped-call]
        losses.append(float(found))
        return found

    clock = time.process_time()
    while len(losses) < setting.evaluations:
        descent.step(closure)  # type: ignore[no-untyped-call]
    return time.process_time() - clock, min(x for x in losses if np.isfinite(x))


def adam(loss: Callable[[Tensor], Tensor], begin: Tensor, setting: Setting) -> tuple[float, float]:
    """As `loop`, by Adam at a constant rate."""
    image = begin.clone().requires_grad_(True)
    descent = torch.optim.Adam([image], lr=RATE)
    losses = []
    clock = time.process_time()
    for _ in range(setting.evaluations):
        descent.zero_grad()
        setting.whole.zero_grad()
        found = loss(image)
        found.backward()  # type: ignore[no-untyped-call]
        losses.append(float(found))
        descent.step()
        with torch.no_grad():
            image.clamp_(0, 1)
    return time.process_time() - clock, min(losses)


class Clock:
    """CPU seconds at each evaluation of the last stage of ours."""

    def __init__(self) -> None:
        self.begin, self.at = time.process_time(), list[float]()

    def __call__(self, _done: int, _total: int) -> None:
        self.at.append(time.process_time() - self.begin)

    def reached(self, losses: Sequence[float], wanted: float) -> tuple[float, int]:
        """(seconds to the first loss as small as `wanted`, evaluations so far); (inf, all) where there is none."""
        places = [i for i, x in enumerate(losses) if x <= wanted]
        return (self.at[places[0]], places[0] + 1) if places else (float("inf"), len(losses))


@dataclass(frozen=True)
class Method:
    """One method, both ways."""

    name: str
    theirs: Callable[[], tuple[float, float]]
    """() -> CPU seconds, the least loss."""
    ours: Callable[[float], tuple[float, int]]
    """Loss to reach -> CPU seconds (infinite where it is not reached), evaluations at the full size."""
    deepest: str


def texture(setting: Setting) -> Method:
    """Of the style picture, from noise."""
    size = (setting.style.shape[1], setting.style.shape[2])

    def theirs() -> tuple[float, float]:
        return loop(mean_share(hooked(setting, LAYERS), setting.style), noise_like(setting.style, size, 0), setting)

    def ours(wanted: float) -> tuple[float, int]:
        clock = Clock()
        made = synthesise(phi_of(setting.target, LAYERS), setting.style, evaluations=setting.evaluations, seed=0, seen=clock)
        return clock.reached(made.losses, wanted)

    return Method("texture", theirs, ours, LAYERS[-1])


def style(setting: Setting) -> Method:
    """The content in the texture of the style, from the content."""
    layers = Layers((0, 1, 2, 3), 2)

    def theirs() -> tuple[float, float]:
        phi = hooked(setting, LAYERS)
        aim = aim_of(phi, layers, setting.content, blended(phi, layers, [setting.style]))
        whole = loss_of(phi, layers, aim, Weights())
        return loop(lambda images: whole(images).sum(), setting.content[None], setting)

    def ours(wanted: float) -> tuple[float, int]:
        clock, phi = Clock(), phi_of(setting.target, LAYERS)
        made = transfer(phi, setting.content, [setting.style], layers=layers, evaluations=setting.evaluations, seen=clock)
        return clock.reached(made.losses, wanted)

    return Method("style", theirs, ours, LAYERS[-1])


def inversion(setting: Setting) -> Method:
    """Of the content, from grey noise."""
    normalise, shape = setting.target.preprocess.normalise, tuple(setting.content.shape)
    budgets: dict[float, int] = {}

    def theirs() -> tuple[float, float]:
        phi = hooked(setting, [INVERTED])
        with torch.no_grad():
            wanted = phi(setting.content[None])[0]
        return adam(lambda images: mismatch(phi(images)[0], wanted).sum(), start(shape, [0]), setting)

    def descent(iterations: int) -> tuple[float, float]:
        clock = time.process_time()

        def phi(images: Tensor) -> Tensor:
            return truncated(setting.target.model, images, INVERTED)

        with torch.no_grad():
            wanted = phi(normalise(setting.content[None]))
        made = invert(
            phi, wanted, shape=shape, normalise=normalise, seeds=[0], iterations=iterations, rate=RATE, objective=Mahendran()
        )
        return time.process_time() - clock, float(made.error[0]) ** 2

    def ours(wanted: float) -> tuple[float, int]:
        if wanted not in budgets:
            tried = (round(share * setting.evaluations) for share in BUDGETS)
            budgets[wanted] = next((n for n in tried if descent(n)[1] <= wanted), 0)
        if budgets[wanted] == 0:
            return float("inf"), setting.evaluations
        return descent(budgets[wanted])[0], budgets[wanted]

    return Method("inversion", theirs, ours, INVERTED)


def bare(setting: Setting, deepest: str) -> float:
    """CPU seconds of a forward to a layer and the gradient of the picture, nothing else: the least of five."""
    took = []
    for _ in range(5):
        clock = time.process_time()
        image = setting.content[None].clone().requires_grad_(True)
        torch.autograd.grad(truncated(setting.target.model, image, deepest).square().mean(), image)
        took.append(time.process_time() - clock)
    return min(took)


def measured(method: Method, setting: Setting, rounds: int) -> Row:
    """Both in turn."""
    took: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(rounds):
        seconds, loss = method.theirs()
        own, evaluations = method.ours(loss)
        took["peer"].append(seconds)
        took["ours"].append(own)
    limit = np.median(took["peer"]) / (setting.evaluations * bare(setting, method.deepest))
    note = f"to a loss of {loss:.3g}: {setting.evaluations} evaluations there, {evaluations} here; "
    note += f"the limit at equal evaluations is {limit:.2f}"
    case = f"{method.name}, VGG-16 to {method.deepest}, {setting.content.shape[-1]} px"
    turns, peer = Turns(took), f"plain loop, {named('torch')}"
    if not np.isfinite(took["ours"]).all():
        return Row(STAGE, case, None, peer, turns.median("peer"), None, f">= {TIMES:g}", False, f"NOT reached: {note}")
    return row(STAGE, case, turns, peer, at_least=TIMES, note=note)


def main() -> int:
    """Measure, print, write."""
    asked = arguments(__doc__).parse_args()
    prepared()
    rows: list[Row] = []
    for build in (texture, style, inversion):
        chosen: Any = setting(SMALL, 20) if asked.small else setting(SIDE, 120)
        rows.append(measured(build(chosen), chosen, 1 if asked.small else 2))
        written(asked.out, STAGE, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
