"""How forwards without a gradient are computed: as the model is, or the same at less cost, as a plan says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditor.errors import TargetError
from auditor.ops.frozen import takes
from auditor.ops.lean import AGREEMENT, copied
from auditor.target import contract
from auditor.target.weights import line
from auditor.types import Json

PRECISIONS: Mapping[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ROUGH = 0.1
"""Of the largest score: by how much a forward in bfloat16 may differ where the model is made. Whether predictions agree on the
data is another question, which is asked where it is chosen."""


@dataclass(frozen=True)
class Forward:
    """What is not given is as the model is."""

    batch: int = 0
    """Images in one forward of a probe's own work; 0: a function of the input's size."""
    channels_last: bool = False
    folded: bool = False
    """Batch norms folded into the convolutions before them."""
    precision: str = "float32"
    """A word of PRECISIONS."""
    laid_out: bool = False
    """Convolutions of many channels by weights that are laid out once, and by fewer multiplications where that pays (CPU)."""

    @property
    def as_it_is(self) -> bool:
        """Whether the model itself does the work."""
        return not (self.channels_last or self.folded or self.laid_out) and self.precision == "float32"

    def told(self) -> str:
        """In words, without the batch."""
        said = ["channels last"] * self.channels_last + ["batch norms folded"] * self.folded
        said += ["convolutions laid out"] * self.laid_out
        return ", ".join([*said, self.precision] if self.precision != "float32" else said) or "the model as it is"

    @classmethod
    def of(cls, found: Mapping[str, Json]) -> Forward:
        """From a plan. Raises TypeError or ValueError for what is none."""
        made = cls(**found)
        if type(made.batch) is not int or made.batch < 0:
            raise ValueError(f"expected batch >= 0 in forward, got {made.batch!r}")
        if not all(type(flag) is bool for flag in (made.channels_last, made.folded, made.laid_out)):
            raise ValueError("expected channels_last, folded and laid_out true or false in forward")
        if made.precision not in PRECISIONS:
            raise ValueError(f"expected a precision of {', '.join(PRECISIONS)} in forward, got {made.precision!r}")
        return made


@dataclass(frozen=True)
class Made:
    """A copy of a model that computes its forward in another way."""

    model: nn.Module
    """Where layers are found by the names that they have in the model."""
    module: nn.Module
    """As `Target.module`."""
    hidden: frozenset[str]
    """Convolutions that took in a batch norm: what they give is no longer what they give in the model."""
    how: Forward

    def prepared(self, images: Tensor) -> Tensor:
        """(n,C,H,W) as the copy takes them."""
        layout = torch.channels_last if self.how.channels_last else torch.contiguous_format
        return images.to(PRECISIONS[self.how.precision]).contiguous(memory_format=layout)


def made(module: nn.Module, example: Tensor, how: Forward, *, wrapped: bool) -> Made:
    """A copy of `module` (in eval mode) for `how`, tried on `example` (n,C,H,W). `wrapped`: whether it is a `contract.Scores`.

    Raises TargetError where it cannot be copied, holds no batch norm to fold or no convolution to lay out, or gives other outputs
    than the model.
    """
    if how.laid_out and not any(map(takes, module.modules())):
        raise TargetError(f"{how.told()}: no convolution of the model can be laid out")
    try:
        found = copied(
            module, example, lambda net, images: first(net(images)),
            folded=how.folded, last=how.channels_last, frozen=how.laid_out,
            dtype=PRECISIONS[how.precision],
        )  # fmt: skip
    except TargetError:
        raise
    except Exception as error:
        raise TargetError(f"{how.told()}: the model does not bear it: {type(error).__name__}: {line(error)}") from error
    if how.folded and not found.folded:
        raise TargetError(f"{how.told()}: no batch norm of the model can be folded")
    bound = (AGREEMENT if how.precision == "float32" else ROUGH) * found.largest
    if not found.apart <= bound:
        raise TargetError(f"{how.told()}: outputs differ by {found.apart:.2g} from the model's, more than {bound:.2g}")
    hidden = frozenset(name.removeprefix("model.") if wrapped else name for name in found.folded)
    return Made(found.module.model if wrapped else found.module, found.module, hidden, how)  # type: ignore[arg-type]


def first(output: object) -> Tensor:
    """The scores, or the first tensor, of what a model gives."""
    found = contract.unwrapped(output)[0]
    if not isinstance(found, Tensor):
        raise TargetError(f"expected a tensor, got {contract.described(output)}")
    return found
