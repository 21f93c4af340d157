"""What the methods are put through: random weights, hiding and showing what they call important, and each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.fold import Item
from auditor.methods.attribute import pixelwise
from auditor.methods.deletion import cell_numbers, cell_order, deletion, hidden_counts
from auditor.methods.edges import edges
from auditor.methods.gradcam import gradcam, last_maps
from auditor.methods.guided import deconvnet, guided_backprop, ruled
from auditor.methods.inputs import TargetClass, checked, seed_of, wanted_of
from auditor.methods.insertion import blurred, insertion
from auditor.methods.integrated_gradients import integrated_gradients
from auditor.methods.occlusion import occlusion
from auditor.methods.randomisation import levels, randomise, spearman, weighted_layers
from auditor.methods.saliency import gradient
from auditor.methods.smoothgrad import smoothgrad
from auditor.ops.thumbnail import area_weights
from auditor.types import METHOD_TITLES, Array

if TYPE_CHECKING:
    from auditor.dataset import Dataset
    from auditor.target import Target

METHODS = tuple(METHOD_TITLES)
BLUR = 1 / 8
"""Deviation of the blur with which insertion begins, as a share of the side. At 1/16 a digit network still reads its digits with
a probability of 0.76, at 1/8 with 0.19; a photograph is lost to EfficientNet-Lite0 at 1/16 already."""
SHOWN_SIDE = 112
"""Maps are kept for showing at this side at most."""


@dataclass(frozen=True)
class Settings:
    """How the methods are run and tried."""

    methods: tuple[str, ...]
    fractions: tuple[float, ...]
    steps: int
    samples: int
    windows: int
    cells: int
    points: int
    orders: int
    fill: tuple[float, ...]
    seed: int
    layer: str = ""
    """Of Grad-CAM."""


def able(model: nn.Module, image: Tensor, wanted: TargetClass) -> tuple[tuple[str, ...], str]:
    """(methods that this model has something for, the layer of Grad-CAM): without rectifiers guided backprop is the gradient."""
    left_out = () if ruled(model, image, wanted)[1].total else ("guided_backprop", "deconvnet")
    try:
        layer = last_maps(model, *checked(image, wanted))
    except UsageError:
        return tuple(m for m in METHODS if m not in (*left_out, "gradcam")), ""
    return tuple(m for m in METHODS if m not in left_out), layer


def explained(model: nn.Module, image: Tensor, wanted: TargetClass, how: Settings) -> dict[str, Tensor]:
    """Method -> its map (1,H,W), in the order of the methods."""
    found: dict[str, Tensor] = {"saliency": gradient(model, image, wanted)}
    found["gradient_x_input"] = image * found["saliency"]
    found["integrated_gradients"] = integrated_gradients(model, image, wanted, steps=how.steps)
    found["smoothgrad"] = smoothgrad(model, image, wanted, samples=how.samples, seed=how.seed)
    if "guided_backprop" in how.methods:
        found["guided_backprop"] = guided_backprop(model, image, wanted)
        found["deconvnet"] = deconvnet(model, image, wanted)
    if "gradcam" in how.methods:
        found["gradcam"] = gradcam(model, image, wanted, layer=how.layer)
    if "occlusion" in how.methods:
        window = tuple(-(-side // how.windows) for side in image.shape[2:])
        fill = torch.tensor(how.fill, dtype=image.dtype, device=image.device)
        size = (window[0], window[1])
        found["occlusion"] = occlusion(model, image, wanted, window=size, stride=size, fill=fill).drop_map
    return {name: pixelwise(name, value) for name, value in found.items()}


def examine(target: Target, dataset: Dataset, items: Sequence[Item], *, how: Settings) -> dict[str, Array]:
    """Rows for items (position, class, other class or -1). M methods, L levels of randomisation, P points, R random orders:

    spearman (L,M) of |map| with that of the model whose top layers are random; deletion and insertion (M,P+1),
    random_deletion and random_insertion (R,P+1); agreement (M+1,M+1), the image's edges last; pictures (M,L+1,h,w);
    levels (L+1,) layers randomised at each level, and all; used (all methods,).
    """
    model = target.module
    images = [dataset.load(np.array([item[0]]), target.device) for item in items]
    wanted = [wanted_of(*item[1:]) for item in items]
    layers = weighted_layers(model, images[0])
    counts = levels(len(layers), how.fractions)
    own = [explained(model, image, what, how) for image, what in zip(images, wanted, strict=True)]
    likeness = np.full((len(items), len(counts), len(how.methods)), np.nan)
    shown = [[[shaded(maps[m]) for m in how.methods]] for maps in own]
    for level, count in enumerate(counts):
        fresh = randomise(model, fraction=count / len(layers), layers=layers, seed=how.seed)
        for i, (image, what) in enumerate(zip(images, wanted, strict=True)):
            other = explained(fresh, image, what, how)
            likeness[i, level] = [spearman(own[i][m].abs(), other[m].abs())[0] for m in how.methods]
            shown[i].append([shaded(other[m]) for m in how.methods])
        del fresh
    rows = [faithful(model, images[i], wanted[i], own[i], how, items[i][0]) for i in range(len(items))]
    for i, row in enumerate(rows):
        row["agreement"] = agreement([*(own[i][m] for m in how.methods), edges(images[i])])
        row["pictures"] = np.array(shown[i]).swapaxes(0, 1)
        row["spearman"] = likeness[i]
        row["levels"] = np.array([*counts, len(layers)], dtype=np.int64)
        row["used"] = np.array([m in how.methods for m in METHODS])
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def faithful(
    model: nn.Module, image: Tensor, wanted: TargetClass, maps: dict[str, Tensor], how: Settings, position: int
) -> dict[str, Array]:
    """The deletion and insertion curves of one image, by every method's order and by random ones."""
    cell = tuple(max(1, round(side / how.cells)) for side in image.shape[2:])
    size = (cell[0], cell[1])
    cells = int(cell_numbers((image.shape[2], image.shape[3]), size, image.device).max()) + 1
    orders = {m: cell_order(maps[m], size) for m in how.methods}
    for r in range(how.orders):
        mixed = np.random.default_rng(seed_of(how.seed, f"sanity:{position}:{r}")).permutation(cells)
        orders[f"random {r}"] = torch.from_numpy(mixed)[None]
    fill = torch.tensor(how.fill, dtype=image.dtype, device=image.device)
    start = blurred(image, BLUR)
    hidden, shown = [], []
    for order in orders.values():
        hidden.append(deletion(model, image, wanted, order, cell=size, steps=how.points, fill=fill)[0])
        shown.append(insertion(model, image, wanted, order, cell=size, steps=how.points, start=start)[0])
    found = {"deletion": torch.stack(hidden).cpu().numpy(), "insertion": torch.stack(shown).cpu().numpy()}
    m = len(how.methods)
    return {
        **{name: curves[:m] for name, curves in found.items()},
        **{f"random_{name}": curves[m:] for name, curves in found.items()},
        "hidden": hidden_counts(cells, how.points),
    }


def agreement(maps: Sequence[Tensor]) -> Array:
    """(m,m) rank correlation of |map| between maps (1,H,W); NaN where one is constant."""
    ranks = torch.cat([m.abs().cpu() for m in maps])
    return np.stack([spearman(ranks, ranks[i : i + 1].expand_as(ranks)) for i in range(len(ranks))])


def shaded(values: Tensor) -> Array:
    """uint8 (h,w): |map| (1,H,W), averaged down to at most SHOWN_SIDE, from 0 to its own 99.5 % quantile."""
    whole = values[0].abs().double().cpu().numpy()
    scale = min(1.0, SHOWN_SIDE / max(whole.shape))
    down, across = (area_weights(side, max(1, round(side * scale))) for side in whole.shape)
    small = down @ whole @ across.T
    high = float(np.quantile(small, 0.995))
    return np.asarray(np.round(np.clip(small / high, 0, 1) * 255) if high > 0 else np.zeros_like(small), dtype=np.uint8)
