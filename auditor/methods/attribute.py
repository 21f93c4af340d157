"""One attribution of one model, without an audit."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.gradcam import gradcam
from auditor.methods.guided import deconvnet, guided_backprop
from auditor.methods.inputs import TargetClass, evaluating
from auditor.methods.integrated_gradients import integrated_gradients
from auditor.methods.occlusion import occlusion
from auditor.methods.saliency import gradient_x_input, saliency
from auditor.methods.smoothgrad import smoothgrad

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


def attribute(model: nn.Module, inputs: Tensor, target: TargetClass, method: str = "occlusion", **params: Any) -> Tensor:
    """Which pixels the score of `target` rests on.

    `model`: any nn.Module giving (N,K) pre-softmax scores; it is used in eval mode and left as it was found.
    `inputs`: (N,C,H,W), already normalised. `target`: a class, or (N,) classes. Higher is more important.

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
    Raises UsageError for an unknown method or parameter, a class that the model does not have, or inputs of another shape.
    """
    found = METHODS.get(method)
    if found is None:
        raise UsageError(f"expected an attribution method among {', '.join(METHODS)}, got {method!r}: choose one of these")
    known = [p.name for p in inspect.signature(found).parameters.values() if p.kind is p.KEYWORD_ONLY]
    unknown = sorted(set(params) - set(known))
    if unknown:
        raise UsageError(f"expected parameters of {method} among {', '.join(known)}, got {', '.join(unknown)}: remove it")
    with evaluating(model):
        result = found(model, inputs, target, **params)
    return result if isinstance(result, Tensor) else result.drop_map
