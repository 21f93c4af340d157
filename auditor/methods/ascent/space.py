"""Where ascent takes place: the images of one model, in [0,1]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.errors import UsageError
from auditor.preprocess import Opaque, Preprocess

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Space:
    """Images (n,C,H,W) in [0,1], and how the model is given them."""

    shape: tuple[int, int, int]
    """(C,H,W)."""
    normalise: Callable[[Tensor], Tensor]
    """Images in [0,1] to what the model is given; differentiated through."""
    mean: tuple[float, ...]
    """(C,) colour that is normalised to 0: the 0 of Yosinski's images, which are shown with the mean added."""
    device: torch.device = CPU
    dtype: torch.dtype = torch.float32

    @classmethod
    def of(cls, preprocess: Preprocess | Opaque, size: Sequence[int], device: torch.device | str = "cpu") -> Space:
        """The images of `size` (H,W) that a preprocessing gives. Raises UsageError for one that cannot be undone."""
        if not isinstance(preprocess, Preprocess):
            raise UsageError(f"expected an auditor.Preprocess, got {type(preprocess).__name__}: give mean and std")
        return cls((preprocess.channels, size[0], size[1]), preprocess.normalise, preprocess.mean, torch.device(device))

    @property
    def centre(self) -> Tensor:
        """(C,1,1) the mean colour."""
        return torch.tensor(self.mean, dtype=self.dtype, device=self.device).view(-1, 1, 1)

    def drawn(self, numbers: Tensor) -> Tensor:
        """Random numbers of the CPU, as numbers of this space: the same on every device."""
        return numbers.to(device=self.device, dtype=self.dtype)
