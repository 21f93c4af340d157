"""Units that are silent at the start: a rectifier lets nothing of their gradient through, so no picture could be found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from auditor.methods.guided import rectifiers


def opened(silent: Tensor) -> Callable[..., Any]:
    """The hook of a rectifier, for a batch in which some images (n,) bool are silent."""

    def hook(passed: tuple[Tensor | None, ...], reached: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...] | None:
        through, came = passed[0], reached[0]
        if through is None or came is None or len(through) != len(silent):
            return None
        nothing = silent & ~through.flatten(1).any(1)
        instead = came.clamp_min(0.0)
        return (torch.where(nothing.view(-1, *(1,) * (through.ndim - 1)), instead, through), *passed[1:])

    return hook


@contextmanager
def redirected(values: Tensor, silent: Tensor) -> Iterator[None]:
    """Within, a rectifier that stops all of the gradient of a silent image lets what raises it through (Olah 2017).

    `values` (n,) stand at the top of the graph, `silent` is (n,) bool; the other images keep their gradient.
    """
    handles = [node.register_hook(opened(silent)) for node in rectifiers(values.grad_fn)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
