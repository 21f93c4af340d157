"""SmoothGrad (Smilkov 2017), by captum: the mean gradient over noisy copies of the image."""

from __future__ import annotations

import torch
from captum.attr import NoiseTunnel, Saliency
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.inputs import TargetClass, checked, own_score, seeded
from auditor.ops.batching import images_at_once


def smoothgrad(
    model: nn.Module, inputs: Tensor, target: TargetClass, *, samples: int = 16, sigma: float = 0.15, seed: int = 0
) -> Tensor:
    """(N,C,H,W) mean over `samples` of dS/dx at x + noise.

    The noise is normal with a deviation of `sigma` times the image's own range (max - min), as in the paper. It is drawn from
    `seed` anew for each image, so a map does not depend on the other images; samples=1, sigma=0 is the plain gradient.
    """
    images, classes = checked(inputs, target)
    if samples < 1 or sigma < 0:
        raise UsageError(f"expected samples >= 1 and sigma >= 0, got {samples} and {sigma}")
    # captum draws other noise when it splits the copies otherwise: the split depends on the image's size and the device alone
    copies = min(samples, images_at_once(images.shape[1:], images.device, gradient=True))
    found = [torch.zeros_like(images[:0])]
    for n in range(len(images)):
        leaf = images[n : n + 1].clone().requires_grad_(True)
        deviation = sigma * float(images[n].max() - images[n].min())
        with seeded(images.device, seed):
            found.append(
                NoiseTunnel(Saliency(own_score(model, classes[n])))
                .attribute(
                    leaf,
                    nt_type="smoothgrad",
                    nt_samples=samples,
                    nt_samples_batch_size=copies,
                    stdevs=deviation,
                    abs=False,
                )
                .detach()
            )
    return torch.cat(found)
