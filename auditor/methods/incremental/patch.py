"""Patch: n images that differ from one base image within a window each, as a tensor that a model's forward takes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from auditor.methods.incremental.windows import Side, lay, read
from auditor.methods.incremental.work import DENSE, Work

Run = Callable[["Held", Tensor, Tensor | None], "Held"]
"""(content, weight, bias) -> content behind the convolution."""


class UnsupportedError(Exception):
    """This forward cannot be followed window by window: whole images have to go through it."""


@dataclass(frozen=True)
class Held:
    """The content of a Patch."""

    window: Tensor
    """(n,C,h,w); (n,C,H,W) where whole maps are carried."""
    base: Tensor | None
    """(1,C,H,W): what lies around the windows; None where whole maps are carried."""
    rows: Side | None = None
    columns: Side | None = None

    def whole(self) -> Tensor:
        """(n,C,H,W)."""
        if self.base is None:
            return self.window
        under = self.base.expand(len(self.window), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        assert self.rows is not None
        assert self.columns is not None
        lay(under, self.window, (self.rows.starts, self.columns.starts))
        return under

    def widened(self, rows: Side, columns: Side) -> Tensor:
        """(n,C,h,w) windows at other places that hold these: what lies around them is the base's."""
        assert self.base is not None
        assert self.rows is not None
        assert self.columns is not None
        under = read(self.base, (rows.starts, columns.starts), (rows.width, columns.width))
        lay(under, self.window, (self.rows.starts - rows.starts, self.columns.starts - columns.starts))
        return under

    def thinned(self) -> Held:
        """Whole maps where the windows cover most of them."""
        if self.base is None or self.window[0, 0].numel() <= DENSE * self.base[0, 0].numel():
            return self
        return Held(self.whole(), None)


class Patch(Tensor):
    """Its shape is (n,C,H,W). A convolution in it may not be carried out yet: the batch norm behind it is folded in first."""

    work: Work
    _held: Held | None
    _todo: Todo | None
    _waiting: list[weakref.ref[Patch]]

    @staticmethod
    def __new__(
        cls, work: Work, shape: tuple[int, ...], like: Tensor, *, held: Held | None = None, todo: Todo | None = None
    ) -> Patch:
        """Of one of `held` and `todo`; type and device of `like`."""
        made: Patch = Tensor._make_wrapper_subclass(cls, shape, dtype=like.dtype, device=like.device)
        made.work, made._held, made._todo, made._waiting = work, held, todo, []
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    @classmethod
    def of(cls, work: Work, held: Held) -> Patch:
        """A patch that holds this."""
        held = held.thinned()
        shape = held.window if held.base is None else held.base
        return cls(work, (len(held.window), *tuple(shape.shape)[1:]), held.window, held=held)

    @property
    def held(self) -> Held:
        """Its content; what was put off is carried out."""
        if self._held is None:
            assert self._todo is not None
            self._held, self._todo = self._todo.carry_out().thinned(), None
        return self._held

    @property
    def todo(self) -> Todo | None:
        """The convolution that is still to be carried out."""
        return self._todo

    def replace(self, held: Held) -> Patch:
        """In place: what was put off on the old content is carried out first."""
        for later in self._waiting:
            patch = later()
            if patch is not None:
                patch.held  # noqa: B018 - reading it carries it out
        self._waiting.clear()
        self._held, self._todo = held.thinned(), None
        return self

    def await_by(self, later: Patch) -> Patch:
        """`later` reads this content when it is carried out."""
        self._waiting.append(weakref.ref(later))
        return later

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from auditor.methods.incremental.carry import carry  # the rules make patches

        return carry(func, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """What comes by no torch function (a scripted module, an autograd function) is done on whole images."""
        return func(*whole(args), **whole(kwargs or {}))


class Todo:
    """A convolution that is put off until its values are needed."""

    def __init__(self, source: Patch, weight: Tensor, bias: Tensor | None, run: Run) -> None:
        self.source, self.weight, self.bias, self.run = source, weight, bias, run

    def carry_out(self) -> Held:
        """The values."""
        return self.run(self.source.held, self.weight, self.bias)


def whole(value: Any) -> Any:
    """Arguments with every Patch as the images it stands for."""
    if isinstance(value, Patch):
        return value.held.whole()
    if isinstance(value, list | tuple):
        return type(value)(whole(v) for v in value) if not hasattr(value, "_fields") else type(value)(*map(whole, value))
    return {key: whole(v) for key, v in value.items()} if isinstance(value, dict) else value
