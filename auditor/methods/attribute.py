"""One attribution of one model, without an audit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.gradcam import gradcam
from auditor.methods.guided import Rule, Units, deconvnet, guided_backprop, unit_maps
from auditor.methods.inputs import Classes, TargetClass, checked, evaluating, scores_of
from auditor.methods.integrated_gradients import integrated_gradients
from auditor.methods.occlusion import occlusion
from auditor.methods.saliency import gradient_x_input, saliency
from auditor.methods.smoothgrad import smoothgrad
from auditor.ops.batching import images_at_once

METHODS: dict[str, Callable[..., Any]] = {
    "occlusion": occlusion,
    "saliency": saliency,
    "integrated_gradients": integrated_gradients,
    "smoothgrad": smoothgrad,
    "gradient_x_input": gradient_x_input,
    "guided_backprop": guided_backprop,
    "deconvnet": deconvnet,
    "gradcam": gradcam,
}
"""Name -> method(model, inputs, target, **params)."""
SIGNED = ("gradient_x_input", "integrated_gradients", "occlusion")
"""Methods whose values are shares of the score, for and against: their channels are added up."""


Named = Classes | str
"""A class by number, (N,) one an image, by name, or by the model's own ranking."""
RANKED = {"predicted": 0, "runner_up": 1}
"""Word -> place in the model's ranking of the classes."""


UNIT_RULES: dict[str, Rule] = {"saliency": "gradient", "guided_backprop": "guided", "deconvnet": "deconvnet"}
"""Methods that explain a unit as well."""


def attribute(
    model: nn.Module,
    inputs: Tensor,
    target: Named | tuple[Named, Named] | Units = "predicted",
    method: str = "occlusion",
    *,
    names: Sequence[str] = (),
    **params: Any,
) -> Tensor:
    """Which pixels the score of `target` rests on.

    `model`: any nn.Module giving (N,K) pre-softmax scores; it is used in eval mode and left as it was found.
    `inputs`: (N,C,H,W), already normalised. Higher is more important.
    `target`: a class, (N,) classes (the labels, for the true ones), "predicted", "runner_up", or a class's name among `names`.
    A pair (a, b) of these is the contrast of two: what speaks for a and against b, by every method the map of S_a - S_b.
    Units("layer4", channels) are units of a layer, one an image, for saliency, guided_backprop and deconvnet.

        method                 result      params
        occlusion              (N,H,W)     window=16, stride=8 (px, or (rows, columns)), fill=0.0, batch
                                           score drop, averaged over the windows that cover a pixel (Zeiler & Fergus 2014)
        saliency               (N,H,W)     batch
                                           max over the channels of |dS/dx| (Simonyan 2014)
        integrated_gradients   (N,C,H,W)   steps=32, baseline=0.0, batch
                                           signed; sums to S(x) - S(baseline) (Sundararajan 2017)
        smoothgrad             (N,C,H,W)   samples=16, sigma=0.15 (of the image's range), seed=0
                                           signed; mean gradient over noisy copies (Smilkov 2017)
        gradient_x_input       (N,C,H,W)   batch
                                           signed; x dS/dx (Shrikumar 2016)
        guided_backprop        (N,C,H,W)   batch
                                           signed; on every rectifying operation of the forward (Springenberg 2015)
        deconvnet              (N,C,H,W)   batch
                                           signed; likewise (Zeiler & Fergus 2014)
        gradcam                (N,H,W)     layer (the last maps, or tokens, on which the score depends), batch
                                           at least 0 (Selvaraju 2017)

    `batch`: images (or windows, or steps) in one forward; by the image's size and the device where it is not given.
    Raises UsageError for an unknown method or parameter, a class that the model does not have, a pair of one class, or inputs
    of another shape.
    """
    found = METHODS.get(method)
    if found is None:
        raise UsageError(f"expected an attribution method among {', '.join(METHODS)}, got {method!r}: choose one of these")
    known = [p.name for p in inspect.signature(found).parameters.values() if p.kind is p.KEYWORD_ONLY]
    unknown = sorted(set(params) - set(known))
    if unknown:
        raise UsageError(f"expected parameters of {method} among {', '.join(known)}, got {', '.join(unknown)}: remove it")
    if isinstance(target, Units):
        if method not in UNIT_RULES:
            raise UsageError(f"expected {', '.join(UNIT_RULES)} for units, got {method!r}: choose one of these")
        with evaluating(model):
            maps = unit_maps(model, inputs, target, rule=UNIT_RULES[method], **params)[0]
        return maps.abs().amax(1) if method == "saliency" else maps
    with evaluating(model):
        result = found(model, inputs, resolved(model, inputs, target, names), **params)
    return result if isinstance(result, Tensor) else result.drop_map


def pixelwise(method: str, attribution: Tensor) -> Tensor:
    """(N,H,W) of a method's attribution (N,C,H,W) or (N,H,W): the sum over the channels where the method is `SIGNED`, else
    the largest |value| among them.
    """
    if attribution.ndim == 3:
        return attribution
    return attribution.sum(1) if method in SIGNED else attribution.abs().amax(1)


def resolved(model: nn.Module, inputs: Tensor, target: Named | tuple[Named, Named], names: Sequence[str]) -> TargetClass:
    """`target` with its words as classes. Raises UsageError for a name that is not known, or a contrast of one with itself."""
    if not isinstance(target, tuple):
        return class_of(model, inputs, target, names)
    if len(target) != 2:
        raise UsageError(f"expected a contrast of two classes (a, b), got {len(target)}: give one class an image as a tensor")
    first, other = (class_of(model, inputs, one, names) for one in target)
    if bool((torch.as_tensor(first, device=inputs.device) == torch.as_tensor(other, device=inputs.device)).any()):
        raise UsageError("expected a contrast of two different classes on every image, got the same one twice: give another pair")
    return first, other


def class_of(model: nn.Module, inputs: Tensor, target: Named, names: Sequence[str]) -> Classes:
    """One side of a target as a class, or (N,) classes."""
    if not isinstance(target, str):
        return target
    if target in RANKED:
        images, anything = checked(inputs, 0)
        size = images_at_once(images.shape[1:], images.device)
        parts = zip(images.split(size), anything.split(size), strict=True)
        with torch.no_grad():
            scores = torch.cat([scores_of(model, some, any_class)[0] for some, any_class in parts])
        if not RANKED[target] < scores.shape[1]:
            raise UsageError(f"expected a model of at least two classes for the runner-up, got {scores.shape[1]}")
        return scores.argsort(dim=1, descending=True, stable=True)[:, RANKED[target]]
    if target in names:
        return list(names).index(target)
    known = f"{', '.join(list(names)[:8])}{', ...' if len(names) > 8 else ''}" if names else "none, as `names` was not given"
    raise UsageError(f"expected target as a number, predicted, runner_up or a class name ({known}), got {target!r}")
