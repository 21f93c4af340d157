"""Texture, style and inversion to an equal loss, beside the plain loop that tutorials use:

    python -m benchmarks.synthesis --out DIR

The loop is that of PyTorch's tutorial of neural style (and of pytorch/examples' losses): hooks, a forward of the whole network,
weights that take gradients, `backward()`, torch's L-BFGS with the picture put back into [0,1] before each evaluation; for
inversion Adam at a constant rate, the best of RATES. Both sides start alike, see the same network (VGG-16 with seeded random
weights, 128 px), the same layers and the same loss. The loop makes so many evaluations; ours is timed to the first at which it
has reached the least loss that the loop had. Ours of texture starts at half the size, as it does by itself, with as many
evaluations there; that of style is measured at one size, as the probes have it, where it may make half as many more, and from
half the size on, as `auditor style` goes from coarse to fine. Of inversion, whose schedule ends with its budget, ours is given
the least of some budgets that suffices.

The limit is what the loop took over as many bare forwards with a gradient of the picture, up to the deepest layer: beyond it is
only what needs fewer evaluations, or has some of them at a smaller size.
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
from auditor.probes.inversion.places import activation
from auditor.target import Target, load_target
from benchmarks.common import Row, Turns, arguments, named, prepared, row, written

STAGE, TIMES = "synthesis", 3.0
SIDE, SMALL = 128, 64
LAYERS = ("features.3", "features.8", "features.15", "features.22")
"""relu1_2, relu2_2, relu3_3, relu4_3: those of Johnson 2016."""
INVERTED = "features.15"
RATES = (0.05, 0.2)
BUDGETS, MORE = (0.5, 0.6, 0.7, 0.85, 1.0, 1.5), 1.5
"""Of the loop's iterations: what ours of inversion is given, until it suffices; what ours of style may make at one size."""


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
        losses.append(float(found.detach()))
        return found

    clock = time.process_time()
    while len(losses) < setting.evaluations:
        descent.step(closure)  # type: ignore[no-untyped-call]
    return time.process_time() - clock, min(x for x in losses if np.isfinite(x))


def adam(loss: Callable[[Tensor], Tensor], begin: Tensor, setting: Setting, rate: float) -> tuple[float, float]:
    """As `loop`, by Adam at a constant rate."""
    image = begin.clone().requires_grad_(True)
    descent = torch.optim.Adam([image], lr=rate)
    losses = []
    clock = time.process_time()
    for _ in range(setting.evaluations):
        descent.zero_grad()
        setting.whole.zero_grad()
        found = loss(image)
        found.backward()  # type: ignore[no-untyped-call]
        losses.append(float(found.detach()))
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

    def reached(self, losses: Sequence[float], wanted: float) -> tuple[float, int, float]:
        """(seconds to the first loss as small as `wanted`, evaluations so far, least loss); inf and all without one."""
        places = [i for i, x in enumerate(losses) if x <= wanted]
        seconds, count = (self.at[-len(losses) :][places[0]], places[0] + 1) if places else (float("inf"), len(losses))
        return seconds, count, min(losses)


@dataclass(frozen=True)
class Method:
    """One method, both ways."""

    name: str
    theirs: Callable[[], tuple[float, float]]
    """() -> CPU seconds, the least loss."""
    ours: Callable[[float], tuple[float, int, float]]
    """Loss to reach -> CPU seconds (infinite where it is not reached), evaluations at the full size, the least loss of all."""
    deepest: str


def texture(setting: Setting) -> Method:
    """Of the style picture, from noise."""
    size = (setting.style.shape[1], setting.style.shape[2])

    def theirs() -> tuple[float, float]:
        return loop(mean_share(hooked(setting, LAYERS), setting.style), noise_like(setting.style, size, 0), setting)

    def ours(wanted: float) -> tuple[float, int, float]:
        clock = Clock()
        made = synthesise(phi_of(setting.target, LAYERS), setting.style, evaluations=setting.evaluations, seed=0, seen=clock)
        return clock.reached(made.losses, wanted)

    return Method("texture", theirs, ours, LAYERS[-1])


def style(setting: Setting, name: str = "style", coarse: tuple[tuple[int, int], ...] = ()) -> Method:
    """The content in the texture of the style, from the content; ours by way of smaller sizes where there are any."""
    layers = Layers((0, 1, 2, 3), 2)
    sizes = (*coarse, (setting.content.shape[1], setting.content.shape[2]))
    most = setting.evaluations if coarse else round(MORE * setting.evaluations)

    def theirs() -> tuple[float, float]:
        phi = hooked(setting, LAYERS)
        aim = aim_of(phi, layers, setting.content, blended(phi, layers, [setting.style]))
        whole = loss_of(phi, layers, aim, Weights())
        return loop(lambda images: whole(images).sum(), setting.content[None], setting)

    def ours(wanted: float) -> tuple[float, int, float]:
        clock, phi = Clock(), phi_of(setting.target, LAYERS)
        made = transfer(
            phi, setting.content, [setting.style], layers=layers, sizes=sizes, evaluations=most, seen=clock
        )  # fmt: skip
        return clock.reached(made.losses, wanted)

    return Method(name, theirs, ours, LAYERS[-1])


def finer(setting: Setting) -> Method:
    """Style from half the size on."""
    half = (setting.content.shape[1] // 2, setting.content.shape[2] // 2)
    return style(setting, "style, coarse to fine", (half,))


def inversion(setting: Setting) -> Method:
    """Of the content, from grey noise."""
    normalise, shape = setting.target.preprocess.normalise, tuple(setting.content.shape)
    budgets: dict[float, int] = {}
    best: list[float] = []

    def theirs() -> tuple[float, float]:
        phi = hooked(setting, [INVERTED])
        with torch.no_grad():
            wanted = phi(setting.content[None])[0]
        made = {
            rate: adam(lambda images: mismatch(phi(images)[0], wanted).sum(), start(shape, [0]), setting, rate)
            for rate in best or RATES
        }
        best[:] = [min(made, key=lambda rate: made[rate][1])]
        return made[best[0]]

    def descent(iterations: int) -> tuple[float, float]:
        clock = time.process_time()

        def phi(images: Tensor) -> Tensor:
            light = setting.target.light
            return activation(light.model, ("", INVERTED, "output"), light.prepared(images))

        with torch.no_grad():
            wanted = phi(normalise(setting.content[None]))
        made = invert(phi, wanted, shape=shape, normalise=normalise, seeds=[0], iterations=iterations, objective=Mahendran())
        return time.process_time() - clock, float(made.error[0]) ** 2

    def ours(wanted: float) -> tuple[float, int, float]:
        if wanted not in budgets:
            tried = [round(share * setting.evaluations) for share in BUDGETS]
            budgets[wanted] = next((n for n in tried if descent(n)[1] <= wanted), tried[-1])
        seconds, least = descent(budgets[wanted])
        return seconds if least <= wanted else float("inf"), budgets[wanted], least

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
        own, evaluations, least = method.ours(loss)
        took["peer"].append(seconds)
        took["ours"].append(own)
    limit = np.median(took["peer"]) / (setting.evaluations * bare(setting, method.deepest))
    note = f"to a loss of {loss:.3g}: {setting.evaluations} evaluations there, {evaluations} here at the full size; "
    note += f"our least is {least:.3g}; "
    note += f"the limit at equal evaluations is {limit:.2f}"
    case = f"{method.name}, VGG-16 to {method.deepest}, {setting.content.shape[-1]} px"
    turns, peer = Turns(took), f"plain loop, {named('torch')}"
    if not np.isfinite(took["ours"]).all():
        return Row(STAGE, case, None, peer, turns.median("peer"), None, f">= {TIMES:g}", False, f"NOT reached: {note}")
    return row(STAGE, case, turns, peer, at_least=TIMES, note=note)


def main() -> int:
    """Measure, print, write."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="times that each takes its turn")
    asked = parser.parse_args()
    prepared()
    rows: list[Row] = []
    for build in (texture, style, finer, inversion):
        chosen: Any = setting(SMALL, 20) if asked.small else setting(SIDE, 100)
        rows.append(measured(build(chosen), chosen, 1 if asked.small else asked.rounds))
        written(asked.out, STAGE, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
