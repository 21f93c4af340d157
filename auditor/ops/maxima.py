"""The largest value of each map, read once where several ask for that of the same tensor in turn."""

from __future__ import annotations

import threading
import weakref

from torch import Tensor


class Maxima(threading.local):
    """Remembers what it gave last, as long as that tensor lives and is not written to.

    Who shows a tensor to several calls `forget` when they have seen it: not every write tells of itself (through numpy, `.data`,
    some fused operations).
    """

    def __init__(self) -> None:
        self.of: weakref.ref[Tensor] | None = None
        self.version = -1
        self.found: Tensor | None = None

    def __call__(self, maps: Tensor) -> Tensor:
        """(n,C) of `maps` (n,C,h,w); NaN where a map has one. Not to be written to."""
        if maps.is_inference():  # has no version
            return maps.amax((2, 3))
        if self.of is None or self.of() is not maps or self.version != maps._version or self.found is None:
            self.of, self.version, self.found = weakref.ref(maps), maps._version, maps.amax((2, 3))
        return self.found

    def forget(self) -> None:
        """Read the next one anew."""
        self.of = self.found = None


maxima = Maxima()
