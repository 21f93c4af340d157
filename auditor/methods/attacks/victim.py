"""What every attack asks of the model: scores, margins, slopes; and the record of which images have fallen.

Images are (n,C,H,W) in [0,1] and every change is bounded there; `normalise` turns them into what the model is given, and
is differentiated through. The model gives (n,K) scores, is in eval mode and never mixes images, so an image's result does not
depend on its neighbours in the batch. Epsilons are in units where an image spans [0,1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.methods.attacks.ball import Norm, stored, whole_levels
from auditor.ops.lean import Lean, at_once, lean

Images = Callable[[Tensor], Tensor]
"""(n,C,H,W) -> (n,C,H,W) or (n,K)."""

Rise = Callable[[Tensor, Tensor], Tensor]
"""(scores (m,K), places (m,)) -> (m,) what an attack raises."""


@dataclass(frozen=True)
class Attacked:
    """What an attack brought, for n images."""

    images: Tensor
    """(n,C,H,W) in [0,1], within epsilon: where fallen, the first image found that falls."""
    fallen: Tensor
    """(n,) bool: the label no longer has the highest score."""
    fallen_8bit: Tensor
    """(n,) bool: some image that falls still does when stored in 8 bits, in L-inf without leaving the ball."""
    steps: Tensor
    """(n,) int64: steps (of Square: queries) until it fell, or all that were taken."""


def margins(scores: Tensor, labels: Tensor) -> Tensor:
    """(n,) score of the label minus the highest other score: below 0 another class wins, at 0 the lower class number wins."""
    own = scores.gather(1, labels[:, None])[:, 0]
    return own - scores.scatter(1, labels[:, None], -torch.inf).amax(1)


def look(model: Images, images: Tensor, normalise: Images, batch: int = 0) -> Tensor:
    """(n,K) scores, without a gradient; `batch` images at a time, where 0 as many as `at_once` says."""
    batch = batch or at_once(images)
    with torch.no_grad():
        if not batch or len(images) <= batch:
            return model(normalise(images))
        return torch.cat([model(normalise(part)) for part in images.split(batch)])


def climb(model: Images, images: Tensor, rise: Rise, normalise: Images, batch: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """(slope (n,C,H,W), value (n,), scores (n,K)) of what `rise` makes of the scores of each image.

    A score that does not depend on the image at all has the slope 0.
    """
    batch = batch or at_once(images)
    if batch and len(images) > batch:
        places = torch.arange(len(images), device=images.device).split(batch)
        parts = [climb(model, images[p], shifted(rise, p), normalise) for p in places]
        slope, value, scores = (torch.cat(column) for column in zip(*parts, strict=True))
        return slope, value, scores
    with torch.enable_grad():
        at = images.detach().requires_grad_(True)
        scores = model(normalise(at))
        value = rise(scores, torch.arange(len(images), device=images.device))
        found = torch.autograd.grad(value.sum(), at, allow_unused=True)[0] if value.requires_grad else None
    return torch.zeros_like(images) if found is None else found, value.detach(), scores.detach()


def shifted(rise: Rise, places: Tensor) -> Rise:
    """`rise` of a part of the images, told their places in the whole."""
    return lambda scores, rows: rise(scores, places[rows])


def cross_entropy(labels: Tensor) -> Rise:
    """The loss that FGSM, PGD and APGD-CE raise."""
    return lambda scores, rows: functional.cross_entropy(scores.float(), labels[rows], reduction="none")


def gradient(model: Images, images: Tensor, labels: Tensor, normalise: Images) -> tuple[Tensor, Tensor]:
    """Gradient of the cross-entropy at the images (n,C,H,W), and the scores (n,K) found on the way."""
    slope, _, scores = climb(model, images, cross_entropy(labels), normalise)
    return slope, scores


def errs(model: Images, images: Tensor, labels: Tensor, normalise: Images, batch: int = 0) -> Tensor:
    """(n,) bool: the highest score is not the label's."""
    return look(model, images, normalise, batch).argmax(1) != labels


def cheap(model: Images, images: Tensor, normalise: Images) -> Images:
    """The model as `ops.lean` makes it, tried on the first of images (n,C,H,W); as it is where it is no module."""
    return lean(model, normalise(images[:2])) if isinstance(model, nn.Module) and len(images) else model


class Record:
    """What has fallen so far, and the first image of each that fell.

    Where the model is a cheap one (`ops.lean`), an image has fallen only once the exact one says so too.
    """

    def __init__(
        self,
        model: Images,
        images: Tensor,
        labels: Tensor,
        epsilon: float,
        *,
        normalise: Images,
        norm: Norm,
        patient: bool = False,
    ) -> None:
        """`patient`: an image stays under attack until it falls in 8 bits too, where the ball holds another 8-bit image."""
        self.model, self.normalise, self.norm, self.epsilon = model, normalise, norm, epsilon
        self.exact = model.exact if isinstance(model, Lean) else model
        self.origin, self.labels, self.best = images, labels, images.clone()
        self.fallen = torch.zeros_like(labels, dtype=torch.bool)
        self.fallen_8bit = torch.zeros_like(self.fallen)
        self.steps = torch.zeros_like(labels)
        self.patient = patient and (norm == "l2" or whole_levels(epsilon) > 0)

    def note(self, at: Tensor, who: Tensor, scores: Tensor) -> Tensor:
        """Take in images (m,C,H,W) of the places `who` (m,) with their scores (m,K); (m,) bool: which go on."""
        wrong = scores.argmax(1) != self.labels[who]
        if self.exact is not self.model and bool(wrong.any()):
            wrong[wrong.clone()] = errs(self.exact, at[wrong], self.labels[who[wrong]], self.normalise)
        standing = ~self.fallen[who]
        self.best[who[standing]] = at[standing]
        self.fallen[who] |= wrong
        asked = wrong & ~self.fallen_8bit[who]
        if bool(asked.any()):
            some = who[asked]
            grid = stored(at[asked], self.origin[some], self.epsilon, self.norm)
            self.fallen_8bit[some] = errs(self.exact, grid, self.labels[some], self.normalise)
        return ~(self.fallen & self.fallen_8bit)[who] if self.patient else ~self.fallen[who]

    def result(self) -> Attacked:
        """As it stands."""
        return Attacked(self.best, self.fallen, self.fallen_8bit, self.steps)
