"""One attack on one model, without an audit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from auditor.errors import UsageError
from auditor.methods.attacks.apgd import apgd, apgd_targeted
from auditor.methods.attacks.ball import Norm
from auditor.methods.attacks.gradient_sign import fgsm, pgd
from auditor.methods.attacks.minimal import minimal
from auditor.methods.attacks.square import QUERIES, square
from auditor.methods.attacks.victim import Images, cheap
from auditor.methods.attacks.worst import ATTACKS, Budget, Worst, worst_case
from auditor.methods.inputs import TargetClass, checked, evaluating, scores_of
from auditor.preprocess import Preprocess


def worst(
    *given: Any,
    attacks: Sequence[str] = ATTACKS[1:],
    steps: int = 100,
    queries: int = QUERIES,
    batch: int = 0,
    query_batch: int = 0,
    **named: Any,
) -> Worst:
    """`worst_case` with its budget laid open."""
    budget = Budget(steps=steps, queries=queries, batch=batch, query_batch=query_batch)
    return worst_case(*given, attacks=attacks, budget=budget, **named)


METHODS: dict[str, Callable[..., Any]] = {
    "fgsm": fgsm,
    "pgd": partial(pgd, eight_bits=False),
    "apgd": apgd,
    "apgd_t": apgd_targeted,
    "square": square,
    "worst": worst,
    "minimal": minimal,
}
"""Name -> method(model, images, labels, epsilon, **params); `minimal` takes no epsilon."""

LONG = ("apgd", "apgd_t", "square")
"""Those that ask often enough for a cheap model to be made first; `worst` makes its own."""

OURS = ("normalise", "norm", "seeds", "slope", "eight_bits", "targets")
"""Parameters that `attack` fills itself."""


@dataclass(frozen=True)
class Attack:
    """What `attack` brought, for n images."""

    images: Tensor
    """(n,C,H,W) in [0,1], within eps of the given ones."""
    fooled: Tensor
    """(n,) bool: the model does not give `images` their label."""
    steps: Tensor
    """(n,) int64 steps, or queries, that were made before an image was fooled, or in all."""


def attack(
    model: nn.Module,
    images: Tensor,
    labels: TargetClass,
    norm: Norm = "linf",
    eps: float = 8 / 255,
    method: str = "pgd",
    *,
    preprocess: Preprocess | Images | None = None,
    seed: int = 0,
    **params: Any,
) -> Attack:
    """Change the images as little as `eps` allows so that the model errs.

    `model`: any nn.Module giving (N,K) scores; it is used in eval mode and left as it was found. `images`: (N,C,H,W) float in
    [0,1], NOT normalised: the bound holds for pixels, and so does the valid range. `preprocess`: what stands between them and the
    model, an auditor.Preprocess or any differentiable function; None for a model that takes images in [0,1]. `labels`: the right
    class, or (N,) classes. `norm`: "linf" (no pixel by more than eps) or "l2" (root of the summed squares).

        method    params
        fgsm      -                               one step (Goodfellow 2015)
        pgd       steps=10, restarts=1, batch     from a random point of the ball (Madry 2018)
        apgd      steps=100, batch                chooses its step (Croce & Hein 2020)
        apgd_t    steps=100, batch                likewise, towards each of the nine likeliest other classes
        square    queries=5000, batch             asks for scores alone (Andriushchenko 2020)
        worst     attacks, steps=100, queries=5000, batch, query_batch
                                                  apgd, apgd_t, then square, each on what stands: AutoAttack without FAB
        minimal   steps=40, batch                 the smallest change found, whatever eps; fooled: within eps (Pintor 2021)

    An image leaves the batch as soon as it is fooled, and its result does not depend on the others. Raises UsageError for an
    unknown method, norm or parameter, for images outside [0,1], and for a class that the model does not have.
    """
    found = METHODS.get(method)
    if found is None:
        raise UsageError(f"expected an attack among {', '.join(METHODS)}, got {method!r}: choose one of these")
    known = [p.name for p in inspect.signature(found).parameters.values() if p.kind is p.KEYWORD_ONLY and p.name not in OURS]
    unknown = sorted(set(params) - set(known))
    if unknown:
        raise UsageError(f"expected parameters of {method} among {', '.join(known) or '(none)'}, got {unknown[0]}: remove it")
    pixels, classes = checked(images, labels)
    require_bounds(pixels, norm, eps)
    normalise = passed(preprocess)
    takes = "seeds" in inspect.signature(found).parameters or method == "worst"
    seeds = {"seeds": [seed + i for i in range(len(pixels))]} if takes else {}
    with evaluating(model):
        with torch.no_grad():
            scores_of(model, normalise(pixels[:1]), classes[:1])
        if method == "minimal":
            near = minimal(model, pixels, classes, normalise=normalise, norm=norm, **params)
            steps = torch.full_like(classes, params.get("steps", 40))
            return Attack(near.images, near.distance <= eps, steps)
        asked = cheap(model, pixels, normalise) if method in LONG else model
        result = found(asked, pixels, classes.clone(), eps, normalise=normalise, norm=norm, **seeds, **params)
    return Attack(result.images, result.fallen, result.steps)


def passed(preprocess: Preprocess | Images | None) -> Images:
    """The function that stands between [0,1] and the model."""
    if preprocess is None:
        return lambda images: images
    return preprocess.normalise if isinstance(preprocess, Preprocess) else preprocess


def require_bounds(images: Tensor, norm: str, eps: float) -> None:
    """Raise UsageError for another norm, a negative eps, or images that are not in [0,1]."""
    if norm not in ("linf", "l2"):
        raise UsageError(f"expected norm 'linf' or 'l2', got {norm!r}: choose one of these")
    if not eps >= 0:
        raise UsageError(f"expected eps >= 0 for images that span [0,1], got {eps}: 8/255 is usual in L-inf")
    if images.numel() and not (float(images.min()) >= 0 and float(images.max()) <= 1):
        low, high = float(images.min()), float(images.max())
        raise UsageError(
            f"expected images in [0,1], got {low:.3g} to {high:.3g}: "
            "give them before normalisation, and the normalisation as `preprocess`"
        )
