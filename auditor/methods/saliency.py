"""Saliency (Simonyan, Vedaldi & Zisserman 2014): how steeply the class score answers to each pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from auditor.methods.inputs import TargetClass, checked, scores_of
from auditor.ops.batching import images_at_once


def gradient(model: nn.Module, inputs: Tensor, target: TargetClass, *, batch: int | None = None) -> Tensor:
    """(N,C,H,W) dS/dx of the class score at each input, 0 where the score does not depend on it.

    `model` gives (N,K) pre-softmax scores and never mixes images; its weights may be frozen and gather no gradient.
    """
    images, classes = checked(inputs, target)
    size = batch or images_at_once(images.shape[1:], images.device, gradient=True)
    found = [torch.zeros_like(images[:0])]
    for begin in range(0, len(images), size):
        with torch.enable_grad():
            leaf = images[begin : begin + size].clone().requires_grad_(True)
            _, own = scores_of(model, leaf, classes[begin : begin + size])
            total = own.sum()
        slope = torch.autograd.grad(total, leaf, allow_unused=True)[0] if total.requires_grad else None
        found.append(torch.zeros_like(leaf, requires_grad=False) if slope is None else slope)
    return torch.cat(found)


def saliency(model: nn.Module, inputs: Tensor, target: TargetClass, *, batch: int | None = None) -> Tensor:
    """(N,H,W) max over the channels of |dS/dx|, of `inputs` (N,C,H,W) at the pre-softmax score of `target`."""
    return gradient(model, inputs, target, batch=batch).abs().amax(1)


def gradient_x_input(model: nn.Module, inputs: Tensor, target: TargetClass, *, batch: int | None = None) -> Tensor:
    """(N,C,H,W) x dS/dx (Shrikumar 2016): what each normalised pixel would contribute if the score were linear in all of them."""
    return inputs.detach() * gradient(model, inputs, target, batch=batch)
